"""From a request to a training: find the text, settle the config, plan, make the run's folder; or resume one."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from nanogpt.config import DEFAULT_PRESET, Config, load_preset
from nanogpt.corpus import Corpus, Sources
from nanogpt.data import Dataset, check_length, divide, prepare
from nanogpt.distributed import ALONE, World, joined
from nanogpt.errors import UserError
from nanogpt.events import StopEvent
from nanogpt.folder import RunFolder
from nanogpt.interrupt import Interrupt
from nanogpt.model import Block
from nanogpt.parallel import check_divisible
from nanogpt.plan import Plan, block_name
from nanogpt.planning import (
    END_SECONDS,
    Pace,
    choose_size,
    fit_block,
    help_to_measure,
    short_text_notes,
    smallest_block,
)
from nanogpt.run import RUNS, Run, list_runs, load, newest_run, open_corpus, open_data
from nanogpt.text.bpe import DEFAULT_VOCABULARY
from nanogpt.text.bpe_files import read_bpe
from nanogpt.text.pieces import cut_pieces
from nanogpt.tokenizer import Tokenizer, train_tokenizer
from nanogpt.training import Trainer
from nanogpt.views.progress import show_training
from nanogpt.views.tracking import check_trackers

MOVING = ("device", "parallel")
"""Settings that say where a run is trained, and may change when it goes on."""

Text = Sources


def train(
    text: Text = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    val: Text = None,
    resume: str | os.PathLike[str] | None = None,
    block: type[torch.nn.Module] = Block,
    progress: bool = True,
    **settings: Any,
) -> Run:
    """Train a GPT on a text and return it, its best checkpoint loaded; the run is kept in its folder.

    `text` is a path, a folder, `-`, a data set or a corpus name, or several of them (see `nanogpt.corpus`). Give
    `minutes` and the machine is measured and a fitting size chosen, or `steps` and sizes are the preset's; with
    neither, one minute. `settings` are single fields of `nanogpt.config` by name, and win over the preset. `val` is a
    text to validate on in place of the last tenth. `resume` goes on with an interrupted run, and takes no other
    settings but `device` and `parallel`. `block` is a class of blocks of one's own. Progress goes to standard error.
    In a program that torchrun started several times, all of them train one run.

    Raises UserError for whatever the caller can mend, and KeyboardInterrupt on Ctrl-C, after the run was saved.

    >>> run = nanogpt.train("tale.txt", steps=3, n_layer=2, n_embd=32, block_size=16, progress=False)
    >>> run.path.as_posix(), run.step
    ('runs/tale-modern-1', 3)
    """
    started = time.monotonic()
    with joined() as world:
        interrupt = Interrupt(world)
        if resume is not None:
            beside = {"text": text, "minutes": minutes, "steps": steps, "preset": preset, "out": out, "val": val}
            moved = {name: settings.pop(name, None) for name in MOVING}
            refuse_beside_resume(beside | settings)
            trainer = resume_run(resume, block=block, should_stop=interrupt, world=world, **moved)
        else:
            trainer = start_run(
                text,
                minutes=minutes,
                steps=steps,
                preset=preset,
                out=out,
                val=val,
                block=block,
                started=started,
                should_stop=interrupt,
                quiet=not progress,
                world=world,
                **settings,
            )
        if trainer is None:
            return load(_resumed(resume), block=block)
        with interrupt:
            for event in show_training(trainer, quiet=not progress):
                if isinstance(event, StopEvent):
                    path = str(trainer.folder.path)
                    raise KeyboardInterrupt(
                        f"stopped at step {event.step:,}; go on with nanogpt.train(resume={path!r})"
                    )
        return load(trainer.folder.path, block=block, device=trainer.config.train.device)


def start_run(
    text: Text = None,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    preset: str | None = None,
    out: str | os.PathLike[str] | None = None,
    val: Text = None,
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

    def begin() -> tuple[str, list[str], bool]:
        begun = _begun_before_restart(world, out)
        if begun is not None:
            return str(begun.path), ["torchrun restarted this job: its run goes on"], True
        folder, notes = _make_run(
            text=text,
            minutes=minutes,
            steps=steps,
            preset=preset,
            out=out,
            val=val,
            block=block,
            started=started,
            quiet=quiet,
            world=world,
            settings=settings,
        )
        return str(folder.path), notes, False

    path, notes, again = world.lead(begin, lambda asked: help_to_measure(asked, block, world))
    trainer = _open_trainer(path, world, block=block, should_stop=should_stop, notes=tuple(notes))
    if again:
        trainer.restore()
    elif trainer.plan.minutes is not None:
        trainer.new_length = Pace(started, trainer.plan.minutes)
    return trainer


def _make_run(
    *,
    text: Text,
    minutes: float | None,
    steps: int | None,
    preset: str | None,
    out: str | os.PathLike[str] | None,
    val: Text,
    block: type[torch.nn.Module],
    started: float,
    quiet: bool,
    world: World,
    settings: dict[str, Any],
) -> tuple[RunFolder, list[str]]:
    """A new run's folder, with all that a training needs, and notes for the user."""
    minutes = _length_asked(minutes, steps)
    config = load_preset(preset or DEFAULT_PRESET).override(**settings)
    world.device(config.train.device)  # what cannot be had is said before anything is written
    check_trackers(config.train.track)
    if out is not None and Path(out).exists():
        RunFolder.create(out)  # raises, for the same reason
    corpora = [open_corpus(text, config.data)] + ([open_corpus(val, config.data)] if val is not None else [])
    tokenizer = _tokenizer(config, corpora, quiet)
    notes = _vocabulary_notes(config, tokenizer, named="vocab_size" in settings)
    config = _with_tokens(config, tokenizer)
    data = prepare(corpora[0], tokenizer, *corpora[1:], quiet=quiet)
    wanted_block = config.model.block_size if minutes is None else smallest_block(config, settings.keys())
    config = fit_block(config, data, settings.keys())
    check_length(data, config.model.block_size)
    if steps is None and minutes is not None:
        seconds = minutes * 60 - END_SECONDS - (time.monotonic() - started)
        config, steps = choose_size(config, data, seconds, settings.keys(), block, world=world)
    assert steps is not None
    check_divisible(config.train, world.size)
    notes += short_text_notes(config, data, wanted_block)
    plan = Plan(
        text=corpora[0].name,
        source=corpora[0].source,
        val_source=None if val is None else corpora[1].source,
        data_key=data.key,
        steps=steps,
        minutes=minutes,
        block=block_name(block),
        threads=config.train.threads or (torch.get_num_threads() if world.size == 1 else None),
        job=world.job,
    )
    folder = RunFolder.create(out) if out is not None else _create_numbered(corpora[0].name, config.preset)
    folder.write_config(config)
    folder.write_tokenizer(tokenizer)
    folder.write_plan(plan)
    return folder, [*(note for corpus in corpora for note in corpus.notes), *notes]


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

    It goes on by its plan as written: the clock is not asked again. `device` and `parallel` move it to another device
    or way of sharing it, and `world` may have more or fewer processes than before: only sums are rounded otherwise.
    """

    def find() -> str | None:
        folder = RunFolder.open(_resumed(path))
        if is_done(folder):
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
    data = Dataset.load(plan.data_key)
    if data is None:
        raise world.misses("the token ids of the text")
    return Trainer(folder, config, plan, data, world=world, **rest)


def refuse_beside_resume(given: Mapping[str, Any]) -> None:
    """Raise UserError where anything is asked of a resumed run: it goes on by its own plan and settings."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise UserError(
            f"a resumed run goes on by its own plan: leave {', '.join(names)} out, or train anew without --resume"
        )


