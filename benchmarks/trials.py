"""Trainings that settings are chosen by, none of which sees the validation part of a text.

The validation part is cut off as `nanogpt.text.corpus.Corpus.split` does, and thrown away. Of the training part that is left the
last tenth, cut by the same rule, is held out: trials learn from the rest and are measured there. Both parts keep their
documents. Here is one trial and the file that trials are kept in; which are run, and what is made of them, is in
`benchmarks.sweep` and `benchmarks.ablation`.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import LineFile
from nanogpt.config import DEFAULT_PRESET, PARTS, load_preset
from nanogpt.errors import UserError
from nanogpt.text.chunks import Chunk, divide_chunks
from nanogpt.text.corpus import load_corpus
from nanogpt.text.scan import scan_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nanogpt.training.trainer import Trainer

ARGUMENTS = ("preset", "steps")
"""What a trial names besides settings of `nanogpt.config`."""
FROM_TEXT = ("vocab_size", "document_token")
MEANINGLESS = ("threads", "track", "log_every")
"""Settings that change no weight but by rounding: they make no other trial."""
QUIET: dict[str, Any] = {"sample_tokens": 0, "history": "off", "eval_tokens": 1, "final_eval_tokens": 1}
"""No evaluations but of one window at the beginning and the end, which the loop insists on."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A text's training part in two: what is learned from, and what is measured."""

    name: str
    learn: Path
    measure: Path


def hold_out(source: str, folder: Path) -> HeldOut:
    """Write the two parts of a corpus, by name or path, below `folder`, a line of JSON for each document.

    Of `SOURCE@CHARACTERS` only so many characters are learned from, those before the held-out part: a short text,
    measured as the long one.
    """
    source, characters = split_source(source)
    corpus = load_corpus(source)
    train = list(corpus.split(quiet=True)[0])
    parts = [list(part) for part in divide_chunks(train, scan_chunks(train).train_characters)]
    if characters is not None:
        there = sum(len(chunk.text) for chunk in parts[0])
        if characters > there:
            raise SystemExit(f"{source}@{characters}: only {there:,} characters are there to learn from; name fewer")
        parts[0] = [list(part) for part in divide_chunks(parts[0], there - characters)][1]
    name = corpus.name if characters is None else f"{corpus.name}@{characters}"
    place = folder / name
    (place / "held-out").mkdir(parents=True)
    files = place / f"{name}.jsonl", place / "held-out" / f"{name}.jsonl"
    for file, chunks in zip(files, parts):
        with file.open("w", encoding="utf-8") as lines:
            for document in _documents(chunks):
                lines.write(json.dumps({"text": document}) + "\n")
    return HeldOut(name=name, learn=files[0], measure=files[1])


def split_source(word: str) -> tuple[str, int | None]:
    """A corpus, and how many of its characters are learned from; all of them when not given.

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
    """Everything that decides a trial besides its text: each setting by name, with what the preset gives the rest.

    Raises UserError for settings that do not exist or do not fit each other.

    >>> resolve({"steps": 20, "n_layer": 2})["n_layer"]
    2
    """
    settings = {name: value for name, value in named.items() if name not in ARGUMENTS}
    preset = named.get("preset", DEFAULT_PRESET)
    config = load_preset(preset).override(**QUIET | settings)
    found: dict[str, Any] = {"preset": preset, "steps": named["steps"]}
    for part in PARTS:
        found |= asdict(getattr(config, part))
    return {name: value for name, value in found.items() if name not in FROM_TEXT + MEANINGLESS}


def open_trial(
    text: HeldOut, named: Mapping[str, Any], place: Path, change: "Callable[[Trainer], None] | None" = None
) -> "Trainer":
    """A training on the one part, ready for its events; `change` may put into it what no setting says."""
    from nanogpt.training.launch import start_run

    arguments: dict[str, Any] = QUIET | {"eval_every": named["steps"], "log_every": named["steps"]} | dict(named)
    trainer = start_run(str(text.learn), val=str(text.measure), out=place, quiet=True, **arguments)
    if change is not None:
        change(trainer)
    return trainer


def run_trial(
    text: HeldOut,
    named: Mapping[str, Any],
    measure_tokens: int | None = None,
    stretches: int = 0,
    change: "Callable[[Trainer], None] | None" = None,
) -> dict[str, Any]:
    """Train on the one part, measure the last weights on the other; whole-split unless `measure_tokens` limits it.

    A training that diverges has no loss, and says what happened. With `stretches` the nats and the tokens of so many
    stretches of the measured text, of about the same length, are told too.
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
            "tokens": trainer.plan.total_steps * trainer.stepper.tokens_per_step,
            "train_tokens": len(trainer.data.train),
        }
        try:
            for event in trainer.events():
                # Afterwards the model has its best weights, by the one window that it is evaluated on.
                if isinstance(event, CheckpointEvent) and event.step == trainer.plan.total_steps:
                    windows = measure_windows(trainer.model, trainer.data.val, trainer.tokenizer, measure_tokens)
        except UserError as error:  # settings and text were accepted: what is left to go wrong is the training
            return row | {"diverged": str(error).split(";")[0]}
        found = asdict(windows.evaluation())
        found["measured_tokens"] = found.pop("tokens")
        if stretches:
            found["stretches"] = [in_stretches(values, stretches) for values in (windows.nats, windows.tokens)]
        return row | {"seconds": round(trainer.state.seconds, 3)} | found


def in_stretches(values: "NDArray[Any]", count: int) -> list[float]:
    """Sums of so many runs of consecutive windows, as equal in length as can be.

    >>> import numpy as np
    >>> in_stretches(np.array([1, 2, 3, 4, 5]), 2)
    [6.0, 9.0]
    """
    import numpy as np

    return [round(float(part.sum()), 3) for part in np.array_split(values, min(count, len(values)))]


class TrialFile(LineFile):
    """Trials, with what each named and every setting that it had."""

    def has(self, text: str, named: Mapping[str, Any]) -> bool:
        """Whether this trial was run: with every setting as recorded, whatever was its default then and is now.

        A setting that the library did not have when the trial was recorded makes no difference unless it is named.
        """
        wanted = resolve(named)
        asked = [name for name in named if name not in MEANINGLESS]
        return any(
            row["text"] == text
            and all(name in row["settings"] for name in asked)
            and all(wanted.get(name) == value for name, value in row["settings"].items())
            for row in self.rows()
        )
