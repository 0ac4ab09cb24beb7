"""From options to a run folder: read the text, make the tokenizer, decide sizes and length, write the folder."""

import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nanogpt.config import DEFAULT_PRESET, Config, ModelConfig, load_preset
from nanogpt.data.tokenize import Dataset, check_length, fit_block, short_text_notes, tokenize
from nanogpt.errors import UserError, shell_quote
from nanogpt.model.gpt import Block
from nanogpt.parallel.devices import pick_precision
from nanogpt.parallel.world import ALONE, World
from nanogpt.runs.folder import RUNS, RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.text.corpus import ARCHIVES, NO_VALIDATION, Corpus, endings_of, load_corpus
from nanogpt.text.tokenizer import Tokenizer, train_tokenizer
from nanogpt.training.options import TrainOptions

if TYPE_CHECKING:
    from nanogpt.planning.memory import MemoryLimit
    from nanogpt.planning.planner import Planner
    from nanogpt.runs.run import Run

SMALL_BYTES = 1e9
"""Rough size of a training below which its memory is not estimated"""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Options with their text read: all of a run but its size and length."""

    options: TrainOptions
    settings: Mapping[str, Any]
    block: type[nn.Module]
    minutes: float | None
    """None with --steps"""
    config: Config
    wanted_block: int
    """context length before the text was read"""
    start: "Run | None"
    """run whose weights it starts from"""
    corpora: list[Corpus]
    """the text, and the validation text if there is one"""
    tokenizer: Tokenizer
    data: Dataset
    notes: list[str]
    world: World

    @property
    def named(self) -> set[str]:
        """Settings that the planner keeps: those that the user named, and those fixed by the weights it starts from."""
        given = () if self.start is None else (one.name for one in fields(ModelConfig) if one.name != "block_size")
        return {*self.settings, *given}

    def planner(self) -> "Planner":
        """Return the planner of sizes and lengths; raise UserError where no size fits the memory."""
        from nanogpt.planning.budget import Speeds
        from nanogpt.planning.planner import Planner
        from nanogpt.training.speed import measure_together

        speeds = Speeds(lambda config: measure_together(config, self.data, self.block, self.world))
        fresh = self.start is None
        return Planner(
            self.config, self.data, self.named, speeds, world=self.world, limit=self.memory_limit(), fresh=fresh
        )

    def memory_limit(self) -> "MemoryLimit | None":
        """Return the memory that each process may take; None where it is unknown."""
        from nanogpt.planning.memory import find_memory_limit

        device = self.world.device(self.config.train.device)
        return find_memory_limit(self.options.memory, device, getattr(self.world, "local_size", 1))

    def check_memory(self, config: Config) -> int | None:
        """Return the estimated peak memory in bytes; None for a small training, which fits any machine.

        Raises UserError where the training would take more memory than there is.
        """
        model, tokens = config.model, config.train.batch_size * config.model.block_size
        width = model.n_embd + model.hidden
        weights = 4 * model.n_layer * model.n_embd * width + 2 * model.vocab_size * model.n_embd
        per_token = model.n_layer * (60 * width + 4 * model.n_head * model.block_size) + 16 * model.vocab_size
        is_small = 20 * weights + tokens * per_token < SMALL_BYTES
        if is_small and self.minutes is None and self.options.memory is None:
            return None
        from nanogpt.planning.memory import check_memory, peak_bytes

        device = self.world.device(config.train.device)
        check_memory(config, self.memory_limit(), device, self.world.size, fresh=self.start is None)
        return peak_bytes(config, device, self.world.size)


def prepare(
    options: TrainOptions,
    settings: Mapping[str, Any],
    block: type[nn.Module],
    quiet: bool = False,
    world: World = ALONE,
) -> Prepared:
    """Check options and settings and read the text; mistakes are reported before anything is written."""
    options.check()
    minutes = 1.0 if options.steps is None and options.minutes is None else options.minutes
    start, config = _start_config(options, settings, block)
    world.device(config.train.device)  # raises
    if config.train.track:
        from nanogpt.reporting.trackers import check_trackers

        check_trackers(config.train.track)
    if options.out is not None and Path(options.out).exists():
        create_folder(options.out)  # raises
    if config.model.format == 1 and options.val == NO_VALIDATION:
        raise UserError("--val none is not possible with --format 1: leave one of the two out")
    held_out = [options.val] if options.val not in (None, NO_VALIDATION) else []
    texts = (options.text if options.text != () else None, *held_out)
    corpora = [load_corpus(text, config, yes=options.yes) for text in texts]
    corpora[0].has_validation = options.val != NO_VALIDATION
    pattern, sources = config.data.pattern, [source for corpus in corpora for source in corpus.sources]
    if pattern is not None and not any(Path(one).is_dir() or endings_of(Path(one))[0] in ARCHIVES for one in sources):
        raise UserError(f"--pattern {pattern} selects files of folders and archives, and no text is one: leave it out")
    notes = list[str]()
    if start is None:
        tokenizer = _make_tokenizer(config, corpora, quiet)
        notes += _vocabulary_notes(config, tokenizer, named="vocab_size" in settings)
        config = _with_tokenizer(config, tokenizer)
    else:
        from nanogpt.training.fine_tuning import fit_vocabulary

        tokenizer, notes = fit_vocabulary(start, config, corpora, quiet)
        config = config.override(vocab_size=tokenizer.vocab_size)
    if config.model.format > 1:
        tokenizer.bos = tokenizer.end_of_document if corpora[0].scan(quiet).documents > 1 else None
    wanted_block = config.model.block_size
    data = tokenize(corpora[0], tokenizer, *corpora[1:], skip_unknown=config.data.unknown == "skip", quiet=quiet)
    config = fit_block(config, data, set(settings))
    check_length(data, config.model.block_size)
    return Prepared(
        options=options,
        settings=settings,
        block=block,
        minutes=minutes,
        config=config,
        wanted_block=wanted_block,
        start=start,
        corpora=corpora,
        tokenizer=tokenizer,
        data=data,
        notes=[*(note for corpus in corpora for note in corpus.notes), *notes],  # reading a text adds its notes
        world=world,
    )


def create_run(
    options: TrainOptions,
    settings: Mapping[str, Any],
    block: type[nn.Module],
    *,
    started: float,
    quiet: bool = False,
    world: World = ALONE,
) -> tuple[RunFolder, list[str]]:
    """Make a run folder with all that training needs; return it and notes for the user."""
    ready = prepare(options, settings, block, quiet=quiet, world=world)
    config, steps, wanted_block, expected = ready.config, options.steps, ready.wanted_block, None
    if ready.minutes is not None:
        from nanogpt.planning.planner import smallest_block
        from nanogpt.training.pace import END_SECONDS

        wanted_block = smallest_block(config, ready.named)
        left = ready.minutes * 60 - END_SECONDS - (time.monotonic() - started)
        proposal = ready.planner().propose(ready.minutes, left)
        config, steps, expected = proposal.config, proposal.steps, proposal.expected
    assert steps is not None
    device = world.device(config.train.device)
    if world.size > 1:
        from nanogpt.parallel.distributed import check_divisible

        check_divisible(config.train, world.size)
    memory_bytes = ready.check_memory(config)
    nothing = config.model.format > 1 and ready.corpora[0].held_out == "nothing"
    val_source = ready.corpora[1].source if ready.corpora[1:] else NO_VALIDATION if nothing else None
    plan = Plan(
        text=ready.corpora[0].name,
        source=ready.corpora[0].source,
        val_source=val_source,
        data_key=ready.data.key,
        steps=steps,
        minutes=ready.minutes,
        memory_bytes=memory_bytes,
        expected_loss=None if expected is None else expected.loss,
        expected_low=None if expected is None else expected.low,
        expected_high=None if expected is None else expected.high,
        block=None if block is Block else block.__qualname__,
        threads=config.train.threads or (torch.get_num_threads() if world.size == 1 else None),
        precision=pick_precision(device, config.train.precision),
    )
    folder = _create_folder(options, ready.corpora[0].name, config)
    folder.write_config(config)
    folder.write_tokenizer(ready.tokenizer)
    if ready.start is not None:
        from nanogpt.training.fine_tuning import write_start

        start_hash = write_start(folder, ready.start, config.model)
        plan = replace(plan, start_from=str(ready.start.path), start_sha256=start_hash)
    if world.size > 1:
        from nanogpt.training.restarts import remember_job

        remember_job(folder, world)
    folder.write_plan(plan)
    return folder, [*ready.notes, *short_text_notes(config, ready.data, wanted_block)]


def _start_config(
    options: TrainOptions, settings: Mapping[str, Any], block: type[nn.Module]
) -> "tuple[Run | None, Config]":
    """Return the run to start from, if there is one, and the settings: its own or the preset's, then the user's."""
    if options.start_from is not None:
        from nanogpt.training.fine_tuning import open_start

        return open_start(options, settings, block)
    preset = load_preset(options.preset or DEFAULT_PRESET)
    lora = settings.get("lora", preset.train.lora)
    if lora is not None:
        raise UserError(f"--lora {lora} needs trained weights: name the run that has them with --from RUN")
    config = preset.override(**settings)
    if config.data.unknown != "error":
        raise UserError(
            f"--unknown {config.data.unknown}: a new model's vocabulary has every character of its text; leave it out, "
            f"or name a run to start from with --from RUN"
        )
    return None, config


def _make_tokenizer(config: Config, corpora: list[Corpus], quiet: bool) -> Tokenizer:
    """Read a tokenizer from files, or take its vocabulary from the text."""
    data = config.data
    texts: Iterable[str]
    if data.tokenizer_from is not None:
        from nanogpt.text.bpe import read_bpe

        return read_bpe(Path(data.tokenizer_from), data.end_of_document)
    if data.tokenizer == "bpe":  # learned like weights, from the training part only: it can write any text
        from nanogpt.text.chunks import cut_chunks

        texts = (chunk.text for chunk in cut_chunks(corpora[0].split(corpora[1] if corpora[1:] else None, quiet)[0]))
    else:  # the alphabet of both parts, as in the lecture: the loss of an unknown character would be infinite
        texts = [corpus.scan(quiet).alphabet for corpus in corpora]
    return train_tokenizer(data.tokenizer, texts, data.end_of_document, config.model.vocab_size, config.train.seed)


def _with_tokenizer(config: Config, tokenizer: Tokenizer) -> Config:
    """Return the config of a model for this vocabulary."""
    if config.model.mask_documents and tokenizer.end_of_document is None:
        raise UserError(
            "--mask-documents needs the end-of-document token, and this tokenizer has none: add --end-of-document "
            "True, or leave --mask-documents out"
        )
    token = tokenizer.end_of_document if config.model.mask_documents else None
    return config.override(vocab_size=tokenizer.vocab_size, document_token=token)


def _vocabulary_notes(config: Config, tokenizer: Tokenizer, named: bool) -> list[str]:
    """Return notes on the vocabulary's size; raise UserError if it is not the size that the user named."""
    data, found, wanted = config.data, tokenizer.vocab_size, config.model.vocab_size
    if data.tokenizer == "bpe" and data.tokenizer_from is None:
        from nanogpt.text.bpe import DEFAULT_VOCABULARY

        wanted = wanted or DEFAULT_VOCABULARY
        if found < wanted:
            return [f"the text gives {found:,} of {wanted:,} tokens: no other pair occurs twice in it"]
    if named and wanted and found != wanted:
        origin = data.tokenizer_from or f"this text with --tokenizer {data.tokenizer}"
        raise UserError(
            f"--vocab-size {wanted}: {origin} gives {found:,} tokens; leave it out, or learn them with --tokenizer bpe"
        )
    return []


def create_folder(path: str | os.PathLike[str]) -> RunFolder:
    """Make a new run folder; raise UserError where it exists: a run is never overwritten."""
    try:
        Path(path).mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{os.fspath(path)!r} already exists and is not overwritten: choose another --out, continue it with "
            f"--resume {shell_quote(path)}, or delete it"
        ) from None
    except OSError as error:
        raise UserError(f"cannot make the folder {os.fspath(path)!r}: {error.strerror}; choose another --out") from None
    return RunFolder(path)


def _create_folder(options: TrainOptions, text: str, config: Config) -> RunFolder:
    """Make the folder of --out, or `runs/<text>-<preset>-<n>` with the first free n."""
    if options.out is not None:
        return create_folder(options.out)
    safe = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "text"
    number = 1
    while True:
        path = RUNS / f"{safe}-{Path(config.preset).stem}-{number}"
        if not path.exists():
            try:
                return create_folder(path)
            except UserError:
                if not path.exists():  # else another training just took the number
                    raise
        number += 1
