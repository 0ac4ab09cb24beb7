"""The training loop: batch, forward, backward, clip, step, log, evaluate, sample, save.

`Trainer.events` is an iterator: terminal, web page and tests iterate over it and see what happens. The random numbers
of a step (batch, dropout) are a function of the seed and the step, so watching a run never changes its weights. Parts
that few trainings need are elsewhere: `recovery`, `pace`, `compilation`, `parallel.distributed`.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nanogpt.config import Config, SampleConfig, TrainConfig
from nanogpt.data.batches import get_batch, micro_batch_size
from nanogpt.data.tokenize import Dataset
from nanogpt.errors import Diverged, OutOfMemory, is_out_of_memory
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import GPT, Block
from nanogpt.model.loss import cross_entropy
from nanogpt.optim.optimizers import make_optimizers
from nanogpt.optim.schedule import apply_schedule, learning_rate
from nanogpt.parallel.devices import autocast, pick_precision, threads, to_device
from nanogpt.parallel.world import ALONE, World, full_tensor
from nanogpt.random_streams import stream
from nanogpt.reporting import events
from nanogpt.reporting.events import Event
from nanogpt.runs import weights
from nanogpt.runs.checkpoint import Checkpoint, State, read_state
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import EVALUATIONS, Plan
from nanogpt.sampling.generate import generate_text

if TYPE_CHECKING:
    from nanogpt.training.pace import Pace

SAVE_SECONDS = 600.0
"""Most time between two checkpoints: evaluations, which save too, may be hours apart."""

MakeOptimizers = Callable[[nn.Module, TrainConfig, str], Sequence[torch.optim.Optimizer]]


def build_model(config: Config, block: type[nn.Module] = Block, start: Path | None = None) -> GPT:
    """Return a model whose initial weights are a function of the seed, or come from the file `start`."""
    seed = stream(config.train.seed, "init")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for what a block of your own draws by itself
        model = GPT(config.model, torch.Generator().manual_seed(seed), block)
    if start is not None:
        weights.load_model_tensors(model, start)
    if config.train.lora is not None:
        from nanogpt.model.lora import add_lora

        add_lora(model, config.train.lora, stream(config.train.seed, "lora"))
    return model


class TrainStep:
    """One update of a model's weights on a text. Several processes divide a step's samples equally."""

    def __init__(
        self, model: GPT, config: TrainConfig, data: Dataset, world: World, optimizers: MakeOptimizers = make_optimizers
    ) -> None:
        self.device = world.device(config.device)
        self.model = model.to(self.device)
        self.config, self.data, self.world = config, data, world
        self.micro_batch = micro_batch_size(model.config, config, self.device.type, world.size)
        self.precision = pick_precision(self.device, config.precision)
        self.module = world.wrap(model, config.parallel, self.device)
        self.optimizers = list(optimizers(model, config, self.precision))
        self.forward: Callable[..., Tensor] = self.module
        self.note: str | None = None
        if config.compile == "on" or (config.compile == "auto" and self.device.type == "cuda"):
            from nanogpt.training.compilation import compile_step

            self.forward, self.note = compile_step(self)

    def __call__(self, step: int, lr: float) -> Tensor:
        """Make step number `step` (from 0); return its loss and the gradient's norm before clipping, (2,), unread.

        Raises OutOfMemory, with weights and optimizers as they were.
        """
        self.model.train()
        try:
            loss = self._forward_backward(step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.model.zero_grad()
            raise OutOfMemory(str(error)) from error
        norm = full_tensor(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip))
        apply_schedule(self.optimizers, step, lr)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad()
        # All processes have the same norm; its mean gives all of them the same bits.
        return self.world.sum(torch.stack([loss, norm])) / self.world.size  # (2,)

    def _forward_backward(self, step: int) -> Tensor:
        """Accumulate the gradient of this process's samples, micro-step by micro-step; return their mean loss."""
        total = torch.zeros((), device=self.device)
        micro_steps = self.micro_steps()
        count = sum(map(len, micro_steps))
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for samples in micro_steps:
                # For what a block of your own draws by itself; `Dropout` has keys.
                torch.manual_seed(stream(self.config.seed, "block", step, samples[0]))
                last = samples is micro_steps[-1]
                with contextlib.nullcontext() if last else self.world.no_sync(self.module):
                    loss = self.loss(self.forward, step, samples) / (count / len(samples))
                    loss.backward()
                total += loss.detach()
        return total

    def micro_steps(self) -> list[range]:
        """Return this process's samples of a step, by number, divided into forward passes."""
        share = self.config.batch_sequences // self.world.size
        parts = -(-share // self.micro_batch)
        bounds = [self.world.rank * share + share * part // parts for part in range(parts + 1)]
        return [range(first, end) for first, end in pairwise(bounds)]

    def loss(self, forward: Callable[..., Tensor], step: int, samples: Sequence[int]) -> Tensor:
        """Return the mean loss of some samples of a step."""
        first, ids = step * self.config.batch_sequences + samples[0], self.data.train
        model, seed, count = self.model.config, self.config.seed, len(samples)
        inputs, targets = get_batch(ids, model.block_size, seed, first, count, run_format=model.format)  # each (B, T)
        if model.has_dropout:
            from nanogpt.model.dropout import seed_dropout

            seed_dropout(self.model, seed, step, samples)
        with autocast(self.device, self.precision):
            logits = forward(to_device(inputs, self.device))  # (B, T, V)
        return cross_entropy(logits, to_device(targets, self.device))


class Trainer:
    """The training of a run, from its plan to its end; with `resume` from the last whole checkpoint.

    `should_stop` is called after each step. Of several processes each has a trainer; the main one writes files.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        plan: Plan,
        data: Dataset,
        *,
        block: type[nn.Module] = Block,
        optimizers: MakeOptimizers = make_optimizers,
        notes: Sequence[str] = (),
        resume: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
        pace: "Pace | None" = None,
        world: World = ALONE,
    ) -> None:
        self.folder, self.config, self.plan, self.data, self.world = folder, config, plan, data, world
        self.tokenizer = folder.read_tokenizer()
        settings = config if plan.precision is None else config.override(precision=plan.precision)
        model = build_model(config, block, folder.checked_start(plan))
        if block is not Block:
            from nanogpt.runs.custom_blocks import check_savable

            check_savable(model)
        self.train_step = TrainStep(model, settings.train, data, world, optimizers)
        self.model, self._micro_batch = self.train_step.model, self.train_step.micro_batch
        self.state = State()
        self.notes = [*notes, *([self.train_step.note] if self.train_step.note else [])]
        self.resume, self.should_stop, self.pace = resume, should_stop, pace
        self.evaluation_seconds, self.pause_seconds = list[float](), list[float]()  # the latter with sample and saving
        self.saved_step: int | None = None
        self._saved_at = time.monotonic()
        self._losses: list[Tensor] = []  # of steps whose loss and norm are still on the device
        self._last_log = (0, 0.0)  # step and seconds

    def find_checkpoint(self, which: str) -> Checkpoint | None:
        """Return the checkpoint that `last` or `best` names, or the newest whole one, the same on all processes."""

        def find() -> tuple[str, list[str]] | None:
            whole = self.folder.checkpoints.find(which)
            return None if whole is None else (str(whole.path), list(whole.notes))

        found = self.world.on_main(find)
        return found and Checkpoint(path=Path(found[0]), state=read_state(Path(found[0])), notes=tuple(found[1]))

    def load_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Restore weights, optimizers, state and the folder's metrics from a checkpoint; None: there is none yet."""
        if checkpoint is not None:
            self.state = checkpoint.state
            weights.load_model_tensors(self.model, checkpoint.path / "model.safetensors")
            for optimizer in self.train_step.optimizers:
                optimizer.state.clear()
            if self.state.step:
                optimizer_file = checkpoint.path / "optimizer.safetensors"
                weights.load_optimizer_tensors(self.model, self.train_step.optimizers, optimizer_file)
            self._last_log = (self.state.step, self.state.seconds)
        self._losses.clear()
        self.saved_step = None if checkpoint is None else checkpoint.state.step

        def rewind() -> None:
            self.folder.checkpoints.point_to_best(self.state)
            self.folder.cut_metrics(-1 if checkpoint is None else self.state.step)

        self.world.on_main(rewind)

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan; yield what happens. Raises UserError for anything that ends it early."""
        # Several processes share a machine: torchrun, not the plan, gives them their threads.
        count = self.plan.threads if self.world.size == 1 else self.config.train.threads
        with contextlib.ExitStack() as stack, threads(count):
            self.world.on_main(lambda: stack.enter_context(self.folder.locked()))
            if self.resume:
                self.plan = self.folder.read_plan()  # another process may have trained the run until now
                checkpoint = self.find_checkpoint("last")
                self.load_checkpoint(checkpoint)
                self.notes += checkpoint.notes if checkpoint else ()
            yield events.StartEvent(
                step=self.state.step,
                parameters=self.model.parameter_count,
                train_tokens=len(self.data.train),
                device=self.train_step.device.type,
            )
            for note in self.notes:
                yield events.NoteEvent(step=self.state.step, text=note)
            while True:
                try:
                    yield from self._train()
                    return
                except Diverged as error:
                    from nanogpt.training.recovery import roll_back

                    recovery = roll_back(self, error)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    from nanogpt.training.recovery import shrink_micro_batch

                    recovery = shrink_micro_batch(self, in_step=isinstance(error, OutOfMemory))
                yield from recovery  # here the error's frames are gone, and with them their tensors

    def _train(self) -> Iterator[Event]:
        if self.saved_step is None:  # the untrained model, to compare with
            self._save_history()
            yield from self._evaluate_and_save()
        patience = self.config.train.patience or math.inf
        while self.state.step < self.plan.total_steps and self.state.stale < patience:
            yield from self._step()
            self._save_history()
            if self.pace is not None and not self._losses:  # a GPU's time is known once its losses are read
                yield from self.pace.adjust_length(self)
            if self._evaluation_is_due():
                yield from self._evaluate_and_save()
            elif self.world.any(self.world.main and time.monotonic() - self._saved_at >= SAVE_SECONDS):
                yield self._save()
            if self.world.any(self.should_stop()):
                if self.saved_step != self.state.step:
                    yield self._save()
                yield events.StopEvent(step=self.state.step)
                return
        yield from self._finish()

    def _step(self) -> Iterator[Event]:
        """Make one step, count its time, and log the mean loss every `log_every` steps."""
        start, step = time.perf_counter(), self.state.step
        lr = learning_rate(self.plan.progress(step), self.plan.progress(step + 1), self.config.train)
        lr *= self.plan.lr_factor(step)
        self.train_step.micro_batch = self.plan.micro_batch(step, self._micro_batch)
        self._losses.append(self.train_step(step, lr))
        self.state = replace(self.state, step=step + 1, seconds=self.state.seconds + time.perf_counter() - start)
        is_logged = self.state.step % self.config.train.log_every == 0 or self.state.step == self.plan.total_steps
        if is_logged or self.train_step.device.type == "cpu":
            self._read_losses()  # waits for a GPU, so most steps leave their loss on it
        if is_logged:
            losses, (last_step, last_seconds) = self.state.pending, self._last_log
            self._last_log = (self.state.step, self.state.seconds)
            self.state = replace(self.state, pending=())
            loss, tokens = sum(losses) / len(losses), (self.state.step - last_step) * self.config.tokens_per_step
            speed = round(tokens / max(self.state.seconds - last_seconds, 1e-9), 1)
            yield self._log(events.StepEvent(step=step + 1, loss=loss, learning_rate=lr, tokens_per_second=speed))

    def _read_losses(self) -> None:
        """Move losses from the device to the state; raise Diverged where a loss or norm is not finite.

        The time that a GPU still computes them is training time.
        """
        if not self._losses:
            return
        start = time.perf_counter()
        rows = torch.stack(self._losses).tolist()
        self._losses.clear()
        for step, (loss, norm) in enumerate(rows, self.state.step - len(rows)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"the gradient's norm became {norm}" if math.isfinite(loss) else f"the loss became {loss}"
                raise Diverged(step, f"at step {step} {what}")
        pending = (*self.state.pending, *(loss for loss, _ in rows))
        self.state = replace(self.state, pending=pending, seconds=self.state.seconds + time.perf_counter() - start)

    def _evaluation_is_due(self) -> bool:
        step, every = self.state.step, self.config.train.eval_every
        if step == self.plan.total_steps:  # also where the run was shortened to end here
            return True
        # By progress: a run whose length changes keeps its number of evaluations.
        before, now = (s // every if every else int(self.plan.progress(s) * EVALUATIONS) for s in (step - 1, step))
        if now == before or step in self.plan.left_out:
            return False
        return self.pace is None or not self.pace.skips_evaluation(self)

    def _evaluate_and_save(self) -> Iterator[Event]:
        self._read_losses()
        step, start = self.state.step, time.perf_counter()
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.eval_tokens, self.world)
        self.evaluation_seconds.append(time.perf_counter() - start)
        if not math.isfinite(result.loss):
            raise Diverged(step, f"after step {step} the validation loss became {result.loss}")
        counts = step > 0 or self.plan.start_from is not None or self.config.model.format == 1  # not an untrained model
        best = counts and (self.state.best_loss is None or result.loss < self.state.best_loss)
        self.state = replace(self.state, stale=self.state.stale + counts)
        if best:
            self.state = replace(self.state, best_step=step, best_loss=result.loss, stale=0)
        yield self._log(events.EvalEvent(step=step, evaluation=result, best=best))
        if self.config.train.sample_tokens:
            seed = stream(self.config.train.seed, "sample", step)
            sample = SampleConfig(tokens=self.config.train.sample_tokens, seed=seed)
            (text,) = generate_text(self.model, self.tokenizer, config=sample)
            yield self._log(events.SampleEvent(step=step, text=text))
        yield self._save()
        self.pause_seconds.append(time.perf_counter() - start)

    def change_plan(self, plan: Plan) -> None:
        """Write a changed plan, before it takes effect: a run that is killed then follows it when it is resumed."""
        self.plan = plan
        self.world.on_main(lambda: self.folder.write_plan(plan))

    def _save(self) -> Event:
        self._read_losses()
        model = weights.model_tensors(self.model, keep=self.world.main)
        optimizers = weights.optimizer_tensors(self.model, self.train_step.optimizers, keep=self.world.main)
        path = self.world.on_main(lambda: str(self.folder.checkpoints.save(self.state, model, optimizers)))
        self.saved_step, self._saved_at = self.state.step, time.monotonic()
        return events.CheckpointEvent(step=self.state.step, path=path)

    def _save_history(self) -> None:
        step = self.state.step
        if self.config.train.history == "on" and step & (step - 1) == 0:  # 0 and the powers of two
            self._read_losses()  # a step that diverged is not saved
            model = weights.model_tensors(self.model, keep=self.world.main)
            self.world.on_main(lambda: self.folder.checkpoints.save_history(step, model))

    def _finish(self) -> Iterator[Event]:
        """Evaluate the best checkpoint, on the whole validation part unless planned otherwise."""
        best_step = self.state.step
        if self.state.best_step != best_step and (best := self.find_checkpoint("best")) is not None:
            for note in best.notes:
                yield events.NoteEvent(step=self.state.step, text=note)
            weights.load_model_tensors(self.model, best.path / "model.safetensors")
            best_step = best.state.step
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.final_eval_tokens, self.world)
        yield from events.warn_if_worse(self)
        early = self.state.step < self.plan.total_steps
        yield self._log(events.DoneEvent(step=self.state.step, evaluation=result, best_step=best_step, early=early))

    def _log(self, event: Event) -> Event:
        """Add an event to the metrics; return it."""
        if self.world.main:
            self.folder.append_metrics({**event.metrics(), "seconds": round(self.state.seconds, 3)})
        return event
