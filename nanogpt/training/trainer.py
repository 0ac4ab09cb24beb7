"""The loop that trains, as an iterator of events.

Whoever wants to see a training (terminal, web page, test) iterates and is told; nobody is called back. Between two
events nothing is left half done. What is drawn at a step (batch, dropout) is a function of the seed and the step,
so that neither the consumer nor an evaluation nor an interruption changes the weights.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import torch
from torch import Tensor

from nanogpt.config import Config, SampleConfig
from nanogpt.data.dataset import Dataset
from nanogpt.errors import UserError
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import Block
from nanogpt.optim.optimizer import learning_rate
from nanogpt.parallel.devices import OutOfMemory, is_out_of_memory, release_memory, threads
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.budget import EVALUATIONS
from nanogpt.random_streams import stream
from nanogpt.reporting.events import (
    CheckpointEvent,
    DoneEvent,
    EvalEvent,
    Event,
    NoteEvent,
    PlanEvent,
    RollbackEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    StopEvent,
)
from nanogpt.runs.checkpoint import Checkpoint, State, is_in_history
from nanogpt.runs.folder import SAMPLE_LIMIT, RunFolder
from nanogpt.runs.plan import Plan, Rollback
from nanogpt.runs.weights import check_savable, load_model_tensors, load_optimizer_tensors
from nanogpt.sampling.generate import generate_text
from nanogpt.training.keeper import Keeper
from nanogpt.training.step import Stepper, build_model

SAVE_SECONDS = 600.0
"""A checkpoint is written at least so often: this much is lost at most where a machine fails. Evaluations, which save
too, may be hours apart, or left out to keep the time; and to write one takes a small part of ten minutes."""
ROLLBACKS = 3
"""How often a run goes back after it diverged; then it stops."""
ROLLBACK_FACTOR = 0.5
SMALLER = "train a smaller model (--n-layer, --n-embd, --block-size), or close other programs and go on with --resume"


class Diverged(UserError):
    """A loss or a gradient is not finite."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(what)
        self.step, self.what = step, what


