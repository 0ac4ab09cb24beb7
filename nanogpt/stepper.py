"""One update of the weights: a batch's gradient, clipped, into the optimizer.

What is drawn at a step (batch, dropout) is a function of the seed, the step and the sample's number in it. Nothing here
knows of runs and files.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt.batches import batch
from nanogpt.config import Config, TrainConfig
from nanogpt.data import Dataset
from nanogpt.device import autocast, compile_or_not, pick_device
from nanogpt.dropout import seed_dropout
from nanogpt.model import GPT, Block
from nanogpt.optim import make_optimizer
from nanogpt.streams import stream


def build_model(config: Config, block: type[torch.nn.Module] = Block) -> GPT:
    """A fresh model whose first weights are a function of the seed."""
    seed = stream(config.train.seed, "init")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for what a block of one's own draws by itself
        return GPT(config.model, torch.Generator().manual_seed(seed), block)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats, of logits (B, T, V) and targets (B, T)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Stepper:
    """Makes updates of a model on a text."""

    def __init__(self, model: GPT, config: TrainConfig, data: Dataset) -> None:
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        self.config, self.data = config, data
        self.optimizer = make_optimizer(model, config)
        self.forward, self.note = compile_or_not(model, config.compile, self.device, self._attempt)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one update learns from."""
        return self.config.batch_sequences * self.model.config.block_size

    def step(self, step: int, rate: float) -> Tensor:
        """Update number `step` (from 0): returns the mean loss and the gradient's norm before it, (2,), unread."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        total = torch.zeros((), device=self.device)
        with torch.random.fork_rng(devices=self._devices()):
            for samples in self._micro_steps():
                # For what a block of one's own draws by itself; `Dropout` has keys of its own.
                torch.manual_seed(stream(self.config.seed, "block", step, samples[0]))
                loss = self._loss(self.forward, step, samples) / self.config.accumulation
                loss.backward()
                total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([total, norm])  # (2,)

    def _micro_steps(self) -> list[range]:
        """The samples of a step, numbered from 0, as they are read together."""
        size = self.config.batch_size
        return [range(first, first + size) for first in range(0, self.config.batch_sequences, size)]

    def _loss(self, forward: Callable[..., Tensor], step: int, samples: Sequence[int]) -> Tensor:
        """Mean loss of some samples of a step."""
        first = step * self.config.batch_sequences + samples[0]
        size = self.model.config.block_size
        inputs, targets = batch(self.data.train, size, self.config.seed, first, len(samples))  # each (B, T)
        seed_dropout(self.model, self.config.seed, step, samples)
        with autocast(self.device, self.config.precision):
            logits = forward(inputs.to(self.device))  # (B, T, V)
            return mean_loss(logits, targets.to(self.device))

    def _attempt(self, forward: Callable[..., Tensor]) -> None:
        with torch.random.fork_rng(devices=self._devices()):
            self.model.train()
            self._loss(forward, 0, self._micro_steps()[0]).backward()
        self.optimizer.zero_grad(set_to_none=True)

    def _devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []
