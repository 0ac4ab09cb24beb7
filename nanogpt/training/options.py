"""The entry point: the options of a training, on the command line and from Python.

An option is one field of `TrainOptions`; its docstring is its help. Settings of model, data and training are fields of
`nanogpt.config`. Light to import: torch comes with the first call.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogpt.errors import UserError, shell_quote

if TYPE_CHECKING:
    from torch import nn

    from nanogpt.parallel.world import World
    from nanogpt.planning.planner import Proposal
    from nanogpt.runs.run import Run
    from nanogpt.text.corpus import Sources
    from nanogpt.training.trainer import MakeOptimizers, Trainer

PLAN_MINUTES = (1.0, 5.0, 20.0, 60.0)
MOVABLE = ("device", "parallel")
"""Settings that say where a run trains; a resumed run may change them."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a training, besides settings. On the command line all are strings and numbers."""

    text: Any = field(default=(), metadata={"positional": True, "metavar": "TEXT"})
    """file, folder, https address, hf:DATASET, '-' for standard input, or shakespeare or python; several are read one
    after another (default: shakespeare if it is available)"""
    minutes: float | None = None
    """time to train for, everything included; the machine is measured and a size chosen (default: 1)"""
    steps: int | None = None
    """steps to train for, with the preset's sizes; nothing is measured"""
    memory: float | None = field(default=None, metadata={"metavar": "GB"})
    """memory limit in GB (default: free memory)"""
    preset: str | None = field(default=None, metadata={"metavar": "NAME"})
    """modern, gpt2, lecture, or a .toml file of settings (default: modern)"""
    out: str | os.PathLike[str] | None = field(default=None, metadata={"metavar": "FOLDER"})
    """run folder (default: runs/TEXT-PRESET-N)"""
    val: Any = field(default=None, metadata={"metavar": "TEXT"})
    """validation text, or none to train on all of the text (default: a tenth of the text)"""
    start_from: str | os.PathLike[str] | None = field(default=None, metadata={"flag": "from", "metavar": "RUN"})
    """start from this run's weights, sizes and tokenizer, with a third of its learning rate"""
    seeds: int | None = None
    """train this number of runs with consecutive seeds in one folder; report mean and spread"""
    resume: str | os.PathLike[str] | None = field(default=None, metadata={"metavar": "RUN"})
    """continue an interrupted run, 'last' for the newest; takes no other options but --device and --parallel"""
    yes: bool = False
    """fetch a text whose http(s) address is given, without asking"""

    def check(self) -> None:
        """Raise UserError for values out of range, or options that exclude each other."""
        if self.minutes is not None and self.steps is not None:
            raise UserError(f"both --minutes {self.minutes:g} and --steps {self.steps} were given: leave one out")
        if self.steps is not None and (type(self.steps) is not int or self.steps < 1):
            raise UserError(f"--steps {self.steps!r}: choose a whole number from 1")
        for name, value in (("minutes", self.minutes), ("memory", self.memory)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"--{name} {value}: choose a number above 0, for example 0.5")


def train(
    text: "Sources" = None,
    *,
    block: "type[nn.Module] | None" = None,
    optimizers: "MakeOptimizers | None" = None,
    progress: bool = True,
    **options: Any,
) -> "Run":
    """Train a GPT on a text and return the run, its best checkpoint loaded.

    The run is kept in its folder. Started by torchrun in several processes, they train one run together. The first
    Ctrl-C saves and stops. For a fifth more speed on Linux call `nanogpt.parallel.process.keep_freed_memory` first.

    Args:
        text: A path, a folder, `-`, a data set or a corpus name, or several (`text.corpus`).
        block: Class of the blocks, if it is your own.
        optimizers: Makes your own optimizers from (model, TrainConfig, number format): any `torch.optim.Optimizer`s.
        progress: Whether to show progress on standard error.
        **options: Fields of `TrainOptions` but `seeds`, and fields of `nanogpt.config`, which override the preset.

    Raises:
        UserError: Something the caller can fix.
        KeyboardInterrupt: Ctrl-C, after the run was saved.

    >>> run = nanogpt.train("tale.txt", steps=3, n_layer=2, n_embd=32, block_size=16, progress=False)
    >>> run.path.as_posix(), run.step
    ('runs/tale-modern-1', 3)
    """
    started = time.monotonic()
    asked, settings = split_options(text, options)
    from nanogpt.model.gpt import Block
    from nanogpt.parallel.process import Interrupt
    from nanogpt.reporting.events import StopEvent
    from nanogpt.reporting.terminal import show_training
    from nanogpt.runs.run import load

    block = block or Block
    with joined_world() as world:
        interrupt = Interrupt(world)
        given: Any = {"block": block, "optimizers": optimizers, "started": started, "world": world}
        trainer = start_training(asked, settings, should_stop=interrupt, quiet=not progress, **given)
        if trainer is None:
            return load(resumed_path(asked.resume), block=block, device=settings.get("device") or "auto")
        with interrupt:
            for event in show_training(trainer, quiet=not progress):
                if isinstance(event, StopEvent):
                    path = str(trainer.folder.path)
                    raise KeyboardInterrupt(
                        f"stopped at step {event.step:,}; continue with nanogpt.train(resume={path!r})"
                    )
        return load(trainer.folder.path, block=block, device=trainer.config.train.device)


