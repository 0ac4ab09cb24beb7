"""Trackers that a run may log to besides `metrics.jsonl`: TensorBoard and Weights & Biases (extra `track`).

A tracker that fails, for example by its network, is reported once and dropped; the training goes on. Both write only
inside the run folder, and a resumed run continues the same log.
"""

import importlib.util
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nanogpt.config import Config
from nanogpt.errors import UserError
from nanogpt.reporting import events
from nanogpt.reporting.events import Event

WANDB_FOLDERS = {"WANDB_CACHE_DIR": "cache", "WANDB_DATA_DIR": "data", "WANDB_ARTIFACT_DIR": "artifacts"}


def check_trackers(names: Sequence[str]) -> None:
    """Raise UserError where a tracker's package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"{name!r} is not installed: pip install 'nanogpt[track]', or leave --track {name} out (of a run to "
                f"resume: remove it from config.toml)"
            )


def track(reported: Iterator[Event], config: Config, folder: Path) -> Iterator[Event]:
    """Yield a training's events after sending each to the trackers of the run in `folder`."""
    trackers: dict[str, Tracker] = {name: TRACKERS[name](folder, config) for name in config.train.track}
    try:
        for event in reported:
            for name, tracker in tuple(trackers.items()):
                try:
                    send(event, tracker)
                except Exception as error:  # whatever it is: a log must not end a training
                    _close_quietly(trackers.pop(name))
                    text = f"{name} failed and is not used any more: {type(error).__name__}: {error}"
                    yield events.NoteEvent(step=event.step, text=text)
            yield event
    finally:  # also where the training failed or the consumer stopped
        for tracker in trackers.values():
            _close_quietly(tracker)


def send(event: Event, tracker: "Tracker") -> None:
    """Log an event."""
    match event:
        case events.StartEvent() | events.RollbackEvent():
            tracker.begin(event.step)
        case events.StepEvent(loss=loss, learning_rate=rate, tokens_per_second=speed):
            values = {"loss/training": loss, "learning_rate": rate, "tokens_per_second": speed}
            tracker.numbers(event.step, values)
        case events.EvalEvent(evaluation=found):
            tracker.numbers(event.step, {"loss/validation": found.loss, "bits_per_byte": found.bits_per_byte})
        case events.SampleEvent():
            tracker.text(event.step, "sample", event.text)
        case events.DoneEvent(evaluation=found):
            tracker.numbers(event.step, {"loss/best": found.loss, "bits_per_byte/best": found.bits_per_byte})
            tracker.end()
        case events.StopEvent():
            tracker.end()


class TensorBoard:
    """Event files in `tensorboard/` of the run folder. View them with `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, config: Config) -> None:
        self._folder = folder / "tensorboard"
        self._config = config
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """Open or continue the log; entries of later steps will be written again."""
        from torch.utils.tensorboard import SummaryWriter

        again = self._folder.is_dir()
        self.end()
        # TensorBoard drops its entries from this step on: a run that was killed writes them again.
        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1 if again else None)
        if not again:
            settings = "\n".join(f"    {name} = {value}" for name, value in _settings(self._config).items())
            self._writer.add_text("settings", settings, step)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text, indented, which Markdown shows as it is."""
        self._writer.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()), step)

    def end(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WeightsAndBiases:
    """A run of Weights & Biases in `wandb/` of the run folder, in the project WANDB_PROJECT or else `nanogpt`.

    Its id is kept in `wandb/id`. What a killed run logged after its last checkpoint appears twice.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._folder, self._config = folder, config
        self._run: Any = None

    def begin(self, step: int) -> None:
        """Open the log, unless it is open."""
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
                settings=wandb.Settings(console="off"),  # else it takes over the terminal of the progress bar
            )
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text."""
        self._run.log({"step": step, name: text})

    def end(self) -> None:
        """Finish the run."""
        if self._run is not None:
            import wandb

            run, self._run = self._run, None
            run.finish()
            wandb.teardown()  # ends its process, which uses this run's folders


Tracker = TensorBoard | WeightsAndBiases
TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block, unless the user has set them."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _settings(config: Config) -> dict[str, Any]:
    tables = config.to_dict()
    return {"preset": tables["preset"], **tables["model"], **tables["data"], **tables["train"]}


def _close_quietly(tracker: Tracker) -> None:
    with suppress(Exception):
        tracker.end()
