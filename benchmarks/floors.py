"""What Tiny Shakespeare's validation part costs without a network: by guessing, counting and compressing.

    python -m benchmarks.floors

One token per character, with the split and the predicted tokens of every whole-split figure (see
`nanogpt.evaluation.baselines`). Nothing is random. A training of one step prepares the text.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path

import nanogpt
from benchmarks.record import circumstances, write_record
from nanogpt.evaluation.baselines import measure_baselines


def main() -> None:
    """Measure, print and record."""
    measured_in = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        run = nanogpt.train("shakespeare", steps=1, n_layer=1, out=Path(folder) / "run", progress=False)
        data = run.data()
        rows = []
        for floor in measure_baselines(data.train, data.val, run.tokenizer):
            rows.append(asdict(floor))
            print(floor, flush=True)
        counts = {"train_tokens": len(data.train), "predicted_tokens": len(data.val) - 1}
    path = write_record("floors", measured_in, {"text": "shakespeare", **counts, "rows": rows})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
