"""What a training reports: one class for each thing that happens."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from nanogpt.config import Config
from nanogpt.evaluation.loss import Evaluation
from nanogpt.parallel.world import World
from nanogpt.runs.checkpoint import State
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan

SAMPLE_LIMIT = 10_000
"""Characters of a sample that are logged"""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened after `step` updates."""

    step: int

    def metrics(self) -> dict[str, Any]:
        """Return the event's line in `metrics.jsonl`."""
        values = asdict(self)
        values = {"step": values.pop("step")} | values.pop("evaluation", {}) | values
        if "text" in values:
            values["text"] = values["text"][:SAMPLE_LIMIT]
        return {"event": type(self).__name__.removesuffix("Event").lower(), **values}


@dataclass(frozen=True, kw_only=True)
class StartEvent(Event):
    """The training starts or resumes."""

    parameters: int
    train_tokens: int
    """tokens of the training part"""
    device: str


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """Updates were made; emitted every `log_every` steps."""

    loss: float
    """mean training loss since the last such event, in nats per token"""
    learning_rate: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class EvalEvent(Event):
    """The validation loss was measured."""

    evaluation: Evaluation
    best: bool
    """no earlier loss was lower"""


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    """The model generated a sample."""

    text: str


@dataclass(frozen=True, kw_only=True)
class CheckpointEvent(Event):
    """A checkpoint was saved."""

    path: str


@dataclass(frozen=True, kw_only=True)
class PlanEvent(Event):
    """The run's length was changed to `steps`, to keep to its time."""

    steps: int


@dataclass(frozen=True, kw_only=True)
class RollbackEvent(Event):
    """A loss or gradient was not finite: the run went back to `step`, and continues with a lower learning rate."""

    failed: int
    """the step that diverged"""
    rate_factor: float
    """factor of the planned learning rate from here on"""


@dataclass(frozen=True, kw_only=True)
class NoteEvent(Event):
    """A message for the user."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StopEvent(Event):
    """The run was asked to stop before its end, and was saved."""


@dataclass(frozen=True, kw_only=True)
class DoneEvent(Event):
    """The run is finished."""

    evaluation: Evaluation
    """of the best checkpoint, on the whole split unless a subset was planned"""
    best_step: int
    early: bool
    """stopped by patience before its planned end"""


class Training(Protocol):
    """A training as its consumers see it."""

    world: World
    folder: RunFolder
    config: Config
    plan: Plan
    state: State

    def events(self) -> Iterator[Event]:
        """Train, and yield what happens."""


def warn_if_worse(training: Training) -> Iterator[NoteEvent]:
    """Yield a warning if no step brought the loss below what it was before the first one."""
    state, lines = training.state, training.folder.metrics()
    first = next((line["loss"] for line in lines if line["event"] == "eval"), math.inf)
    if state.best_loss is not None and state.best_loss >= first:
        text = (
            f"the training did not improve the model: its loss was {first:.4f} before the first step, and never below "
            f"{state.best_loss:.4f} after it. Train again with a lower --learning-rate (it was "
            f"{training.config.train.learning_rate:g}), or on more text"
        )
        yield NoteEvent(step=state.step, text=text)
