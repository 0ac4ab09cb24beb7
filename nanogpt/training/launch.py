"""From a request to a training: a new run, or one that goes on."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from nanogpt.data.dataset import Dataset
from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.parallel.process import keep_freed_memory
from nanogpt.parallel.world import ALONE, World, joined
from nanogpt.reporting.events import StopEvent
from nanogpt.reporting.terminal import show_training
from nanogpt.reporting.trackers import check_trackers
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import Run, list_runs, load, newest_run, open_data
from nanogpt.text.corpus import Sources
from nanogpt.training.interrupt import Interrupt
from nanogpt.training.pace import Pace
from nanogpt.training.request import Request, make_run
from nanogpt.training.speed import help_to_measure
from nanogpt.training.trainer import Trainer

MOVING = ("device", "parallel")
"""Settings that say where a run is trained, and may change when it goes on."""


def train(
    text: Sources = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    memory: float | None = None,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    val: Sources = None,
    start_from: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    block: type[torch.nn.Module] = Block,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a GPT on a text and return it, its best checkpoint loaded; the run is kept in its folder.

    `text` is a path, a folder, `-`, a data set or a corpus name, or several of them (see `nanogpt.text.corpus`). Give
    `minutes` and the machine is measured and a fitting size chosen, or `steps` and sizes are the preset's; with
    neither, one minute. `memory` limits it to so many gigabytes, else what is free does. `settings` are single fields
    of `nanogpt.config` by name, and win over the preset. `val` is a text to validate on in place of the last tenth.
    `start_from` is a run whose weights, sizes and tokenizer are taken to go on with; with `lora=8` they stay as they
    are, and adapters of that rank learn beside them.
    `resume` goes on with an interrupted run, and takes no other settings but `device` and `parallel`. `block` is a
    class of blocks of one's own. Progress goes to standard error. In a program that torchrun started several times,
    all of them train one run.

    Raises UserError for whatever the caller can mend, and KeyboardInterrupt on Ctrl-C, after the run was saved.
    The process keeps freed memory from now on (`nanogpt.parallel.process`).

    >>> run = nanogpt.train("tale.txt", steps=3, n_layer=2, n_embd=32, block_size=16, progress=False)
    >>> run.path.as_posix(), run.step
    ('runs/tale-modern-1', 3)
    """
    started = time.monotonic()
    keep_freed_memory()
    with joined() as world:
        interrupt = Interrupt(world)
        if resume is not None:
            beside = {"text": text, "minutes": minutes, "steps": steps, "memory": memory, "preset": preset, "out": out}
            beside |= {"val": val, "start_from": start_from}
            moved = {name: settings.pop(name, None) for name in MOVING}
            refuse_beside_resume(beside | settings)
            trainer = resume_run(resume, block=block, should_stop=interrupt, world=world, **moved)
            if trainer is None:
                return load(_resumed(resume), block=block, device=moved["device"] or "auto")
        else:
            trainer = start_run(
                text,
                minutes=minutes,
                steps=steps,
                memory=memory,
                preset=preset,
                out=out,
                val=val,
                start_from=start_from,
                block=block,
                started=started,
                should_stop=interrupt,
                quiet=not progress,
                world=world,
                **settings,
            )
        with interrupt:
            for event in show_training(trainer, quiet=not progress):
                if isinstance(event, StopEvent):
                    path = str(trainer.folder.path)
                    raise KeyboardInterrupt(
                        f"stopped at step {event.step:,}; go on with nanogpt.train(resume={path!r})"
                    )
        return load(trainer.folder.path, block=block, device=trainer.config.train.device)


