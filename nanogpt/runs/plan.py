"""What was decided for a run before it began, and the changes on the way; kept as `plan.toml`.

The plan is what a resumed run goes by: it asks no clock again, and the same plan with the same seed gives the same
weights. How a plan is made from minutes is in `nanogpt.planning`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nanogpt.checks import check_types
from nanogpt.errors import UserError, nearest
from nanogpt.files import FORMAT, check_format


def block_name(block: type) -> str | None:
    """What a plan calls a class of blocks; None for the library's own."""
    return None if block.__module__ == "nanogpt.model.gpt" else block.__qualname__


@dataclass(frozen=True, kw_only=True)
class Change:
    """From this step on the run is `steps` long in all."""

    step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """The training diverged and went back to a checkpoint; from there on its learning rate is lower."""

    step: int
    """where it went back to"""
    failed: int
    """the step at which a number was not finite"""
    factor: float
    """what the learning rate is multiplied by, from `step` on"""


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Memory ran out: from this step on at most `size` sequences are read at once, and the same ones in all."""

    step: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's text and length."""

    text: str
    """the corpus' short name; of a model that came from elsewhere, where it came from"""
    source: str | tuple[str, ...] = ()
    """what finds the corpus again; several where it was put together from them, none where it is not here"""
    val_source: str | tuple[str, ...] | None = None
    """what finds the validation text, where one was given"""
    data_key: str | None = None
    """finds the token ids in the cache; None for a model that was not trained here"""
    steps: int
    """length of the run as first planned; 0 for a model that was not trained here"""
    start_from: str | None = None
    """the run whose weights it began with; a copy of them is kept in its folder"""
    start_sha256: str | None = None
    """hash of that copy"""
    minutes: float | None = None
    """what was asked for, where it was time"""
    memory_bytes: int | None = None
    """estimated peak of each process"""
    expected_loss: float | None = None
    """the validation loss that was forecast, nats a token"""
    expected_low: float | None = None
    """lower end of its interval"""
    expected_high: float | None = None
    """upper end"""
    block: str | None = None
    """the class of the blocks, where it is one of one's own"""
    threads: int | None = None
    """CPU threads of the run: another number adds up in another order"""
    precision: str | None = None
    """number format of the matrix products: another machine might choose another"""
    job: str | None = None
    """which job of torchrun began it: where that restarts its processes, they go on with this run"""
    changes: tuple[Change, ...] = ()
    """changes of the length on the way, in the order of their steps"""
    left_out: tuple[int, ...] = ()
    """steps after which an evaluation was due and not made, to keep the time"""
    rollbacks: tuple[Rollback, ...] = ()
    """how often it diverged and went back, in the order of time"""
    micro_batches: tuple[MicroBatch, ...] = ()
    """how often memory ran out, in the order of time"""

    @property
    def imported(self) -> bool:
        """Whether the model was not trained here: it has no text and no steps of its own."""
        return self.data_key is None

    @property
    def total_steps(self) -> int:
        """Length of the run, as it stands now."""
        return self.changes[-1].steps if self.changes else self.steps

    def check(self) -> None:
        """Raise TypeError or ValueError for a plan that no run could have."""
        check_types(self)
        entries: list[Change | Rollback | MicroBatch] = [*self.changes, *self.rollbacks, *self.micro_batches]
        for entry in entries:
            check_types(entry)
        steps = [self.steps, *(change.steps for change in self.changes)]
        places = [*(entry.step for entry in entries), *self.left_out]
        # The key becomes the name of a folder in the cache, so it must not lead out of it.
        sizes = [entry.size for entry in self.micro_batches]
        if self.data_key is None:
            if steps != [0] or sizes or places:
                raise ValueError
            return
        if min(*steps, *sizes, self.threads or 1) < 1 or min(places, default=0) < 0 or not self.data_key.isalnum():
            raise ValueError
        if not self.source:
            raise ValueError
        if self.precision not in (None, "float32", "bfloat16"):
            raise ValueError
        self.progress(self.total_steps)

    def check_block(self, block: type) -> None:
        """Raise UserError where a run would be opened with other blocks than it was trained with."""
        name = block_name(block)
        if name != self.block:
            trained, given = (one or "of the library" for one in (self.block, name))
            raise UserError(
                f"this run was trained with the blocks {trained}, not {given}: "
                f"open it from Python with the block it was trained with, nanogpt.load(path, block=...)"
            )

    def change(self, step: int, steps: int) -> "Plan":
        """This plan with a new length from `step` on."""
        return replace(self, changes=(*self.changes, Change(step=step, steps=steps)))

    def roll_back(self, rollback: Rollback) -> "Plan":
        """This plan, gone back to an earlier step; changes of the length after it are made anew."""
        changes = tuple(change for change in self.changes if change.step <= rollback.step)
        return replace(self, changes=changes, rollbacks=(*self.rollbacks, rollback))

    def rate_factor(self, step: int) -> float:
        """What the learning rate of an update is multiplied by, for the rollbacks before it.

        >>> plan = Plan(text="t", source="t", data_key="k", steps=10)
        >>> plan = plan.roll_back(Rollback(step=4, failed=7, factor=0.5))
        >>> [plan.rate_factor(step) for step in (3, 4, 9)]
        [1.0, 0.5, 0.5]
        """
        return math.prod((rollback.factor for rollback in self.rollbacks if rollback.step <= step), start=1.0)

    def leave_out(self, step: int) -> "Plan":
        """This plan without the evaluation after `step` updates."""
        return replace(self, left_out=(*self.left_out, step))

    def shrink(self, step: int, size: int) -> "Plan":
        """This plan with smaller micro-batches from `step` on."""
        return replace(self, micro_batches=(*self.micro_batches, MicroBatch(step=step, size=size)))

    def micro_batch(self, step: int, size: int) -> int:
        """How many sequences are read at once in a step, where `size` of them were planned.

        >>> plan = Plan(text="t", source="t", data_key="k", steps=10).shrink(4, 3)
        >>> [plan.micro_batch(step, 6) for step in (3, 4, 9)]
        [6, 3, 3]
        """
        return min(size, *(entry.size for entry in self.micro_batches if entry.step <= step), size)

    def progress(self, step: int) -> float:
        """Share of the run that is done after `step` steps: 0 to 1, in a line between changes.

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

    def to_dict(self) -> dict[str, Any]:
        """Tables for TOML."""
        tables = {key: value for key, value in asdict(self).items() if value is not None}
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in LISTS}
        return {"format": FORMAT, **tables, **lists}

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any], where: str) -> "Plan":
        """Read what `to_dict` wrote; UserError, naming `where`, for anything else."""
        check_format(tables, where)
        known = {field.name for field in fields(cls)}
        for key in tables.keys() - known - {"format"}:
            raise UserError(f"{where}: unknown key {key!r}; {nearest(key, known)}")
        try:
            settings = {key: _frozen(value) for key, value in tables.items() if key in known}
            settings |= {name: tuple(kind(**one) for one in tables.get(name, [])) for name, kind in LISTS.items()}
            plan = cls(**settings)
            plan.check()
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            raise UserError(f"{where} is not a plan of this program: restore it from a copy of the run") from None
        return plan


LISTS: dict[str, type] = {"changes": Change, "rollbacks": Rollback, "micro_batches": MicroBatch}
"""What a plan records on the way."""


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
