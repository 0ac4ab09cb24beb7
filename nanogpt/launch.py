"""From a request to a training: find the text, settle the config, plan, make the run's folder; or resume one."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from nanogpt.bpe import DEFAULT_VOCABULARY
from nanogpt.bpe_files import read_bpe
from nanogpt.config import DEFAULT_PRESET, Config, load_preset
from nanogpt.corpus import Corpus, Sources
from nanogpt.data import check_length, divide, prepare
from nanogpt.device import pick_device
from nanogpt.errors import UserError
from nanogpt.events import StopEvent
from nanogpt.folder import RunFolder
from nanogpt.interrupt import Interrupt
from nanogpt.model import Block
from nanogpt.pieces import cut_pieces
from nanogpt.plan import Plan, block_name
from nanogpt.planning import END_SECONDS, Pace, choose_size, fit_block, short_text_notes, smallest_block
from nanogpt.progress import show_training
from nanogpt.run import RUNS, Run, load, newest_run, open_corpus, open_data
from nanogpt.tokenizer import Tokenizer, train_tokenizer
from nanogpt.tracking import check_trackers
from nanogpt.training import Trainer

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
    settings but `device`. `block` is a class of blocks of one's own. Progress goes to standard error.

    Raises UserError for whatever the caller can mend, and KeyboardInterrupt on Ctrl-C, after the run was saved.

    >>> run = nanogpt.train("tale.txt", steps=3, n_layer=2, n_embd=32, block_size=16, progress=False)
    >>> run.path.as_posix(), run.step
    ('runs/tale-modern-1', 3)
    """
    started = time.monotonic()
    interrupt = Interrupt()
    if resume is not None:
        beside = {"text": text, "minutes": minutes, "steps": steps, "preset": preset, "out": out, "val": val}
        device = settings.pop("device", None)
        refuse_beside_resume(beside | settings)
        trainer = resume_run(resume, block=block, device=device, should_stop=interrupt)
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
            **settings,
        )
    if trainer is None:
        return load(_resumed(resume), block=block)
    with interrupt:
        for event in show_training(trainer, quiet=not progress):
            if isinstance(event, StopEvent):
                path = str(trainer.folder.path)
                raise KeyboardInterrupt(f"stopped at step {event.step:,}; go on with nanogpt.train(resume={path!r})")
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
    **settings: Any,
) -> Trainer:
    """A new run, its folder made and its plan written, ready for its `events`. `started` is when the time began.

    Reading a long text is shown on standard error unless `quiet`.
    """
    started = time.monotonic() if started is None else started
    minutes = _length_asked(minutes, steps)
    config = load_preset(preset or DEFAULT_PRESET).override(**settings)
    pick_device(config.train.device)  # what cannot be had is said before anything is written
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
        config, steps = choose_size(config, data, seconds, settings.keys(), block)
    assert steps is not None
    notes += short_text_notes(config, data, wanted_block)
    plan = Plan(
        text=corpora[0].name,
        source=corpora[0].source,
        val_source=None if val is None else corpora[1].source,
        data_key=data.key,
        steps=steps,
        minutes=minutes,
        block=block_name(block),
        threads=config.train.threads or torch.get_num_threads(),
    )
    folder = RunFolder.create(out) if out is not None else _create_numbered(corpora[0].name, config.preset)
    folder.write_config(config)
    folder.write_tokenizer(tokenizer)
    folder.write_plan(plan)
    return Trainer(
        folder,
        config,
        plan,
        data,
        block=block,
        notes=(*(note for corpus in corpora for note in corpus.notes), *notes),
        should_stop=should_stop,
        new_length=Pace(started, minutes) if minutes is not None else lambda trainer: None,
    )


def resume_run(
    path: str | os.PathLike[str],
    *,
    block: type[torch.nn.Module] = Block,
    device: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trainer | None:
    """An interrupted run (`last` is the newest), ready to go on from its last checkpoint; None where it is done.

    It goes on by its plan as written: the clock is not asked again. `device` moves it to another device, where sums
    are rounded otherwise.
    """
    folder = RunFolder.open(_resumed(path))
    if is_done(folder):
        return None
    plan = folder.read_plan()
    plan.check_block(block)
    folder.check_vocabulary()
    config = folder.read_config()
    if device is not None:
        config = config.override(device=device)
    check_trackers(config.train.track)
    trainer = Trainer(folder, config, plan, open_data(folder), block=block, should_stop=should_stop)
    trainer.restore()
    return trainer


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
