"""What a loss looks like: samples of one training, taken as its whole-split loss passes certain levels.

    python -m benchmarks.losses

One model of the preset `modern` learns Tiny Shakespeare. Before the first step, and as soon as an evaluation finds the
loss at or below a level, it writes with temperature 1 from an empty prompt. docs/losses.md shows the first text; in all
of them the words are counted that occur in the training part.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.record import new_parser, parse
from benchmarks.trials import new_trainer

LEVELS = (2.5, 2.0, 1.7, 1.5)
SETTINGS: dict[str, Any] = {
    **{"n_layer": 5, "n_head": 6, "n_embd": 192, "block_size": 256, "batch_size": 8},
    **{"eval_every": 10, "eval_tokens": 16_384, "sample_tokens": 0, "history": "off"},
}
SAMPLES, TOKENS, TEMPERATURE = 8, 500, 1.0
NEAR = 0.05
"""An evaluation of some windows that is this close to a level is followed by one of all."""


def main() -> None:
    """Train, take the samples, record."""
    options, parts = parse(new_parser(__doc__, text="shakespeare", steps=1300), "losses", parts=False)
    with tempfile.TemporaryDirectory(prefix="losses-") as folder:
        rows = []
        for row in measure(options.text, options.steps, LEVELS, Path(folder), SETTINGS):
            rows.append(row)
            print(f"\n--- {row['loss']:.3f} at step {row['step']:,}\n{row['sample']}", flush=True)
    missed = LEVELS[len(rows) - 1 :]
    if missed:
        print(f"the loss never reached {', '.join(map(str, missed))}: train longer, with --steps")
    result = {"text": options.text, "steps": options.steps, "settings": SETTINGS, "temperature": TEMPERATURE}
    parts.write(result | {"characters": SAMPLES * TOKENS, "rows": rows}, record=not missed)


def measure(
    text: str, steps: int, levels: Iterable[float], folder: Path, settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Train; yield a row for the untrained model and one for each level that the loss passes."""
    from nanogpt.config import SampleConfig
    from nanogpt.evaluation.loss import evaluate
    from nanogpt.reporting.events import EvalEvent
    from nanogpt.sampling.generate import generate_text
    from nanogpt.text.corpus import load_corpus

    trainer = new_trainer(text, steps=steps, out=folder / "run", **settings)
    config = SampleConfig(tokens=TOKENS, samples=SAMPLES, temperature=TEMPERATURE)
    characters = load_corpus(text).text
    known = set(words(characters[: len(characters) - len(characters) // 10]))
    remaining: list[float | None] = [None, *levels]
    for event in trainer.events():
        if not isinstance(event, EvalEvent) or not remaining:
            continue
        level = remaining[0]
        if level is not None and event.evaluation.loss > level + NEAR:
            continue
        whole = evaluate(trainer.model, trainer.data.val, trainer.tokenizer)
        if level is None or whole.loss <= level:
            remaining.pop(0)
            texts = generate_text(trainer.model, trainer.tokenizer, "", config)
            row = {"level": level, "step": event.step, "loss": whole.loss, "protocol": whole.protocol}
            yield row | {"known_words": known_share(texts, known), "sample": texts[0]}


def words(text: str) -> list[str]:
    r"""Return the words of a text in lower case; an apostrophe inside a word belongs to it.

    >>> words("O, 'tis he! What's\nthat?")
    ['o', 'tis', 'he', "what's", 'that']
    """
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def known_share(texts: Iterable[str], known: set[str]) -> float:
    """Return the share of known words in the texts, without the last word of each, which may be cut off.

    >>> known_share(["the king is ded ki", "of the ki"], {"the", "king", "is", "of"})
    0.8333333333333334
    """
    found = [word for text in texts for word in words(text)[:-1]]
    return sum(word in known for word in found) / max(len(found), 1)


if __name__ == "__main__":
    main()
