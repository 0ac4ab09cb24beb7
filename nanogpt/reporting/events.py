"""What a training tells while it runs: one class for each thing that happens.

Terminal, web page and tests all consume these; `nanogpt.training.trainer` emits them.
"""

from dataclasses import dataclass

from nanogpt.evaluation.loss import Evaluation


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened after `step` updates."""

    step: int


@dataclass(frozen=True, kw_only=True)
class StartEvent(Event):
    """The training begins, or goes on, at `step`."""

    folder: str
    parameters: int
    steps: int
    """planned length of the run"""
    tokens_per_step: int
    train_tokens: int
    """tokens of the training part"""
    device: str
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """Updates were made; emitted every `log_every` steps."""

    loss: float
    """mean training loss of the steps since the last such event, nats a token"""
    learning_rate: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class EvalEvent(Event):
    """The validation loss was measured."""

    evaluation: Evaluation
    best: bool
    """no earlier one was lower"""


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    """The model wrote something."""

    text: str


@dataclass(frozen=True, kw_only=True)
class CheckpointEvent(Event):
    """The run can go on from here."""

    path: str


@dataclass(frozen=True, kw_only=True)
class PlanEvent(Event):
    """The run's length was changed to `steps`, to keep its time."""

    steps: int


@dataclass(frozen=True, kw_only=True)
class RollbackEvent(Event):
    """A number was not finite; the run went back to `step`, and its learning rate is lower from there on."""

    failed: int
    """the step that diverged"""
    rate_factor: float
    """what the planned learning rate is now multiplied by"""


@dataclass(frozen=True, kw_only=True)
class NoteEvent(Event):
    """Something a person should know."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StopEvent(Event):
    """The run was asked to stop before its end, and saved."""


@dataclass(frozen=True, kw_only=True)
class DoneEvent(Event):
    """The run is over: its best checkpoint, by the whole-split protocol unless a subset was planned."""

    evaluation: Evaluation
    best_step: int
    early: bool
    """stopped by patience, before its planned end"""
