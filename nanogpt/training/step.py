"""One update of the weights: a batch's gradient, clipped, into the optimizer.

What is drawn at a step (batch, dropout) is a function of the seed, the step and the sample's number in it. Nothing here
knows of runs and files.
"""

import contextlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from nanogpt.config import Config, TrainConfig
from nanogpt.data.batches import batch
from nanogpt.data.dataset import Dataset
from nanogpt.data.micro_batch import micro_batch
from nanogpt.model.dropout import seed_dropout
from nanogpt.model.gpt import GPT, Block
from nanogpt.model.lora import add_lora
from nanogpt.model.loss import mean_loss
from nanogpt.optim.optimizer import make_optimizer
from nanogpt.parallel.devices import OutOfMemory, autocast, compile_or_not, is_out_of_memory, pick_precision, to_device
from nanogpt.parallel.sharding import check_divisible, spread, unsynchronised, whole
from nanogpt.parallel.world import ALONE, World
from nanogpt.random_streams import stream
from nanogpt.runs.weights import load_model_tensors


def build_model(config: Config, block: type[torch.nn.Module] = Block, start: Path | None = None) -> GPT:
    """A model whose first weights are a function of the seed, or those of the file `start`; with adapters where asked.

    Raises UserError where the file does not fit.
    """
    seed = stream(config.train.seed, "init")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for what a block of one's own draws by itself
        model = GPT(config.model, torch.Generator().manual_seed(seed), block)
    if start is not None:
        load_model_tensors(model, start)
    if config.train.lora is not None:
        add_lora(model, config.train.lora, stream(config.train.seed, "lora"))
    return model


class Stepper:
    """Makes updates of a model on a text, alone or together with other processes.

    Each process learns from an equal share of a step's samples; batch, masks and update are those of one process, but
    sums are rounded otherwise.
    """

    def __init__(self, model: GPT, config: TrainConfig, data: Dataset, world: World = ALONE) -> None:
        check_divisible(config, world.size)
        self.device = world.device(config.device)
        self.model = model.to(self.device)
        self.config, self.data, self.world = config, data, world
        self.micro_batch = micro_batch(model.config, config, self.device.type, world.size)
        """most sequences that are read at once; the samples of a step are the same, whatever it is"""
        self.precision = pick_precision(self.device, config.precision)
        self._module = spread(model, config.parallel, world, self.device)
        self.optimizer = make_optimizer(model, config, self.precision)
        self.forward, self.note = self._compiled()

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one update learns from."""
        return self.config.batch_sequences * self.model.config.block_size

    def step(self, step: int, rate: float) -> Tensor:
        """Update number `step` (from 0): returns the mean loss and the gradient's norm before it, (2,), unread.

        Raises OutOfMemory.
        """
        self.model.train()
        try:
            total = self._differentiate(step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.optimizer.zero_grad()
            raise OutOfMemory(str(error)) from error
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip))
        self.optimizer.step(step, rate)
        self.optimizer.zero_grad()
        # Every process has the same norm; its mean is taken so that all of them see the same bits.
        return self.world.sum(torch.stack([total, norm])) / self.world.size  # (2,)

    def _differentiate(self, step: int) -> Tensor:
        """Add up the gradient of this process' share of a step, micro-step by micro-step; returns its mean loss."""
        total = torch.zeros((), device=self.device)
        micro_steps = self._micro_steps()
        share = sum(map(len, micro_steps))
        with torch.random.fork_rng(devices=self._devices()):
            for samples in micro_steps:
                # For what a block of one's own draws by itself; `Dropout` has keys of its own.
                torch.manual_seed(stream(self.config.seed, "block", step, samples[0]))
                last = samples is micro_steps[-1]
                with contextlib.nullcontext() if last else unsynchronised(self._module):
                    loss = self._loss(self.forward, step, samples) / (share / len(samples))
                    loss.backward()
                total += loss.detach()
        return total

    def _micro_steps(self) -> list[range]:
        """This process' samples of a step, by their numbers in it, as they are read together."""
        share = self.config.batch_sequences // self.world.size
        parts = -(-share // self.micro_batch)
        bounds = [self.world.rank * share + share * part // parts for part in range(parts + 1)]
        return [range(first, end) for first, end in pairwise(bounds)]

    def _loss(self, forward: Callable[..., Tensor], step: int, samples: Sequence[int]) -> Tensor:
        """Mean loss of some samples of a step."""
        first = step * self.config.batch_sequences + samples[0]
        size = self.model.config.block_size
        inputs, targets = batch(self.data.train, size, self.config.seed, first, len(samples))  # each (B, T)
        seed_dropout(self.model, self.config.seed, step, samples)
        with autocast(self.device, self.precision):
            logits = forward(to_device(inputs, self.device))  # (B, T, V)
        return mean_loss(logits, to_device(targets, self.device))

    def _compiled(self) -> tuple[Callable[..., Tensor], str | None]:
        """What is called in a step, compiled where that is wanted and works on every process; a note where not."""
        if self.world.size > 1 and self.config.parallel == "fsdp":
            asked = self.config.compile == "on"
            return self._module, "with --parallel fsdp the step is not compiled" if asked else None
        forward, note = compile_or_not(self._module, self.config.compile, self.device, self._attempt)
        if self.world.any(note is not None) and note is None:
            return self._module, "torch.compile failed on another process, training goes on without it"
        return forward, note

    def _attempt(self, forward: Callable[..., Tensor]) -> None:
        # Without the others: where it fails here alone, they would wait for this process.
        try:
            with torch.random.fork_rng(devices=self._devices()), unsynchronised(self._module):
                self.model.train()
                self._loss(forward, 0, self._micro_steps()[0]).backward()
        finally:
            self.optimizer.zero_grad()  # what a failed backward pass left would be added to the first step

    def _devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []
