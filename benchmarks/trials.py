"""Trainings by which settings are chosen; none of them sees the validation part of a text.

The last tenth of the training part, cut by the same rule as the validation part, is held out: trials learn from the
rest and are measured on that tenth. `benchmarks.sweep`, `benchmarks.ablation` and `benchmarks.tried` decide which are
run.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.record import LineFile
from nanogpt.config import DEFAULT_PRESET, PARTS, load_preset
from nanogpt.errors import UserError
from nanogpt.text.chunks import Chunk, divide_chunks
from nanogpt.text.corpus import load_corpus
from nanogpt.text.scan import scan_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nanogpt.training.trainer import Trainer

    Change = Callable[[Trainer], None]
    """Puts something into a training that no setting expresses."""

OPTIONS = ("preset", "steps")
"""What a trial names besides settings of `nanogpt.config`."""
FROM_TEXT = ("vocab_size", "document_token")
IGNORED = ("threads", "track", "log_every")
"""Settings that change weights only by floating-point rounding, or not at all: with others it is the same trial."""
QUIET: dict[str, Any] = {"sample_tokens": 0, "history": "off", "eval_tokens": 1, "final_eval_tokens": 1}
"""Evaluations only of one window at the beginning and the end, which the loop always makes."""


class HeldOut(NamedTuple):
    """A text's training part, divided into what trials learn from and what they are measured on."""

    name: str
    learn: Path
    measure: Path


def hold_out(source: str, folder: Path) -> HeldOut:
    """Write the two parts of a corpus, by name or path, below `folder`, a line of JSON for each document.

    Of `SOURCE@CHARACTERS` only the characters before the held-out part are learned from: a short text that is measured
    like the long one.
    """
    source, characters = split_source(source)
    corpus = load_corpus(source)
    train = list(corpus.split(quiet=True)[0])
    parts = [list(part) for part in divide_chunks(train, scan_chunks(train).train_characters)]
    name = corpus.name
    if characters is not None:
        available = sum(len(chunk.text) for chunk in parts[0])
        if characters > available:
            raise SystemExit(f"{source}@{characters}: only {available:,} characters to learn from; choose fewer")
        parts[0] = [list(part) for part in divide_chunks(parts[0], available - characters)][1]
        name = f"{corpus.name}@{characters}"
    (folder / name / "held-out").mkdir(parents=True)
    files = folder / name / f"{name}.jsonl", folder / name / "held-out" / f"{name}.jsonl"
    for file, chunks in zip(files, parts):
        lines = (json.dumps({"text": document}) + "\n" for document in _documents(chunks))
        file.write_text("".join(lines), encoding="utf-8")
    return HeldOut(name=name, learn=files[0], measure=files[1])


def split_source(word: str) -> tuple[str, int | None]:
    """Return a corpus, and how many of its characters are learned from; None means all.

    >>> split_source("shakespeare@200000"), split_source("texts/me@home.txt")
    (('shakespeare', 200000), ('texts/me@home.txt', None))
    """
    source, at, characters = word.rpartition("@")
    return (source, int(characters)) if at and characters.isdecimal() else (word, None)


def _documents(chunks: Iterable[Chunk]) -> Iterator[str]:
    parts: list[str] = []
    for chunk in chunks:
        if chunk.begins and parts:
            yield "".join(parts)
            parts = []
        parts.append(chunk.text)
    if parts:
        yield "".join(parts)


def resolve(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting that a trial depends on besides its text, the preset's included.

    Raises UserError for settings that do not exist or contradict each other.

    >>> resolve({"steps": 20, "n_layer": 2})["n_layer"]
    2
    """
    settings = {name: value for name, value in named.items() if name not in OPTIONS}
    preset = named.get("preset", DEFAULT_PRESET)
    config = load_preset(preset).override(**QUIET | settings)
    found: dict[str, Any] = {"preset": preset, "steps": named["steps"]}
    for part in PARTS:
        found |= asdict(getattr(config, part))
    return {name: value for name, value in found.items() if name not in FROM_TEXT + IGNORED}


def new_trainer(text: str, **options: Any) -> "Trainer":
    """Return the trainer of a new run; options as for `nanogpt.train`."""
    from nanogpt.training.options import split_options, start_training

    trainer = start_training(*split_options(text, options), quiet=True)
    assert trainer is not None, "the run is new"
    return trainer


def open_trial(text: HeldOut, named: Mapping[str, Any], folder: Path, change: "Change | None" = None) -> "Trainer":
    """Return a trainer on the first part, with the change made."""
    options: dict[str, Any] = QUIET | {"eval_every": named["steps"], "log_every": named["steps"]} | dict(named)
    trainer = new_trainer(str(text.learn), val=str(text.measure), out=folder, **options)
    if change is not None:
        change(trainer)
    return trainer


def run_trial(
    text: HeldOut,
    named: Mapping[str, Any],
    measure_tokens: int | None = None,
    stretches: int = 0,
    change: "Change | None" = None,
) -> dict[str, Any]:
    """Train on the first part; return the last weights' loss on the second, whole-split unless `measure_tokens` says.

    A training that diverges has no loss, but the reason. With `stretches` the row has nats and tokens of that many
    stretches of the measured text, of about equal length.
    """
    from nanogpt.evaluation.loss import measure_windows
    from nanogpt.reporting.events import CheckpointEvent

    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        trainer = open_trial(text, named, Path(folder) / "run", change)
        row = {
            "text": text.name,
            "loss": None,
            "seconds": None,
            "parameters": trainer.model.parameter_count,
            "tokens": trainer.plan.total_steps * trainer.config.tokens_per_step,
            "train_tokens": len(trainer.data.train),
        }
        try:
            for event in trainer.events():
                # Afterwards the model has its best weights, by the one window that it is evaluated on.
                if isinstance(event, CheckpointEvent) and event.step == trainer.plan.total_steps:
                    windows = measure_windows(trainer.model, trainer.data.val, trainer.tokenizer, measure_tokens)
        except UserError as error:  # settings and text were accepted, so the training itself failed
            return row | {"diverged": str(error).split(";")[0]}
        found = asdict(windows.evaluation())
        found["measured_tokens"] = found.pop("tokens")
        if stretches:
            found["stretches"] = [stretch_sums(numbers, stretches) for numbers in (windows.nats, windows.tokens)]
        return row | {"seconds": round(trainer.state.seconds, 3)} | found


def stretch_sums(numbers: "NDArray[Any]", count: int) -> list[float]:
    """Return the sums of `count` runs of consecutive windows, as equal in length as possible."""
    import numpy as np

    return [round(float(part.sum()), 3) for part in np.array_split(numbers, min(count, len(numbers)))]


class TrialFile(LineFile):
    """Trials, with what each named and every setting that it had."""

    def has(self, text: str, named: Mapping[str, Any]) -> bool:
        """Return whether this trial was run, with every setting as recorded, whatever the defaults were and are.

        A setting that the library did not have at the time only counts if it is named.
        """
        wanted = resolve(named)
        asked = [name for name in named if name not in IGNORED]
        return any(
            row["text"] == text
            and all(name in row["settings"] for name in asked)
            and all(wanted.get(name) == value for name, value in row["settings"].items())
            for row in self.rows()
        )
