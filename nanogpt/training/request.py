"""What is asked of a new run, and the folder that is made of it: text, tokenizer, settings and plan."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from nanogpt.config import DEFAULT_PRESET, Config, ModelConfig, check_positive, load_preset
from nanogpt.data.dataset import Dataset, check_length, divide, prepare
from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.model.lora import check_lora
from nanogpt.parallel.devices import pick_precision
from nanogpt.parallel.sharding import check_divisible
from nanogpt.parallel.world import World
from nanogpt.planning.forecast import Expected
from nanogpt.planning.memory import MemoryLimit, check_memory, find_memory_limit, peak_bytes
from nanogpt.planning.planner import Planner, smallest_block
from nanogpt.planning.speed import Speeds
from nanogpt.reporting.trackers import check_trackers
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan, block_name
from nanogpt.runs.run import RUNS, Run, load, open_corpus
from nanogpt.text.bpe import DEFAULT_VOCABULARY
from nanogpt.text.bpe_files import read_bpe
from nanogpt.text.corpus import Corpus, Sources
from nanogpt.text.pieces import cut_pieces
from nanogpt.text.short_texts import fit_block, short_text_notes
from nanogpt.text.tokenizer import Tokenizer, train_tokenizer
from nanogpt.training.fine_tuning import begin_with, check_alphabet, first_weights
from nanogpt.training.pace import END_SECONDS
from nanogpt.training.speed import measure_together


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `nanogpt.train` is asked for."""

    text: Sources = None
    """what to train on; the default corpus when not given"""
    minutes: float | None = None
    """time to train for; one, where no steps are given either"""
    steps: int | None = None
    """updates to train for"""
    memory: float | None = None
    """gigabytes that the training may take; what is free, where none are given"""
    preset: str | None = None
    """name or file of the settings to begin with"""
    out: str | os.PathLike[str] | None = None
    """the run's folder; the next free one below `runs` when not given"""
    val: Sources = None
    """a text to validate on, instead of the last tenth"""
    start_from: str | os.PathLike[str] | None = None
    """the run whose weights it begins with"""
    block: type[torch.nn.Module] = Block
    """the class of the blocks"""
    settings: dict[str, Any] = field(default_factory=dict)
    """fields of the config that were named, and win over the preset"""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request whose text was read: all of a run but its size and length."""

    request: Request
    minutes: float | None
    """None where steps were asked for"""
    config: Config
    asked_block: int
    """the context's length before the text was looked at"""
    start: Run | None
    """whose weights it begins with"""
    corpora: list[Corpus]
    tokenizer: Tokenizer
    data: Dataset
    limit: MemoryLimit | None
    """None where free memory is not known"""
    notes: list[str]
    """of the text and its vocabulary"""
    world: World

    def planner(self) -> Planner:
        """Chooses what to train. Raises UserError where nothing fits the memory."""
        speeds = Speeds(lambda config: measure_together(config, self.data, self.request.block, self.world))
        fresh = self.start is None
        return Planner(self.config, self.data, self.named, speeds, world=self.world, limit=self.limit, fresh=fresh)

    @property
    def named(self) -> set[str]:
        """Settings that are not the planner's to choose: those that were named, and what given weights decide."""
        given = () if self.start is None else (one.name for one in fields(ModelConfig) if one.name != "block_size")
        return {*self.request.settings, *given}


def prepare_request(request: Request, quiet: bool, world: World) -> Prepared:
    """Check what was asked for, and read the text; what cannot be had is said before anything is written."""
    check_positive(request, "memory")
    minutes, named = length_asked(request.minutes, request.steps), request.settings.keys()
    start = _open_start(request)
    config = begin_with(start, request.settings) if start else _from_preset(request)
    if start is not None and config.train.lora is not None:
        check_lora(name for name, _ in start.model.named_parameters())
    device = world.device(config.train.device)
    check_trackers(config.train.track)
    if request.out is not None and Path(request.out).exists():
        RunFolder.create(request.out)  # raises, for the same reason
    texts = [request.text] + ([request.val] if request.val is not None else [])
    corpora = [open_corpus(one, config.data) for one in texts]
    _check_pattern(config.data.pattern, corpora)
    notes: tuple[str, ...] = ()
    if start is None:
        tokenizer = _tokenizer(config, corpora, quiet)
        notes = _vocabulary_notes(config, tokenizer, named="vocab_size" in named)
        config = _with_tokens(config, tokenizer)
    else:
        tokenizer = start.tokenizer
        check_alphabet(tokenizer, corpora, start.path, quiet)
    asked_block = config.model.block_size
    data = prepare(corpora[0], tokenizer, *corpora[1:], quiet=quiet)
    config = fit_block(config, data, named)
    check_length(data, config.model.block_size)
    return Prepared(
        request=request,
        minutes=minutes,
        config=config,
        asked_block=asked_block,
        start=start,
        corpora=corpora,
        tokenizer=tokenizer,
        data=data,
        limit=find_memory_limit(request.memory, device, world.processes_per_machine),
        notes=[*(note for corpus in corpora for note in corpus.notes), *notes],
        world=world,
    )


