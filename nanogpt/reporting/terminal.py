"""A training in the terminal: a progress bar and samples, or one line per evaluation where it is no terminal."""

import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nanogpt.config import Config
from nanogpt.errors import counted
from nanogpt.reporting import events
from nanogpt.reporting.events import Event, Training
from nanogpt.runs.plan import Plan
from nanogpt.text.corpus import NO_VALIDATION


def show_training(trainer: Training, quiet: bool = False) -> Iterator[Event]:
    """Train to the end and yield the events; the main process shows them unless `quiet`, and tracks them."""
    reported = trainer.events()
    if trainer.world.main and trainer.config.train.track:
        from nanogpt.reporting.trackers import track

        reported = track(reported, trainer.config, trainer.folder.path)
    if quiet or not trainer.world.main:
        yield from reported
        return
    console = Console(stderr=True, highlight=False)
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}  val {task.fields[val]}  {task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=4) as bar:
        task = bar.add_task("", total=trainer.plan.total_steps, loss="–", val="–", speed="")
        view = TerminalView(console, trainer, lambda **fields: bar.update(task, **fields))
        for event in reported:
            view.show(event)
            yield event


def expectations(plan: Plan, config: Config) -> str:
    """Return a line on the time, the memory and the loss that were planned."""
    parts = [f"dropout {config.model.dropout:g}"]
    if plan.memory_bytes is not None:
        parts.append(f"about {plan.memory_bytes / 1e9:.1f} GB of memory")
    if plan.minutes is not None:
        parts.append("1 minute" if plan.minutes == 1 else f"{plan.minutes:g} minutes")
    if plan.expected_loss is not None:
        parts.append(
            f"expected validation loss {plan.expected_loss:.2f} ({plan.expected_low:.2f} to {plan.expected_high:.2f})"
        )
    return "; ".join(parts)


class TerminalView:
    """Lines on the console, and the fields of the progress bar."""

    def __init__(self, console: Console, trainer: Training, update: Callable[..., None]) -> None:
        self._console, self._trainer, self._update = console, trainer, update
        self._began = time.monotonic()
        self._loss = "–"

    def show(self, event: Event) -> None:
        """Show one event."""
        match event:
            case events.StartEvent():
                self._start(event)
            case events.NoteEvent():
                self._print(f"note: {event.text}", "yellow")
            case events.StepEvent():
                self._loss = f"{event.loss:.3f}"
                speed = f"{event.tokens_per_second:,.0f} tokens/s"
                self._update(completed=event.step, loss=self._loss, speed=speed)
            case events.EvalEvent():
                self._evaluation(event)
            case events.SampleEvent() if event.step:  # a sample before the first step is noise
                self._print(event.text.strip("\n"), "dim")
            case events.PlanEvent():
                self._update(total=event.steps)
            case events.RollbackEvent():
                self._update(completed=event.step)
                rate = f"from there with {event.rate_factor:g} of the planned learning rate"
                self._print(f"step {event.failed:,} diverged: back to step {event.step:,}, {rate}", "yellow")
            case events.DoneEvent():
                self._done(event)

    def _start(self, event: events.StartEvent) -> None:
        trainer, steps, processes = self._trainer, self._trainer.plan.total_steps, self._trainer.world.size
        model, train = trainer.config.model, trainer.config.train
        tokens = steps * trainer.config.tokens_per_step
        self._update(completed=event.step, total=steps)
        self._print(
            f"{trainer.folder.path.as_posix()}: {trainer.config.preset}, {event.parameters:,} parameters "
            f"({counted(model.n_layer, 'layer')}, {counted(model.n_head, 'head')}, {model.n_embd} channels, "
            f"block {model.block_size}) on "
            f"{event.device}" + (f", {processes} processes ({train.parallel})" if processes > 1 else "") + "\n"
            f"{counted(steps, 'step')} of {train.batch_sequences} x {model.block_size} tokens: {tokens:,} tokens, "
            f"{tokens / event.train_tokens:.1f} times the training text"
            + (f"; resuming at step {event.step:,}" if event.step else ""),
            "bold",
        )
        self._print(expectations(trainer.plan, trainer.config), "bold")

    def _evaluation(self, event: events.EvalEvent) -> None:
        loss, since = event.evaluation.loss, self._trainer.state.pending
        self._update(completed=event.step, val=f"{loss:.3f}")
        # The mean since the last logged step, so that both losses belong to about the same weights.
        train = f"{sum(since) / len(since):.3f}" if since else self._loss
        of = "text" if self._trainer.plan.val_source == NO_VALIDATION else "val"
        line = f"step {event.step:,}: train {train}  {of} {loss:.4f}"
        if not self._console.is_terminal:
            line += f"  ({time.monotonic() - self._began:.0f} s)"
        self._print(line + ("" if event.best or not event.step else "  (not the best so far)"), "cyan")

    def _done(self, event: events.DoneEvent) -> None:
        result = event.evaluation
        early = "stopped early, out of patience; " if event.early else ""
        of = "training text, loss" if self._trainer.plan.val_source == NO_VALIDATION else "validation loss"
        self._update(completed=event.step, total=event.step)
        self._print(
            f"done: {early}{of} {result.loss:.4f} nats/token, {result.bits_per_byte:.4f} bits per byte "
            f"(checkpoint of step {event.best_step:,}; {result.protocol})",
            "bold",
        )

    def _print(self, text: str, style: str) -> None:
        # Names and samples are text: a bracket in them is not markup.
        self._console.print(text, style=style, markup=False, emoji=False, soft_wrap=True)
