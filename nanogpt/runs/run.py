"""A trained model, opened from its run folder: generate, stream, evaluate."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import torch

from nanogpt.config import Config, DataConfig, SampleConfig
from nanogpt.text.corpus import Corpus, Sources, load_corpus
from nanogpt.data.dataset import Dataset, TokenIds, encode_corpus, prepare
from nanogpt.parallel.devices import pick_device
from nanogpt.errors import UserError, nearest
from nanogpt.evaluation.loss import Evaluation, evaluate
from nanogpt.files import check_plain, typed
from nanogpt.runs.folder import RunFolder
from nanogpt.model.gpt import GPT, Block
from nanogpt.runs.plan import Plan
from nanogpt.sampling.generate import generate_text, stream_text
from nanogpt.runs.starter import PLACE, STARTER, told_instead
from nanogpt.runs.weights import load_model
from nanogpt.text.tokenizer import Tokenizer

RUNS = Path("runs")
"""Where runs are kept, below the working folder."""
SERIES_FILE = "seeds.toml"
"""Marks a folder whose runs differ in their seed (`nanogpt.training.seeds`)."""

Unknown = Literal["error", "skip"]


class Run:
    """A run's model and all that it needs to be used. Made by `nanogpt.load` and `nanogpt.train`."""

    def __init__(self, folder: RunFolder, model: GPT, step: int, notes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.config: Config = folder.read_config()
        self.plan: Plan = folder.read_plan()
        self.tokenizer: Tokenizer = folder.read_tokenizer()
        self.model = model
        self.step = step
        """the step of the checkpoint that was loaded"""
        self.notes = notes
        """what a person should know about how it was opened"""

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def name(self) -> str:
        """What to call it: its path, or `starter`."""
        return self.folder.name

    def generate(
        self, prompt: str = "", unknown: Unknown = "error", *, config: SampleConfig | None = None, **settings: Any
    ) -> str:
        """A text that begins with the prompt. Give a `SampleConfig`, or its fields by name.

        Raises UserError for a character that the model never saw, and for settings out of range.

        >>> run = nanogpt.load(folder)
        >>> text = run.generate("the c", tokens=7, temperature=0.5)
        >>> text.startswith("the c"), len(text)
        (True, 12)
        """
        return prompt + "".join(self.stream(prompt, unknown, config=config, **settings))

    def generate_batch(
        self,
        prompt: str | Sequence[str] = "",
        unknown: Unknown = "error",
        *,
        config: SampleConfig | None = None,
        **settings: Any,
    ) -> list[str]:
        """As `generate`, several texts at once: `samples=3` gives three of each prompt, those of the first one first.

        Each is the text that it would be alone.

        >>> len(nanogpt.load(folder).generate_batch("the", tokens=5, samples=3))
        3
        >>> nanogpt.load(folder).generate_batch(["the", "a cat"], tokens=5)[1][:5]
        'a cat'
        """
        config = _sample_config(config, settings)
        beginnings = [one for one in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(config.samples)]
        texts = generate_text(self.model, self.tokenizer, prompt, config, unknown)
        return [beginning + text for beginning, text in zip(beginnings, texts)]

    def stream(
        self, prompt: str = "", unknown: Unknown = "error", *, config: SampleConfig | None = None, **settings: Any
    ) -> Iterator[str]:
        """The continuation of the prompt, piece by piece as it comes.

        >>> len("".join(nanogpt.load(folder).stream("the", tokens=5)))
        5
        """
        config = _sample_config(config, settings)
        if config.samples != 1:
            raise UserError(f"samples is {config.samples}; for several texts at once call generate_batch")
        for pieces in stream_text(self.model, self.tokenizer, prompt, config, unknown):
            if pieces[0]:
                yield pieces[0]

    def evaluate(self, text: Sources = None, unknown: Unknown = "error") -> Evaluation:
        """The loss on the run's own validation part, or on the whole of another corpus; whole-split protocol.

        >>> evaluation = nanogpt.load(folder).evaluate()
        >>> 0 < evaluation.loss < 4, evaluation.tokens
        (True, 199)
        """
        return evaluate(self.model, self.text_ids(text, unknown), self.tokenizer)

    def data(self) -> Dataset:
        """Token ids of the run's training and validation part; UserError where its text is gone or has changed."""
        return open_data(self.folder)

    def text_ids(self, text: Sources = None, unknown: Unknown = "error") -> TokenIds:
        """Token ids (T,) of the run's own validation part, or of the whole of another corpus."""
        if text is None:
            return self.data().val
        return encode_corpus(open_corpus(text, self.config.data), self.tokenizer, unknown)


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    checkpoint: str | int = "best",
    device: str = "auto",
    block: type[torch.nn.Module] = Block,
) -> Run:
    """Open a run: its `best` checkpoint by validation loss, its `last`, or a step of its history by number.

    With no path, the newest run below `runs`; with `starter` the small model that comes with the package. `block` is
    the class of the blocks, where the model was trained with one of one's own. A damaged checkpoint is told in the
    run's `notes`, and the newest one that is whole is opened.
    Raises UserError where there is no run, or where its files are damaged or do not match each other.

    >>> run = nanogpt.load(folder)
    >>> run.config.model.n_layer, nanogpt.load(folder, checkpoint=8).step
    (2, 8)
    """
    folder = RunFolder.open(newest_run() if path is None else path)
    plan, config = folder.read_plan(), folder.read_config()
    plan.check_block(block)
    folder.check_vocabulary()
    file, step, notes = _choose(folder, checkpoint)
    model = load_model(config.model, file, block, folder.checked_start(plan))
    model.to(pick_device(device)).eval()
    return Run(folder, model, step, notes)