class Trainer:
    """A run from its plan to its end, resumable at every checkpoint.

    Where several processes train it, each has a trainer and iterates over its events; the first one decides and writes
    files, the others are told.
    """

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
        new_length: Callable[["Trainer"], int | None] | None = None,
        leaves_out: Callable[["Trainer"], bool] = lambda trainer: False,
        world: World = ALONE,
    ) -> None:
        """`should_stop` is asked after every step, the last one too: the best checkpoint is evaluated after it.

        `new_length`, asked as often, may change the length of the run. `leaves_out` is asked whether an evaluation that
        is due on the way is not to be made.
        """
        self.world, self.keeper = world, Keeper(folder, world)
        self.folder, self.config, self.plan, self.data = folder, config, plan, data
        self.tokenizer = folder.read_tokenizer()
        settings = config if plan.precision is None else config.override(precision=plan.precision)
        model = build_model(config, block, folder.checked_start(plan))
        check_savable(model)
        self.stepper = Stepper(model, settings.train, data, world)
        self.model, self._micro_batch = self.stepper.model, self.stepper.micro_batch
        self.state = State()
        self.notes = notes + ((self.stepper.note,) if self.stepper.note else ())
        self.should_stop, self.new_length, self.leaves_out = should_stop, new_length, leaves_out
        self.pause_seconds: list[float] = []
        """of each evaluation with its sample and checkpoint"""
        self.evaluation_seconds: list[float] = []
        """of each evaluation alone"""
        self._unread: list[Tensor] = []
        self._saved_step: int | None = None
        self._saved_at = time.monotonic()
        self._opened: tuple[Plan, int | None] | None = None  # the plan, and the step of `last`, when it was restored
        self._last_log = (0, 0.0)  # step and seconds

    def restore(self) -> None:
        """Go on from the last checkpoint that is whole; without one, from the beginning.

        Only reads: another process may be training this run, which is known when `events` locks it.
        """
        self._opened = (self.plan, self.keeper.pointer("last"))
        checkpoint = self.keeper.find("last")
        if checkpoint is not None:
            self.notes += checkpoint.notes
        self._go_on_from(checkpoint)

    def _go_on_from(self, checkpoint: Checkpoint | None) -> None:
        """Be where the training was when it was saved; with None, at the beginning."""
        if checkpoint is not None:
            self.state = checkpoint.state
            load_model_tensors(self.model, checkpoint.model)
            self.stepper.optimizer.clear()
            if self.state.step:
                load_optimizer_tensors(self.model, self.stepper.optimizer, checkpoint.optimizer)
            self._last_log = (self.state.step, self.state.seconds)
        self._unread.clear()
        self._saved_step = None if checkpoint is None else checkpoint.state.step

    def events(self) -> Iterator[Event]:
        """Train to the end of the plan, telling what happens."""
        with contextlib.ExitStack() as held, threads(self._thread_count()):
            held.enter_context(self.keeper.locked())
            if self._opened is not None:
                self.keeper.check_unchanged(*self._opened)
                self._settle()
            yield self._start()
            for note in self.notes:
                yield NoteEvent(step=self.state.step, text=note)
            while True:
                try:
                    yield from self._train()
                    return
                except Diverged as error:
                    yield from self._roll_back(error)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise UserError(
                        f"out of memory after step {self.state.step}, in an evaluation or in the optimizer, which no "
                        f"smaller batch would help: {SMALLER}"
                    ) from None

    def _train(self) -> Iterator[Event]:
        if self._saved_step is None:
            self._keep_history()
            yield from self._pause()
        while self.state.step < self.plan.total_steps and not self._out_of_patience():
            yield from self._train_step()
            self._keep_history()
            yield from self._change_plan()
            if self._evaluation_is_due():
                yield from self._pause()
            elif self._saving_is_due():
                yield self._save()
            if self.world.any(self.should_stop()):
                if self._saved_step != self.state.step:  # writing it again would put it at risk
                    yield self._save()
                yield StopEvent(step=self.state.step)
                return
        yield from self._finish()

    def _start(self) -> StartEvent:
        return StartEvent(
            step=self.state.step,
            folder=self.folder.path.as_posix(),
            parameters=self.model.parameter_count,
            steps=self.plan.total_steps,
            tokens_per_step=self.stepper.tokens_per_step,
            train_tokens=len(self.data.train),
            device=self.stepper.device.type,
            processes=self.world.size,
        )

    def _train_step(self) -> Iterator[Event]:
        start = time.perf_counter()
        step = self.state.step
        rate = learning_rate(self.plan.progress(step), self.plan.progress(step + 1), self.config.train)
        rate *= self.plan.rate_factor(step)
        while not self._update(step, rate):
            yield self._shrink()
        self.state = replace(self.state, step=step + 1)
        log = self.state.step % self.config.train.log_every == 0 or self.state.step == self.plan.total_steps
        if log or self.stepper.device.type == "cpu":
            self._read_losses()  # this waits for a GPU, so there most steps leave theirs unread
        self.state = replace(self.state, seconds=self.state.seconds + time.perf_counter() - start)
        if log:
            yield self._logged(rate)

    def _read_losses(self) -> None:
        """Move unread losses to the state. Raises Diverged where a loss or a gradient is not finite."""
        if not self._unread:
            return
        rows = torch.stack(self._unread).tolist()
        self._unread.clear()
        for step, (loss, norm) in enumerate(rows, self.state.step - len(rows)):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"the gradient's norm became {norm}" if math.isfinite(loss) else f"the loss became {loss}"
                raise Diverged(step, f"at step {step} {what}")
        self.state = replace(self.state, pending=(*self.state.pending, *(loss for loss, _ in rows)))

    def _roll_back(self, error: Diverged) -> Iterator[Event]:
        """Go back to the last checkpoint, with a lower learning rate from there on; raise where that is no help."""
        asked, times = self.config.train.on_divergence == "rollback", len(self.plan.rollbacks)
        if not asked or self._saved_step is None or times == ROLLBACKS:
            saved = "nothing was saved yet" if self._saved_step is None else "the last checkpoint is from before"
            rate = self.config.train.learning_rate
            lowered = f", and {rate * ROLLBACK_FACTOR**times:g} after going back {times} times" if times else ""
            advice = "" if asked else ", or with --on-divergence rollback, which goes back and lowers it by itself"
            raise UserError(
                f"{error.what}; {saved}. Train again with a lower --learning-rate (it was {rate:g}{lowered}){advice}"
            ) from None
        back = self.keeper.find("last")
        assert back is not None
        self.plan = self.plan.roll_back(Rollback(step=back.state.step, failed=error.step, factor=ROLLBACK_FACTOR))
        self.keeper.write_plan(self.plan)
        self._go_on_from(back)
        self._settle()
        for note in back.notes:
            yield NoteEvent(step=self.state.step, text=note)
        factor = self.plan.rate_factor(self.state.step)
        yield RollbackEvent(step=self.state.step, failed=error.step, rate_factor=factor)

    def _settle(self) -> None:
        self.keeper.settle(None if self._saved_step is None else self.state)

    def _update(self, step: int, rate: float) -> bool:
        """Update the weights; False where memory ran out before it, and all is as it was."""
        self.stepper.micro_batch = self.plan.micro_batch(step, self._micro_batch)
        try:
            self._unread.append(self.stepper.step(step, rate))
        except OutOfMemory:
            return False  # and with the error go the frames that hold what was computed
        return True

    def _shrink(self) -> NoteEvent:
        """Halve the micro-batch after memory ran out; UserError where there is nothing left to halve."""
        step, size = self.state.step, self.stepper.micro_batch
        if self.world.size > 1:  # the others wait inside the step that failed here
            raise UserError(
                f"process {self.world.rank} ran out of memory at step {step}: train anew with --batch-size "
                f"{max(1, size // 2)} and --accumulation {-(-self.config.train.batch_sequences // max(1, size // 2))}"
            )
        if size == 1:
            raise UserError(f"out of memory at step {step} with one sequence at a time: {SMALLER}")
        self.plan = self.plan.shrink(step, size // 2)
        self.keeper.write_plan(self.plan)
        release_memory(self.stepper.device)
        whole = self.config.train.batch_sequences
        text = f"out of memory at step {step}: from here on {size // 2} sequences at a time, still {whole} in a step"
        return NoteEvent(step=step, text=text)

    def _logged(self, rate: float) -> StepEvent:
        losses, (last_step, last_seconds) = self.state.pending, self._last_log
        self._last_log = (self.state.step, self.state.seconds)
        self.state = replace(self.state, pending=())
        loss = sum(losses) / len(losses)
        tokens = (self.state.step - last_step) * self.stepper.tokens_per_step
        speed = round(tokens / max(self.state.seconds - last_seconds, 1e-9), 1)
        self.keeper.log("step", self.state, loss=loss, learning_rate=rate, tokens_per_second=speed)
        return StepEvent(step=self.state.step, loss=loss, learning_rate=rate, tokens_per_second=speed)

    def _evaluation_is_due(self) -> bool:
        step, every = self.state.step, self.config.train.eval_every
        if step == self.plan.total_steps:  # also where the run was cut short here: its progress is then below 1
            return True
        if every is not None:
            return step % every == 0 and not self._leaves_out(step)
        # By progress: a run whose length is changed on the way keeps its number of evaluations.
        before, now = (int(self.plan.progress(s) * EVALUATIONS) for s in (step - 1, step))
        return now > before and not self._leaves_out(step)

    def _leaves_out(self, step: int) -> bool:
        """Whether there is no time for an evaluation that is due, or was none when this step was made before."""
        if step in self.plan.left_out:
            return True
        if not self.world.share(self.leaves_out(self) if self.world.main else False):
            return False
        self.plan = self.plan.leave_out(step)
        self.keeper.write_plan(self.plan)
        return True

    def _pause(self) -> Iterator[Event]:
        """Evaluate, write a sample, save; whoever keeps the time is told how long it took."""
        self._catch_up()
        begin = time.perf_counter()
        yield from self._evaluate()
        yield self._save()
        self.pause_seconds.append(time.perf_counter() - begin)

    def _evaluate(self) -> Iterator[Event]:
        step = self.state.step
        start = time.perf_counter()
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.eval_tokens, self.world)
        self.evaluation_seconds.append(time.perf_counter() - start)
        if not math.isfinite(result.loss):
            raise Diverged(step, f"after step {step} the validation loss became {result.loss}")
        best = self.state.best_loss is None or result.loss < self.state.best_loss
        if best:
            self.state = replace(self.state, best_step=step, best_loss=result.loss, stale=0)
        else:
            self.state = replace(self.state, stale=self.state.stale + 1)
        self.keeper.log("eval", self.state, **asdict(result), best=best)
        yield EvalEvent(step=step, evaluation=result, best=best)
        if self.config.train.sample_tokens:
            yield self._sample()

    def _sample(self) -> SampleEvent:
        """Let the model write, as part of the run's record; drawn by seed and step, so that it can be had again."""
        seed = stream(self.config.train.seed, "sample", self.state.step)
        sample = SampleConfig(tokens=self.config.train.sample_tokens, seed=seed)
        (text,) = generate_text(self.model, self.tokenizer, config=sample)
        self.keeper.log("sample", self.state, text=text[:SAMPLE_LIMIT])
        return SampleEvent(step=self.state.step, text=text)

    def _out_of_patience(self) -> bool:
        patience = self.config.train.patience
        return patience is not None and self.state.stale >= patience

    def _change_plan(self) -> Iterator[Event]:
        if self.new_length is None or self._unread:  # a GPU's time is known once its losses are read
            return
        steps = self.world.share(self.new_length(self) if self.world.main else None)
        if steps is not None and steps != self.plan.total_steps:
            self.plan = self.plan.change(self.state.step, max(steps, self.state.step))
            self.keeper.write_plan(self.plan)
            yield PlanEvent(step=self.state.step, steps=self.plan.total_steps)

    def _catch_up(self) -> None:
        """Read what is unread; to wait for a GPU is time of the steps that it computes."""
        start = time.perf_counter()
        self._read_losses()
        self.state = replace(self.state, seconds=self.state.seconds + time.perf_counter() - start)

    def _saving_is_due(self) -> bool:
        """Whether the newest checkpoint is old. Asked of a clock, as saving changes no number."""
        return self.world.any(self.world.main and time.monotonic() - self._saved_at >= SAVE_SECONDS)

    def _save(self) -> CheckpointEvent:
        self._catch_up()
        path = self.keeper.save(self.state, self.model, self.stepper.optimizer)
        self._saved_step, self._saved_at = self.state.step, time.monotonic()
        return CheckpointEvent(step=self.state.step, path=path)

    def _keep_history(self) -> None:
        if self.config.train.history == "on" and is_in_history(self.state.step):
            self._read_losses()  # nothing is kept of a step that diverged
            self.keeper.save_history(self.state.step, self.model)

    def _finish(self) -> Iterator[Event]:
        """Measure the best checkpoint, on the whole validation part unless that was planned otherwise."""
        best_step = self.state.step
        if self.state.best_step != best_step and (best := self.keeper.find("best")) is not None:
            for note in best.notes:
                yield NoteEvent(step=self.state.step, text=note)
            load_model_tensors(self.model, best.model)
            best_step = best.state.step
        result = evaluate(self.model, self.data.val, self.tokenizer, self.config.train.final_eval_tokens, self.world)
        early = self.state.step < self.plan.total_steps
        self.keeper.log("done", self.state, **asdict(result), best_step=best_step, early=early)
        yield DoneEvent(step=self.state.step, evaluation=result, best_step=best_step, early=early)

    def _thread_count(self) -> int | None:
        """As many as the plan says; several processes share a machine, and take what torchrun gives them."""
        return self.plan.threads if self.world.size == 1 else self.config.train.threads
