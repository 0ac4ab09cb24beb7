"""The loop that trains, as an iterator of events.

Whoever wants to see a training (terminal, web page, test) iterates and is told; nobody is called back. Between two
events nothing is left half done. What is drawn at a step (batch, dropout) is a function of the seed and the step,
so that neither the consumer nor an evaluation nor an interruption changes the weights.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt.batches import batch
from nanogpt.checkpoint import (
    RunFolder,
    State,
    load_model_tensors,
    load_optimizer_tensors,
    read_state,
)
from nanogpt.config import Config, SampleConfig, TrainConfig
from nanogpt.data import Dataset
from nanogpt.device import autocast, compile_or_not, pick_device
from nanogpt.errors import UserError
from nanogpt.evaluation import evaluate
from nanogpt.events import (
    CheckpointEvent,
    DoneEvent,
    EvalEvent,
    Event,
    NoteEvent,
    PlanEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    StopEvent,
)
from nanogpt.model import GPT, Block
from nanogpt.optim import learning_rate, make_optimizer
from nanogpt.plan import Plan
from nanogpt.sampling import generate_text
from nanogpt.streams import stream

EVALUATIONS = 10
"""Evaluations on the way, where `eval_every` does not say otherwise."""


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
    """Makes updates: gradients of a batch, clipped, into the optimizer. Knows nothing of runs and files."""

    def __init__(self, model: GPT, config: TrainConfig, ids: Dataset) -> None:
        self.device = pick_device(config.device)
        self.model = model.to(self.device)
        self.config, self.data = config, ids
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
            for micro_step in range(self.config.accumulation):
                torch.manual_seed(stream(self.config.seed, "dropout", step, micro_step))
                loss = self._loss(self.forward, step * self.config.accumulation + micro_step)
                (loss / self.config.accumulation).backward()
                total += loss.detach() / self.config.accumulation
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([total, norm])  # (2,)

    def _loss(self, forward: Callable[..., Tensor], number: int) -> Tensor:
        """Loss of micro-batch `number` of the whole run."""
        size = self.model.config.block_size
        count = self.config.batch_size
        inputs, targets = batch(self.data.train, size, self.config.seed, number * count, count)
        with autocast(self.device, self.config.precision):
            logits = forward(inputs.to(self.device))  # (B, T, V)
            return mean_loss(logits, targets.to(self.device))

    def _attempt(self, forward: Callable[..., Tensor]) -> None:
        with torch.random.fork_rng(devices=self._devices()):
            self._loss(forward, 0).backward()
        self.optimizer.zero_grad(set_to_none=True)

    def _devices(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []


class Trainer:
    """A run from its plan to its end, resumable at every checkpoint."""

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        plan: Plan,
        data: Dataset,
        *,
        block: type[torch.nn.Module] = Block,
        notes: tuple[str, ...] = (),
        should_stop: Callable[[], bool] = lambda: False,
        new_length: Callable[["Trainer"], int | None] = lambda trainer: None,
    ) -> None:
        """`should_stop` is asked after every step, as is `new_length`, which may change the run's length."""
        self.folder, self.config, self.plan, self.data = folder, config, plan, data
        self.tokenizer = folder.read_tokenizer()
        self.stepper = Stepper(build_model(config, block), config.train, data)
        self.model = self.stepper.model
        self.state = State()
        self.notes = notes + ((self.stepper.note,) if self.stepper.note else ())
        self.should_stop, self.new_length = should_stop, new_length
        self.pause_seconds: list[float] = []
        self._unread: list[Tensor] = []
        self._last_log = (0, 0.0)  # step and seconds

    def restore(self) -> None:
        """Go on from the last checkpoint; without one, from the beginning."""
        checkpoint = self.folder.checkpoint("last")
        if checkpoint is not None:
            load_model_tensors(self.model, checkpoint / "model.safetensors")
            if (state := read_state(checkpoint)).step:
                load_optimizer_tensors(self.model, self.stepper.optimizer, checkpoint / "optimizer.safetensors")
            self.state = state
            self._last_log = (state.step, state.seconds)
            self.folder.point_to_best(state)
        self.folder.cut_metrics(self.state.step if checkpoint else -1)

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan, telling what happens."""
        yield self._start()
        for note in self.notes:
            yield NoteEvent(step=self.state.step, text=note)
        if self.folder.checkpoint("last") is None:
            yield from self._pause()
        while self.state.step < self.plan.total_steps and not self._out_of_patience():
            yield from self._train_step()
            yield from self._change_plan()
            paused = self._evaluation_is_due()
            if paused:
                yield from self._pause()
            if self.state.step < self.plan.total_steps and self.should_stop():
                if not paused:  # else this step is saved already, and writing it again would put it at risk
                    yield self._save()
                yield StopEvent(step=self.state.step)
                return
        yield self._finish()

    def _start(self) -> StartEvent:
        return StartEvent(
            step=self.state.step,
            folder=self.folder.path.as_posix(),
            parameters=self.model.parameter_count,
            steps=self.plan.total_steps,
            tokens_per_step=self.stepper.tokens_per_step,
            train_tokens=len(self.data.train),
            device=self.stepper.device.type,
        )

    def _train_step(self) -> Iterator[Event]:
        start = time.perf_counter()
        step = self.state.step
        rate = learning_rate(self.plan.progress(step), self.plan.progress(step + 1), self.config.train)
        self._unread.append(self.stepper.step(step, rate))
        self.state = replace(self.state, step=step + 1)
        log = self.state.step % self.config.train.log_every == 0 or self.state.step == self.plan.total_steps
        if log or self.stepper.device.type == "cpu":
            self._read_losses()  # this waits for a GPU, so there most steps leave theirs unread
        self.state = replace(self.state, seconds=self.state.seconds + time.perf_counter() - start)
        if log:
            yield self._logged(rate)

    def _read_losses(self) -> None:
        """Move unread losses to the state. Raises UserError where a loss or a gradient is not finite."""
        if not self._unread:
            return
        rows = torch.stack(self._unread).tolist()
        self._unread.clear()
        for step, (loss, norm) in enumerate(rows, self.state.step - len(rows)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise self._diverged(f"at step {step} the loss became {loss} and the gradient's norm {norm}")
        self.state = replace(self.state, pending=(*self.state.pending, *(loss for loss, _ in rows)))

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what}; the last checkpoint is from before. Lower --learning-rate (now "
            f"{self.config.train.learning_rate}) and train again"
        )

    def _logged(self, rate: float) -> StepEvent:
        losses, (last_step, last_seconds) = self.state.pending, self._last_log
        self._last_log = (self.state.step, self.state.seconds)
        self.state = replace(self.state, pending=())
        loss = sum(losses) / len(losses)
        tokens = (self.state.step - last_step) * self.stepper.tokens_per_step
        speed = round(tokens / max(self.state.seconds - last_seconds, 1e-9), 1)
        self._log("step", loss=loss, learning_rate=rate, tokens_per_second=speed)
        return StepEvent(step=self.state.step, loss=loss, learning_rate=rate, tokens_per_second=speed)

    def _evaluation_is_due(self) -> bool:
        step, every = self.state.step, self.config.train.eval_every
        if step == self.plan.total_steps:  # also where the run was cut short here: its progress is then below 1
            return True
        if every is not None:
            return step % every == 0
        # By progress: a run whose length is changed on the way keeps its number of evaluations.
        before, now = (int(self.plan.progress(s) * EVALUATIONS) for s in (step - 1, step))
        return now > before

    def _pause(self) -> Iterator[Event]:
        """Evaluate, write a sample, save; whoever keeps the time is told how long it took."""
        start = time.perf_counter()
        self._read_losses()
        begin = time.perf_counter()
        self.state = replace(self.state, seconds=self.state.seconds + begin - start)
        yield from self._evaluate()
        yield self._save()
        self.pause_seconds.append(time.perf_counter() - begin)

    def _evaluate(self) -> Iterator[Event]:
        step = self.state.step
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.eval_tokens)
        if not math.isfinite(result.loss):
            raise self._diverged(f"after step {step} the validation loss became {result.loss}")
        best = self.state.best_loss is None or result.loss < self.state.best_loss
        if best:
            self.state = replace(self.state, best_step=step, best_loss=result.loss, stale=0)
        else:
            self.state = replace(self.state, stale=self.state.stale + 1)
        self._log("eval", **asdict(result), best=best)
        yield EvalEvent(step=step, evaluation=result, best=best)
        if self.config.train.sample_tokens:
            seed = stream(self.config.train.seed, "sample", step)
            sample = SampleConfig(tokens=self.config.train.sample_tokens, seed=seed)
            yield SampleEvent(step=step, text=generate_text(self.model, self.tokenizer, config=sample)[0])

    def _out_of_patience(self) -> bool:
        patience = self.config.train.patience
        return patience is not None and self.state.stale >= patience

    def _change_plan(self) -> Iterator[Event]:
        steps = None if self._unread else self.new_length(self)  # a GPU's time is known once its losses are read
        if steps is not None and steps != self.plan.total_steps:
            self.plan = self.plan.change(self.state.step, max(steps, self.state.step))
            # Written before it is acted on: a run that is killed now goes on by the same plan.
            self.folder.write_plan(self.plan)
            yield PlanEvent(step=self.state.step, steps=self.plan.total_steps)

    def _save(self) -> CheckpointEvent:
        self._read_losses()
        path = self.folder.save_checkpoint(self.model, self.stepper.optimizer, self.state)
        return CheckpointEvent(step=self.state.step, path=str(path))

    def _finish(self) -> DoneEvent:
        """Measure the best checkpoint, on the whole validation part unless that was planned otherwise."""
        best = self.folder.checkpoint("best")
        if best is not None and self.state.best_step != self.state.step:
            load_model_tensors(self.model, best / "model.safetensors")
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.final_eval_tokens)
        best_step = self.state.best_step or 0
        early = self.state.step < self.plan.total_steps
        self._log("done", **asdict(result), best_step=best_step, early=early)
        return DoneEvent(step=self.state.step, evaluation=result, best_step=best_step, early=early)

    def _log(self, event: str, **values: object) -> None:
        line = {"event": event, "step": self.state.step, **values, "seconds": round(self.state.seconds, 3)}
        self.folder.append_metrics(line)