def plan(
    text: "Sources" = None,
    *,
    minutes: Sequence[float] = PLAN_MINUTES,
    block: "type[nn.Module] | None" = None,
    progress: bool = True,
    started: float | None = None,
    **options: Any,
) -> "list[Proposal]":
    """Return what `nanogpt.train` would train in each of `minutes`; nothing is trained.

    Reads the text, as training does, and measures the machine for some seconds. `started` is when the minutes began, by
    `time.monotonic`; the other arguments are those of `train`. Raises UserError for something the caller can fix.

    >>> for one in nanogpt.plan("tale.txt", minutes=[0.1, 2], progress=False):
    ...     print(one.minutes, one.steps > 0, one.expected.low < one.expected.loss <= one.expected.high)
    0.1 True True
    2 True True
    """
    started = time.monotonic() if started is None else started
    if not minutes:
        raise UserError("no minutes were given: name some, for example 1 5 20 60")
    for one in minutes:
        TrainOptions(minutes=one).check()
    asked, settings = split_options(text, {"minutes": minutes[0], **options})
    from nanogpt.model.gpt import Block
    from nanogpt.training.new_run import prepare
    from nanogpt.training.pace import END_SECONDS

    planner = prepare(asked, settings, block or Block, quiet=not progress).planner()
    spent = time.monotonic() - started
    return [planner.propose(one, one * 60 - END_SECONDS - spent) for one in minutes]


def split_options(text: "Sources", keywords: Mapping[str, Any]) -> tuple[TrainOptions, dict[str, Any]]:
    """Return keywords as options and settings."""
    names = {one.name for one in fields(TrainOptions)} - {"text", "seeds"}
    options = {name: value for name, value in keywords.items() if name in names}
    settings = {name: value for name, value in keywords.items() if name not in names}
    return TrainOptions(text=text, **options), settings


