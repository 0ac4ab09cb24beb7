"""What was decided for a run before it began, and what changed on the way: `plan.toml`.

A resumed run follows its plan and does not consult the clock: the same plan with the same seed gives the same weights.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from nanogpt.config import check_types, with_tuples
from nanogpt.errors import UserError, check_names
from nanogpt.files import FORMAT, check_format


@dataclass(frozen=True, kw_only=True)
class Change:
    """A new length: from `step` on the run has `steps` steps in all."""

    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """A return to the checkpoint of `step`, as step `failed` diverged; `factor` multiplies later learning rates."""

    step: int
    failed: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """A smaller micro-batch from `step` on, as memory ran out: at most `size` sequences in one forward pass."""

    step: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's text and length."""

    text: str
    """short name of the text; for an imported model its origin"""
    source: str | tuple[str, ...] = ()
    """what finds the text again"""
    val_source: str | tuple[str, ...] | None = None
    """what finds the validation text, if one was given"""
    data_key: str | None = None
    """key of the token ids in the cache; None for an imported model"""
    steps: int
    """length of the run as first planned; 0 for an imported model"""
    start_from: str | None = None
    """run whose weights it began with (a copy is kept)"""
    start_sha256: str | None = None
    """hash of that copy"""
    minutes: float | None = None
    """training time that was asked for"""
    memory_bytes: int | None = None
    """estimated peak of each process"""
    expected_loss: float | None = None
    """forecast of the validation loss, nats per token, and its interval"""
    expected_low: float | None = None
    expected_high: float | None = None
    block: str | None = None
    """name of the class of the blocks, if not the library's"""
    threads: int | None = None
    """CPU threads; a different number changes floating-point rounding"""
    precision: Literal["float32", "bfloat16"] | None = None
    """number format of matrix products; another machine might choose another"""
    changes: tuple[Change, ...] = ()
    left_out: tuple[int, ...] = ()
    """steps whose evaluation was left out to keep the time"""
    rollbacks: tuple[Rollback, ...] = ()
    micro_batches: tuple[MicroBatch, ...] = ()

    @property
    def imported(self) -> bool:
        """Whether the model was trained elsewhere: it has no text and no steps."""
        return self.data_key is None

    @property
    def total_steps(self) -> int:
        """Length of the run, after all changes."""
        return self.changes[-1].steps if self.changes else self.steps

    def progress(self, step: int) -> float:
        """Return the share of the run that is done after `step` steps, linear between changes.

        >>> plan = Plan(text="t", source="t", data_key="k", steps=10).change(5, 15)
        >>> [plan.progress(step) for step in (0, 5, 10, 15)]
        [0.0, 0.5, 0.75, 1.0]
        """
        done, at, total = 0.0, 0, self.steps
        for change in self.changes:
            if change.step >= step:
                break
            done += (change.step - at) / (total - at) * (1 - done)
            at, total = change.step, change.steps
        return done + (step - at) / (total - at) * (1 - done)

    def lr_factor(self, step: int) -> float:
        """Return what multiplies the learning rate of a step, after the rollbacks before it."""
        return math.prod((rollback.factor for rollback in self.rollbacks if rollback.step <= step), start=1.0)

    def micro_batch(self, step: int, size: int) -> int:
        """Return the most sequences in one forward pass of a step, where `size` were planned."""
        return min([size, *(entry.size for entry in self.micro_batches if entry.step <= step)])

    def change(self, step: int, steps: int) -> "Plan":
        """Return this plan with a new length from `step` on."""
        return replace(self, changes=(*self.changes, Change(step=step, steps=steps)))

    def to_dict(self) -> dict[str, Any]:
        """Return the tables of `plan.toml`."""
        return {"format": FORMAT, **{key: value for key, value in asdict(self).items() if value is not None}}

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], where: str) -> "Plan":
        """Read what `to_dict` wrote; raise UserError, naming `where`, for anything else."""
        check_format(tables, where)
        values = with_tuples({key: tables[key] for key in tables.keys() - {"format", "job"}})  # job: an earlier key
        check_names(values, [field.name for field in fields(cls)], f"{where}: unknown key")
        try:
            values |= {name: tuple(kind(**one) for one in values.get(name, ())) for name, kind in LISTS.items()}
            plan = cls(**values)
            entries: list[Any] = [*plan.changes, *plan.rollbacks, *plan.micro_batches]
            for checked in (plan, *entries):
                check_types(checked)
            at = [*(entry.step for entry in entries), *plan.left_out]
            if plan.data_key is None:
                valid = plan.steps == 0 and not at
            else:
                sizes = [one.steps for one in plan.changes] + [one.size for one in plan.micro_batches]
                valid = min(plan.steps, plan.threads or 1, *sizes) >= 1 and min(at, default=0) >= 0
                # The key becomes the name of a folder in the cache and must not lead out of it.
                valid = valid and plan.data_key.isalnum() and bool(plan.source)
                plan.progress(plan.total_steps)  # divides by zero where a part has no length
            if not valid:
                raise ValueError
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            raise UserError(f"{where} is not a plan of this program: restore it from a copy of the run") from None
        return plan


EVALUATIONS = 10
"""Evaluations of a run, unless `eval_every` says otherwise"""
LISTS: dict[str, type] = {"changes": Change, "rollbacks": Rollback, "micro_batches": MicroBatch}