def _choose(folder: RunFolder, which: str | int) -> tuple[Path, int, tuple[str, ...]]:
    """The file of the weights that are meant, their step, and what is to be told."""
    if which in ("best", "last"):
        found = folder.checkpoints.find(str(which))
        if found is None:
            raise UserError(
                f"{str(folder.path)!r} has no checkpoint yet: its training has just begun; "
                f"go on with it by --resume {typed(folder.path)}"
            )
        return found.model, found.state.step, found.notes
    history, which = folder.checkpoints.history(), str(which).removeprefix("step-")
    if not str(which).isdecimal() or int(which) not in history:
        known = ", ".join(["best", "last", *map(str, history)])
        raise UserError(f"{str(folder.path)!r} has no weights of {which!r}; choose one of {known}")
    check_plain(history[int(which)], within=folder.path)
    return history[int(which)], int(which), ()


def list_runs(parent: Path = RUNS) -> list[RunFolder]:
    """The runs below a folder, also those of a series of seeds, the one trained last at the end."""
    if not parent.is_dir():
        return []
    series = [path.parent for path in parent.glob(f"*/{SERIES_FILE}")]
    found = [RunFolder(path.parent) for one in (parent, *series) for path in one.glob("*/plan.toml") if path.is_file()]
    return sorted(found, key=_last_change)


def newest_run(parent: Path = RUNS) -> Path:
    """The run that was trained last; UserError where there is none."""
    runs = list_runs(parent)
    if not runs:
        raise UserError(
            f"no run below {str(parent)!r}: train one with `nanogpt train`, or name a run folder, or {STARTER!r}, the "
            f"small model that comes with Nano-GPT"
        )
    return runs[-1].path


def newest_or_starter(parent: Path = RUNS) -> tuple[Path, tuple[str, ...]]:
    """The run that was trained last; where there is none the starter, and that this is to be told."""
    runs = list_runs(parent)
    return (runs[-1].path, ()) if runs else (PLACE, (told_instead(parent),))


def open_corpus(text: Sources, config: DataConfig) -> Corpus:
    """A text, read as a run's settings say."""
    return load_corpus(text, config.encoding, pattern=config.pattern, column=config.column)


def open_data(folder: RunFolder) -> Dataset:
    """The token ids that a run was trained on: from the cache, else made again from its text.

    Raises UserError where the text is gone or has changed, or where there never was one.
    """
    plan, config = folder.read_plan(), folder.read_config()
    if plan.data_key is None:
        raise UserError(
            f"{str(folder.path)!r} was imported and has no text of its own: name one (`nanogpt eval --text`), or train "
            f"a new run from it by `nanogpt train TEXT --from {typed(folder.path)}`"
        )
    found = Dataset.load(plan.data_key)
    if found is not None:
        return found
    sources = [one for one in (plan.source, plan.val_source) if one is not None]
    if any(one == "-" or (isinstance(one, tuple) and "-" in one) for one in sources):
        raise UserError(
            f"the text of {str(folder.path)!r} came from standard input or from memory, and is no longer in the cache: "
            f"name one (`nanogpt eval --text`), or train a new run from it by `nanogpt train TEXT --from "
            f"{typed(folder.path)}`"
        )
    corpora = [open_corpus(one, config.data) for one in sources]
    for corpus in corpora:
        corpus.scan()  # what cannot be read says so itself
    try:
        data = prepare(corpora[0], folder.read_tokenizer(), *corpora[1:])
    except UserError:
        data = None  # a character that the tokenizer has not: another text
    if data is None or data.key != plan.data_key:
        raise UserError(f"the text {plan.source!r} has changed since the run {str(folder.path)!r} began: restore it")
    return data


def _last_change(folder: RunFolder) -> float:
    for name in ("checkpoints/last", "plan.toml"):
        with contextlib.suppress(OSError):  # it has no checkpoint yet, or is being deleted
            return (folder.path / name).stat().st_mtime
    return 0.0


def _sample_config(config: SampleConfig | None, settings: dict[str, Any]) -> SampleConfig:
    known = [field.name for field in fields(SampleConfig)]
    for name in settings:
        if name not in known:
            raise UserError(f"unknown setting {name!r}; {nearest(name, known)}")
    return replace(config or SampleConfig(), **settings)
