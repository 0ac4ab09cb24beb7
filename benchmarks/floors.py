"""Loss on Tiny Shakespeare's validation part without a network: by guessing, counting and compressing.

    python -m benchmarks.floors

One token per character, with the split and the predicted tokens of every whole-split figure (see
`nanogpt.evaluation.baselines`). Nothing is random. A training of one step prepares the text.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path

import nanogpt
from benchmarks.record import new_parser, parse
from nanogpt.evaluation.baselines import measure_baselines


def main() -> None:
    """Measure, print and record."""
    _, parts = parse(new_parser(__doc__), "floors", parts=False)
    with tempfile.TemporaryDirectory() as folder:
        run = nanogpt.train("shakespeare", steps=1, n_layer=1, out=Path(folder) / "run", progress=False)
        data = run.data()
        rows = [asdict(floor) for floor in measure_baselines(data.train, data.val, run.tokenizer)]
        counts = {"train_tokens": len(data.train), "predicted_tokens": len(data.val) - 1}
    parts.write({"text": "shakespeare", **counts, "rows": rows})


if __name__ == "__main__":
    main()