def make_run(request: Request, started: float, quiet: bool, world: World) -> tuple[RunFolder, list[str]]:
    """A new run's folder, with all that a training needs, and notes for the user. `started` is when the time began."""
    ready = prepare_request(request, quiet, world)
    config, data, minutes, steps = ready.config, ready.data, ready.minutes, request.steps
    expected: Expected | None = None
    wanted_block = ready.asked_block
    if minutes is not None:
        wanted_block = smallest_block(config, ready.named)
        proposal = ready.planner().propose(minutes, minutes * 60 - END_SECONDS - (time.monotonic() - started))
        config, steps, expected = proposal.config, proposal.steps, proposal.expected
    assert steps is not None
    check_divisible(config.train, world.size)
    device = world.device(config.train.device)
    check_memory(config, ready.limit, device, world.size, fresh=ready.start is None)
    plan = Plan(
        text=ready.corpora[0].name,
        source=ready.corpora[0].source,
        val_source=None if request.val is None else ready.corpora[1].source,
        data_key=data.key,
        steps=steps,
        minutes=minutes,
        memory_bytes=peak_bytes(config, device, world.size),
        expected_loss=None if expected is None else expected.loss,
        expected_low=None if expected is None else expected.low,
        expected_high=None if expected is None else expected.high,
        block=block_name(request.block),
        threads=config.train.threads or (torch.get_num_threads() if world.size == 1 else None),
        precision=pick_precision(device, config.train.precision),
        job=world.job,
    )
    folder = _create_folder(request, ready.corpora[0].name, config)
    folder.write_config(config)
    folder.write_tokenizer(ready.tokenizer)
    if ready.start is not None:
        start_hash = folder.write_start(first_weights(ready.start, config.model.block_size))
        plan = replace(plan, start_from=str(ready.start.path), start_sha256=start_hash)
    folder.write_plan(plan)
    return folder, [*ready.notes, *short_text_notes(config, data, wanted_block)]


def length_asked(minutes: float | None, steps: int | None) -> float | None:
    """The minutes to train for; None where steps were given."""
    if minutes is not None and steps is not None:
        raise UserError(f"both --minutes {minutes:g} and --steps {steps} were given: leave one of them out")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise UserError(f"steps is {steps!r}; choose a whole number from 1")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise UserError(f"minutes is {minutes}; choose a number above 0, for example 0.5")
    return 1.0 if steps is None and minutes is None else minutes


def _from_preset(request: Request) -> Config:
    preset = load_preset(request.preset or DEFAULT_PRESET)
    lora = request.settings.get("lora", preset.train.lora)
    if lora is not None:
        raise UserError(
            f"lora {lora} learns beside trained weights: name the run that has them by --from RUN, or leave it out"
        )
    return preset.override(**request.settings)


def _open_start(request: Request) -> Run | None:
    """The run whose weights are taken; None where a model begins from nothing."""
    if request.start_from is None:
        return None
    if request.preset is not None:
        raise UserError(
            f"preset {request.preset!r} is for a model that begins from nothing, and this one from "
            f"{os.fspath(request.start_from)!r}, with its settings: leave one of the two out"
        )
    return load(request.start_from, device="cpu", block=request.block)


def _check_pattern(pattern: str | None, corpora: list[Corpus]) -> None:
    """Raise UserError where there is no folder that a pattern could choose files of."""
    sources = [one for corpus in corpora for one in corpus.sources]
    if pattern is not None and not any(Path(one).is_dir() for one in sources):
        raise UserError(f"pattern {pattern!r} chooses files of a folder, and no text here is one: leave it out")


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


def _create_folder(request: Request, text: str, config: Config) -> RunFolder:
    """The folder that was asked for, or `runs/<text>-<preset>-<n>` with the first free n."""
    if request.out is not None:
        return RunFolder.create(request.out)
    safe = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "text"
    name = f"{safe}-{Path(config.preset).stem}"
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