def start_run(
    text: Sources = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    memory: float | None = None,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    val: Sources = None,
    start_from: str | os.PathLike[str] | None = None,
    block: type[torch.nn.Module] = Block,
    started: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    quiet: bool = False,
    world: World = ALONE,
    **settings: Any,
) -> Trainer:
    """A new run, its folder made and its plan written, ready for its `events`. `started` is when the time began.

    Reading a long text is shown on standard error unless `quiet`.
    Of several processes the first makes the folder, and all train what is in it. Where torchrun restarted them the run
    that they began goes on instead.
    """
    started = time.monotonic() if started is None else started
    request = Request(
        text=text,
        minutes=minutes,
        steps=steps,
        memory=memory,
        preset=preset,
        out=out,
        val=val,
        start_from=start_from,
        block=block,
        settings=settings,
    )

    def begin() -> tuple[str, list[str], bool]:
        begun = _begun_before_restart(world, out)
        if begun is not None:
            return str(begun.path), ["torchrun restarted this job: its run goes on"], True
        folder, notes = make_run(request, started, quiet, world)
        return str(folder.path), notes, False

    path, notes, again = world.lead(begin, lambda asked: help_to_measure(asked, block, world))
    trainer = _open_trainer(path, world, block=block, should_stop=should_stop, notes=tuple(notes))
    if again:
        trainer.restore()
    elif trainer.plan.minutes is not None:
        pace = Pace(started, trainer.plan.minutes)
        trainer.new_length, trainer.leaves_out = pace, pace.leaves_out
    return trainer


def _begun_before_restart(world: World, out: str | os.PathLike[str] | None) -> RunFolder | None:
    """The run that this job began before torchrun restarted its processes; None where there is none."""
    if not world.restarts:
        return None
    for folder in list_runs() if out is None else [RunFolder(out)]:
        if (folder.path / "plan.toml").is_file() and folder.read_plan().job == world.job:
            return folder
    return None


def resume_run(
    path: str | os.PathLike[str],
    *,
    block: type[torch.nn.Module] = Block,
    device: str | None = None,
    parallel: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    world: World = ALONE,
) -> Trainer | None:
    """An interrupted run (`last` is the newest), ready to go on from its last checkpoint; None where it is done.

    A finished run whose last checkpoint was damaged since goes on from the one before, and ends the same again.
    It goes on by its plan as written: the clock is not asked again. `device` and `parallel` move it to another device
    or way of sharing it, and `world` may have more or fewer processes than before: only sums are rounded otherwise.
    """

    def find() -> str | None:
        folder = RunFolder.open(_resumed(path))
        if is_done(folder) and not _ends_damaged(folder):
            return None
        folder.read_plan().check_block(block)
        folder.check_vocabulary()
        check_trackers(folder.read_config().train.track)
        open_data(folder)  # made again, where it is no longer in the cache
        return str(folder.path)

    found = world.lead(find)
    if found is None:
        return None
    moved = {name: value for name, value in {"device": device, "parallel": parallel}.items() if value is not None}
    trainer = _open_trainer(found, world, moved, block=block, should_stop=should_stop)
    trainer.restore()
    return trainer


def _open_trainer(path: str, world: World, moved: Mapping[str, str] = MappingProxyType({}), **rest: Any) -> Trainer:
    """The training of what is in a run's folder, by this process."""
    folder = RunFolder(path)
    if not (folder.path / "plan.toml").is_file():
        raise world.misses(f"the run {path}")
    plan, config = folder.read_plan(), folder.read_config().override(**moved)
    data = None if plan.data_key is None else Dataset.load(plan.data_key)
    if data is None:
        raise world.misses("the token ids of the text")
    return Trainer(folder, config, plan, data, world=world, **rest)


def refuse_beside_resume(given: Mapping[str, Any]) -> None:
    """Raise UserError where anything is asked of a resumed run: it goes on by its own plan and settings."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise UserError(
            f"a resumed run goes on by its own plan: leave {', '.join(names)} out, or train a new run that begins with "
            f"its weights, by --from RUN in place of --resume"
        )


def _ends_damaged(folder: RunFolder) -> bool:
    """Whether the last checkpoint is no longer whole: training its steps again gives it back."""
    last = folder.checkpoints.find("last")
    return last is not None and bool(last.notes)


def is_done(folder: RunFolder) -> bool:
    """Whether the run's training is over."""
    return any(line.get("event") == "done" for line in folder.metrics())


def _resumed(path: str | os.PathLike[str] | None) -> Path:
    return newest_run() if path is None or os.fspath(path) == "last" else Path(path)
