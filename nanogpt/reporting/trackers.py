"""A training's events, sent on to TensorBoard and Weights & Biases (extra `track`), where a run asks for them.

A tracker sees what everyone sees and changes nothing. One that fails, be it by its network, ends no training: that is
told once, and the training goes on without it. Both write inside the run's folder alone, and a run that goes on goes on
in the same log. Ours, `metrics.jsonl`, is always written and needs none of them.
"""

import importlib.util
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nanogpt.errors import UserError
from nanogpt.reporting.events import (
    DoneEvent,
    EvalEvent,
    Event,
    NoteEvent,
    RollbackEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    StopEvent,
)
from nanogpt.training.trainer import Trainer

if TYPE_CHECKING:
    from nanogpt.config import Config

WANDB_FOLDERS = {"WANDB_CACHE_DIR": "cache", "WANDB_DATA_DIR": "data", "WANDB_ARTIFACT_DIR": "artifacts"}


class Tracker(Protocol):
    """What a log has to offer."""

    def begin(self, step: int) -> None:
        """Open the log, or go on in it: whatever it has of later steps is about to come anew."""
        ...

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Note some numbers."""
        ...

    def text(self, step: int, name: str, text: str) -> None:
        """Note a text."""
        ...

    def end(self) -> None:
        """Write what is not written yet, and close."""
        ...


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError where a tracker's package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"{name!r} is not installed: pip install 'nanogpt[track]' or pip install {name}; or train without "
                f"--track {name} (in a run that goes on: take it out of its config.toml)"
            )


def track(trainer: Trainer) -> Iterator[Event]:
    """The trainer's events, each sent to the run's trackers on its way."""
    config, path = trainer.config, trainer.folder.path
    trackers: dict[str, Tracker] = {name: TRACKERS[name](path, config) for name in config.train.track}
    try:
        for event in trainer.events():
            for name, tracker in tuple(trackers.items()):
                try:
                    send(event, tracker)
                except Exception as error:  # whatever it is: a log is not worth a training
                    _abandon(trackers.pop(name))
                    yield NoteEvent(step=event.step, text=_told(name, error))
            yield event
    finally:  # also where the training failed, or whoever looks on went away
        for tracker in trackers.values():
            _abandon(tracker)


def send(event: Event, tracker: Tracker) -> None:
    """Note an event in a log, in that log's words."""
    match event:
        case StartEvent():
            tracker.begin(event.step)
        case RollbackEvent():
            tracker.begin(event.step)
        case StepEvent():
            tracker.numbers(
                event.step,
                {
                    "loss/training": event.loss,
                    "learning_rate": event.learning_rate,
                    "tokens_per_second": event.tokens_per_second,
                },
            )
        case EvalEvent():
            found = event.evaluation
            tracker.numbers(event.step, {"loss/validation": found.loss, "bits_per_byte": found.bits_per_byte})
        case SampleEvent():
            tracker.text(event.step, "sample", event.text)
        case DoneEvent():
            found = event.evaluation
            tracker.numbers(event.step, {"loss/best": found.loss, "bits_per_byte/best": found.bits_per_byte})
            tracker.end()
        case StopEvent():
            tracker.end()


class TensorBoard:
    """Event files in `tensorboard/`; see them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, config: "Config") -> None:
        self._folder = folder / "tensorboard"
        self._config = config
        self._writer: Any = None

    def begin(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        again = self._folder.is_dir()
        self.end()
        # TensorBoard forgets what it has from this step on: a run that was killed writes it a second time.
        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if again else None)
        if not again:
            settings = "\n".join(f"    {name} = {value}" for name, value in _settings(self._config).items())
            self._writer.add_text("settings", settings, step)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        self._writer.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()), step)  # shown as it is

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases:
    """A run of Weights & Biases in `wandb/`, in the project `nanogpt` unless WANDB_PROJECT says otherwise.

    Its id is kept in `wandb/id`. Whether and where it is sent is up to its own settings: WANDB_MODE=offline keeps it
    here. What a killed run had noted after its last checkpoint is there twice: steps that have been sent stay.
    """

    def __init__(self, folder: Path, config: "Config") -> None:
        self._folder, self._config = folder, config
        self._run: Any = None

    def begin(self, step: int) -> None:
        if self._run is not None:
            return
        import wandb

        own = self._folder / "wandb"
        kept = own / "id"
        if not kept.is_file():
            own.mkdir(exist_ok=True)
            kept.write_text(secrets.token_hex(8) + "\n", encoding="utf-8")
        with _environment({variable: str((own / name).resolve()) for variable, name in WANDB_FOLDERS.items()}):
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "nanogpt"),
                name=self._folder.name,
                id=kept.read_text(encoding="utf-8").strip(),
                resume="allow",
                dir=str(self._folder),
                config=_settings(self._config),
                settings=wandb.Settings(console="off"),  # it would take the terminal that the progress is shown on
            )
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({"step": step, name: text})

    def end(self) -> None:
        if self._run is not None:
            import wandb

            run, self._run = self._run, None
            run.finish()
            wandb.teardown()  # of its own process, which keeps to this run's folders


TRACKERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a moment, where the user has not set them."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _settings(config: "Config") -> dict[str, Any]:
    """All of a run's settings in one table."""
    tables = config.to_dict()
    return {"preset": tables["preset"], **tables["model"], **tables["data"], **tables["train"]}


def _abandon(tracker: Tracker) -> None:
    """Close a log of which nothing more is expected."""
    with suppress(Exception):
        tracker.end()


def _told(name: str, error: Exception) -> str:
    return f"{name} failed and is left alone from here on: {type(error).__name__}: {error}"