def is_done(folder: RunFolder) -> bool:
    """Whether the run's training is over."""
    return any(line.get("event") == "done" for line in folder.metrics())


def _resumed(path: str | os.PathLike[str] | None) -> Path:
    return newest_run() if path is None or os.fspath(path) == "last" else Path(path)


def _length_asked(minutes: float | None, steps: int | None) -> float | None:
    """The minutes to train for; None where steps were given."""
    if minutes is not None and steps is not None:
        raise UserError(f"both --minutes {minutes:g} and --steps {steps} were given: one of them decides the length")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise UserError(f"steps is {steps!r}; choose a whole number from 1")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UserError(f"minutes is {minutes}; choose a number above 0, for example 0.5")
    return 1.0 if steps is None and minutes is None else minutes


def _tokenizer(config: Config, corpora: list[Corpus], quiet: bool) -> Tokenizer:
    """Read from files, or with a vocabulary taken from the text."""
    data = config.data
    if data.tokenizer_from is not None:
        return read_bpe(Path(data.tokenizer_from), data.end_of_document)
    texts: Iterable[str]
    if data.tokenizer == "bpe":  # learned as weights are, from the training part alone: any text can be written in it
        texts = (piece.text for piece in cut_pieces(divide(*corpora, quiet=quiet)[0]))
    else:  # the alphabet of both parts, as in the lecture: a loss on an unknown character would be infinite
        texts = [corpus.scan(quiet).alphabet for corpus in corpora]
    return train_tokenizer(data.tokenizer, texts, data.end_of_document, config.model.vocab_size, config.train.seed)


def _with_tokens(config: Config, tokenizer: Tokenizer) -> Config:
    """The config of a model for this vocabulary; UserError where it should tell documents apart and cannot."""
    if config.model.mask_documents and tokenizer.end_of_document is None:
        raise UserError(
            "mask_documents keeps documents apart by the end-of-document token, and this tokenizer has none: add "
            "--end-of-document True, or leave --mask-documents out"
        )
    token = tokenizer.end_of_document if config.model.mask_documents else None
    return config.override(vocab_size=tokenizer.vocab_size, document_token=token)


def _vocabulary_notes(config: Config, tokenizer: Tokenizer, named: bool) -> tuple[str, ...]:
    """What to say of the vocabulary's size; UserError where one was named that cannot be had."""
    data, found = config.data, tokenizer.vocab_size
    learned = data.tokenizer == "bpe" and data.tokenizer_from is None
    wanted = config.model.vocab_size or (DEFAULT_VOCABULARY if learned else found)
    if learned and found < wanted:
        return (f"the text fills {found:,} of {wanted:,} tokens: no pair is left that occurs twice in it",)
    if named and found != wanted:
        giver = f"{data.tokenizer_from} has" if data.tokenizer_from else f"the {data.tokenizer}s of this text give"
        raise UserError(
            f"vocab_size {wanted:,} was asked for, but {giver} {found:,} tokens: leave it out, or let --tokenizer bpe "
            f"learn so many"
        )
    return ()


def _create_numbered(text: str, preset: str) -> RunFolder:
    """`runs/<text>-<preset>-<n>` with the first free n."""
    safe = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "text"
    name = f"{safe}-{Path(preset).stem}"
    number = 1
    while True:
        path = RUNS / f"{name}-{number}"
        if not path.exists():
            try:
                return RunFolder.create(path)
            except UserError:
                if not path.exists():  # no other training took the number just now: it cannot be made
                    raise
        number += 1