def start_training(
    options: TrainOptions,
    settings: Mapping[str, Any],
    *,
    block: "type[nn.Module] | None" = None,
    optimizers: "MakeOptimizers | None" = None,
    started: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    world: "World | None" = None,
) -> "Trainer | None":
    """Make a new run or open one to resume; return its trainer, or None where the run is finished.

    `settings` are the fields of `nanogpt.config` that the user named, `started` is when the time began
    (`time.monotonic`), and `should_stop` is called after each step. Raises UserError for something the caller can fix.
    """
    from nanogpt.data.tokenize import Dataset
    from nanogpt.model.gpt import Block
    from nanogpt.optim.optimizers import make_optimizers
    from nanogpt.parallel.world import ALONE
    from nanogpt.runs.folder import RunFolder
    from nanogpt.training.new_run import create_run
    from nanogpt.training.trainer import Trainer

    started, world, block = time.monotonic() if started is None else started, world or ALONE, block or Block
    moved = {name: value for name, value in settings.items() if name in MOVABLE and value is not None}

    def open_or_create() -> tuple[str | None, list[str], bool]:
        """Return the folder (None where its training is over), notes, and whether to restore a checkpoint."""
        if options.resume is not None:
            refuse_with_resume(options, settings)
            return *_open_to_resume(resumed_path(options.resume), block, options.yes), True
        if world.size > 1:
            from nanogpt.training.restarts import run_before_restart

            if (begun := run_before_restart(world, options.out)) is not None:
                return str(begun.path), ["torchrun restarted this job: its run continues"], True
        folder, notes = create_run(options, settings, block, started=started, quiet=quiet, world=world)
        return str(folder.path), notes, False

    def assist(request: Any) -> None:
        from nanogpt.training.speed import help_to_measure

        help_to_measure(request, block, world)

    path, notes, restores = world.on_main(open_or_create, assist)
    if path is None:
        return None
    folder = RunFolder(path)
    run_plan, config = folder.read_plan(), folder.read_config()
    if restores and options.resume is not None:
        config = config.override(**moved)
    data = None if run_plan.data_key is None else Dataset.load(run_plan.data_key)
    if data is None:
        raise UserError(
            f"process {world.rank} does not find the token ids in the cache: put the cache (NANOGPT_CACHE) and the run "
            f"folder on a disk that all machines share"
        )
    pace = None
    if run_plan.minutes is not None and not restores:
        from nanogpt.training.pace import Pace

        pace = Pace(started, run_plan.minutes)
    return Trainer(
        folder,
        config,
        run_plan,
        data,
        block=block,
        optimizers=optimizers or make_optimizers,
        notes=notes,
        resume=restores,
        should_stop=should_stop,
        pace=pace,
        world=world,
    )


def _open_to_resume(path: Path, block: "type[nn.Module]", yes: bool) -> tuple[str | None, list[str]]:
    """Return a run's folder, its token ids back in the cache, and notes; None where its training is over.

    A finished run with a damaged last checkpoint continues from the one before, and ends the same again.
    """
    from nanogpt.data.tokenize import Dataset
    from nanogpt.model.gpt import Block
    from nanogpt.runs.folder import RunFolder

    folder = RunFolder.open(path)
    if folder.done():
        last = folder.checkpoints.find("last")
        if last is None or not last.notes:
            return None, []
    plan = folder.read_plan()
    if block is not Block or plan.block is not None:
        from nanogpt.runs.custom_blocks import check_block

        check_block(plan, block)
    folder.read_tokenizer()  # raises where it is another model's
    if folder.read_config().train.track:
        from nanogpt.reporting.trackers import check_trackers

        check_trackers(folder.read_config().train.track)
    from nanogpt.runs.texts import open_data, text_changes

    if plan.data_key is not None and Dataset.load(plan.data_key) is not None:
        return str(folder.path), text_changes(folder)
    open_data(folder, yes)  # raises where the text has changed
    return str(folder.path), []


def refuse_with_resume(options: TrainOptions, settings: Mapping[str, Any]) -> None:
    """Raise UserError for other options with --resume: a resumed run keeps its plan and settings."""
    asked = {one.name: getattr(options, one.name) for one in fields(options) if one.name not in ("resume", "yes")}
    asked |= {name: value for name, value in settings.items() if name not in MOVABLE}
    names = [name.replace("_", "-") for name, value in asked.items() if value not in (None, ())]
    if names:
        flags = ", ".join(name if name == "text" else "--" + name.replace("start-from", "from") for name in names)
        raise UserError(
            f"a resumed run keeps its plan and settings: leave out {flags}, or train a new run that starts from its "
            f"weights, with --from {shell_quote(str(options.resume))}"
        )


def resumed_path(resume: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the run to resume: the newest for `last`."""
    from nanogpt.runs.find import find_folder, newest_run

    return newest_run() if resume is None or os.fspath(resume) == "last" else find_folder(resume, required=True)


def joined_world() -> Any:
    """Return a context manager for this process's world: several processes under torchrun, else one."""
    if "WORLD_SIZE" in os.environ:
        from nanogpt.parallel.distributed import joined

        return joined()
    from nanogpt.parallel.world import ALONE

    return contextlib.nullcontext(ALONE)


def has_seeds(path: str | os.PathLike[str] | None) -> bool:
    """Return whether a folder holds runs with several seeds."""
    if path is None:
        return False
    from nanogpt.runs.find import SEEDS_FILE, find_folder

    with contextlib.suppress(OSError):  # too long for a file's name
        return (find_folder(path) / SEEDS_FILE).is_file()
    return False
