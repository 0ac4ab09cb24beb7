"""What a loss looks like: samples of one training, taken as its whole-split loss passes each of some levels.

    python -m benchmarks.losses
    python -m benchmarks.losses --steps 30 --trial

One model of the preset `modern` learns Tiny Shakespeare. Before the first step, and as soon as an evaluation finds the
loss at or below a level, it writes with temperature 1, from an empty prompt: the first text is shown in
docs/losses.md, and over all of them the words are counted that occur in the training part.
"""

import argparse
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import circumstances, write_record
from nanogpt.parallel.process import prepare_process

if TYPE_CHECKING:
    from nanogpt.training.trainer import Trainer

LEVELS = (2.5, 2.0, 1.7, 1.5)
SETTINGS: dict[str, Any] = {
    **{"n_layer": 5, "n_head": 6, "n_embd": 192, "block_size": 256, "batch_size": 8},
    **{"eval_every": 10, "eval_tokens": 16_384, "sample_tokens": 0, "history": "off"},
}
STEPS = 1300
SAMPLES, TOKENS, TEMPERATURE = 8, 500, 1.0
NEAR = 0.05
"""So far above a level an evaluation of some windows is followed by one of all."""


def main() -> None:
    """Train, take the samples, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--trial", action="store_true", help="measure, but record nothing")
    options = parser.parse_args()
    prepare_process()
    measured_in = circumstances()
    with tempfile.TemporaryDirectory(prefix="losses-") as folder:
        rows = []
        for row in measure(options.text, options.steps, LEVELS, Path(folder), SETTINGS):
            rows.append(row)
            print(f"\n--- {row['loss']:.3f} at step {row['step']:,}\n{row['sample']}", flush=True)
    missed = LEVELS[len(rows) - 1 :]
    if missed:
        print(f"the loss never passed {', '.join(map(str, missed))}: train longer, with --steps")
    if options.trial or missed:
        print("nothing is recorded")
        return
    result = {"text": options.text, "steps": options.steps, "settings": SETTINGS, "temperature": TEMPERATURE}
    result |= {"characters": SAMPLES * TOKENS, "rows": rows}
    print(f"wrote {write_record('losses', measured_in, result)}")


def measure(
    text: str, steps: int, levels: Iterable[float], folder: Path, settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """One training: a row for its beginning, and one for each level that its loss passes."""
    from nanogpt.reporting.events import EvalEvent
    from nanogpt.text.corpus import load_corpus
    from nanogpt.training.launch import start_run

    trainer = start_run(text, steps=steps, out=folder / "run", quiet=True, **settings)
    whole = "".join(chunk.text for chunk in load_corpus(text).chunks())
    known = set(words(whole[: len(whole) - len(whole) // 10]))
    left: list[float | None] = [None, *levels]
    for event in trainer.events():
        if not isinstance(event, EvalEvent) or not left:
            continue
        level = left[0]
        if level is not None and event.evaluation.loss > level + NEAR:
            continue
        row = _row(trainer, event.step, level, known)
        if level is None or row["loss"] <= level:
            left.pop(0)
            yield row


def _row(trainer: "Trainer", step: int, level: float | None, known: set[str]) -> dict[str, Any]:
    """The model as it is now: its whole-split loss, and what it writes."""
    from nanogpt.config import SampleConfig
    from nanogpt.evaluation.loss import evaluate
    from nanogpt.sampling.generate import generate_text

    evaluation = evaluate(trainer.model, trainer.data.val, trainer.tokenizer)
    config = SampleConfig(tokens=TOKENS, samples=SAMPLES, temperature=TEMPERATURE)
    texts = generate_text(trainer.model, trainer.tokenizer, "", config)
    return {
        "level": level,
        "step": step,
        "loss": evaluation.loss,
        "protocol": evaluation.protocol,
        "known_words": known_share(texts, known),
        "sample": texts[0],
    }


def words(text: str) -> list[str]:
    """The words of a text in small letters, an apostrophe inside a word being part of it.

    >>> words("O, 'tis he! What's\\nthat?")
    ['o', 'tis', 'he', "what's", 'that']
    """
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def known_share(texts: Iterable[str], known: set[str]) -> float:
    """The share of the texts' words that are known; the last word of each, which may be cut off, is left out.

    >>> known_share(["the king is ded ki", "of the ki"], {"the", "king", "is", "of"})
    0.8333333333333334
    """
    found = [word for text in texts for word in words(text)[:-1]]
    return sum(word in known for word in found) / max(len(found), 1)


if __name__ == "__main__":
    main()
