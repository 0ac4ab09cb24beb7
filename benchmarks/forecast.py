"""Fits the law by which a loss is forecast, and measures how often its interval holds for a text it never saw.

    python -m benchmarks.forecast --rows benchmarks/records/sweeps/*.jsonl --texts shakespeare python book.txt

A row is what `benchmarks.sweep` writes, a line of JSON for each training:

    text           the corpus' short name; --texts finds it again
    loss           nats a token on a part that was not learned from, whole-split; null where the training diverged
    train_tokens   of the text that was learned from
    tokens         learned from in all: steps x sequences of a step x block_size
    settings       every setting of `nanogpt.config` by name (n_layer, n_embd, block_size, batch_size, dropout, …),
                   with preset and steps

Only rows of the default preset's parts and optimizer are fitted: those that `nanogpt train --minutes` makes. Rows that
differ in rates alone are one training done well or badly; of those with the same text, sizes, steps and dropout the
best is taken. Logarithms of losses are fitted by least squares (Levenberg–Marquardt) with a weak prior on each
coefficient. Then each text is left out in turn: the error of the law without it, on it. The interval is that of
Student's t from these errors, one for each text; its coverage is counted with intervals from which the text in question
is left out as well. The coefficients go to `nanogpt/planning/forecast.toml`, all of it to `records/forecast.json`.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from benchmarks.least_squares import least_squares
from benchmarks.record import LineFile, circumstances, write_record
from benchmarks.trials import hold_out
from nanogpt.config import PARTS, Config, load_preset
from nanogpt.numbers.significance import t_quantile
from nanogpt.planning.features import TextFeatures, measure_text
from nanogpt.planning.forecast import FILE, NAMES, Training, columns, is_known, law

CONFIDENCE = 0.9
PRIOR: dict[str, tuple[float, float]] = {
    "floor": (0.5, 0.4),
    "size": (0.06, 0.7),
    "size_power": (0.35, 0.4),
    "tokens": (0.15, 0.7),
    "tokens_power": (0.4, 0.4),
    "context": (0.04, 0.7),
    "context_power": (0.5, 0.4),
    "excess": (0.05, 1.0),
    "excess_power": (0.5, 0.4),
    "dropout_power": (4.0, 0.5),
    "repeats": (8.0, 0.7),
    "critical_batch": (0.008, 0.7),
    "trigram_share": (0.6, 0.4),
}
"""Of each coefficient where it should lie, and the standard deviation of its logarithm."""
NOISE = 0.01
"""Standard deviation of a loss' logarithm that the law is not expected to explain."""
Row = dict[str, Any]


def main() -> None:
    """Read rows, fit, leave texts out, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", nargs="+", default=[], help="those of the rows that the last record does not have")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    measured_in = circumstances()
    rows = distinct([row for path in options.rows for row in LineFile(path).rows()])
    texts = known_texts() | {name: found for source in options.texts for name, found in [features_of(source)]}
    missing = {row["text"] for row in rows} - texts.keys()
    if missing:
        raise SystemExit(f"no features of {', '.join(sorted(missing))}: name these texts with --texts")
    found = evaluate(rows, texts)
    print("\n".join(told(found)))
    if options.dry:
        return
    path = write_record("forecast", measured_in, found | {"texts": {name: asdict(one) for name, one in texts.items()}})
    write_coefficients(found, path)
    print(f"wrote {path} and {FILE}")


def features_of(source: str) -> tuple[str, TextFeatures]:
    """A corpus' name, and its features as of what trials learn from."""
    import tempfile

    from nanogpt.corpus import load_corpus
    from nanogpt.data import prepare
    from nanogpt.tokenizer import train_tokenizer

    with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
        held = hold_out(source, Path(folder))
        learn, measure = load_corpus(str(held.learn)), load_corpus(str(held.measure))
        tokenizer = train_tokenizer("char", [one.scan(True).alphabet for one in (learn, measure)], True)
        data = prepare(learn, tokenizer, measure, quiet=True)
        return held.name, measure_text(data.train, tokenizer.vocab_size)


def known_texts() -> dict[str, TextFeatures]:
    """Those of the last record."""
    path = Path(__file__).parent / "records/forecast.json"
    if not path.exists():
        return {}
    texts = json.loads(path.read_text(encoding="utf-8")).get("texts", {})
    return {name: TextFeatures(**one) for name, one in texts.items()}


def config_of(row: Row) -> Config:
    """The settings of a row."""
    known = {field.name for part in PARTS.values() for field in fields(part)}
    settings = {name: value for name, value in row["settings"].items() if name in known}
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return load_preset(row["settings"]["preset"]).override(**settings)


def distinct(rows: Sequence[Row]) -> list[Row]:
    """One row for each text and size, length and dropout that the law tells apart: the best that was found."""
    best: dict[Any, Row] = {}
    for row in rows:
        if row["loss"] is None or row["settings"]["preset"] != "modern":
            continue
        config = config_of(row)
        if is_known(config):
            key = row["text"], row["train_tokens"], Training.of(config, row["settings"]["steps"])
            if key not in best or row["loss"] < best[key]["loss"]:
                best[key] = row | {"training": key[2]}
    return list(best.values())


def fit(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> dict[str, float]:
    """The coefficients that explain the rows best, near the prior where these say nothing."""
    x = columns([_text(row, texts) for row in rows], [row["training"] for row in rows])
    losses = np.log([row["loss"] for row in rows])
    middle = np.log([PRIOR[name][0] for name in NAMES])
    spread = np.array([PRIOR[name][1] for name in NAMES])

    def residuals(logarithms: Any) -> Any:
        off = (np.log(law(dict(zip(NAMES, np.exp(logarithms))), x)) - losses) / NOISE
        return np.concatenate([off, (logarithms - middle) / spread])

    return dict(zip(NAMES, np.exp(least_squares(residuals, middle)).tolist()))


def errors(coefficients: Mapping[str, float], rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> Any:
    """Logarithm of loss over forecast, (rows,)."""
    x = columns([_text(row, texts) for row in rows], [row["training"] for row in rows])
    return np.log([row["loss"] for row in rows]) - np.log(law(coefficients, x))


def _text(row: Row, texts: Mapping[str, TextFeatures]) -> TextFeatures:
    return texts[row["text"]]


def left_out(rows: Sequence[Row], texts: Mapping[str, TextFeatures], names: Sequence[str]) -> dict[str, Any]:
    """For each of some texts the errors on its rows of the law that was fitted to the others'."""
    chosen = [row for row in rows if row["text"] in names]
    found = {}
    for name in names:
        others = fit([row for row in chosen if row["text"] != name], texts)
        found[name] = errors(others, [row for row in chosen if row["text"] == name], texts)
    return found


def half_width(off: Mapping[str, Any]) -> float:
    """Of the interval for a new text: Student's t, a text's root mean square error counting as one observation."""
    mean_square = float(np.mean([np.mean(one**2) for one in off.values()]))
    return t_quantile((1 + CONFIDENCE) / 2, len(off)) * math.sqrt(mean_square)


def evaluate(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> dict[str, Any]:
    """The fit to all rows, its interval, and the coverage of intervals that never saw their text."""
    names = sorted({row["text"] for row in rows})
    if len(names) < 3:
        raise SystemExit(f"rows of {len(names)} text(s): at least three are needed to leave one out twice")
    coefficients, off = fit(rows, texts), left_out(rows, texts, names)
    held: dict[str, list[bool]] = {}
    for name in names:
        width = half_width(left_out(rows, texts, [other for other in names if other != name]))
        held[name] = [bool(abs(one) <= width) for one in off[name]]
    hits = [one for some in held.values() for one in some]
    return {
        "rows": len(rows),
        "coefficients": coefficients,
        "half_width": half_width(off),
        "coverage": sum(hits) / len(hits),
        "coverage_by_text": {name: sum(some) / len(some) for name, some in held.items()},
        "error_by_text": {name: float(np.sqrt(np.mean(one**2))) for name, one in off.items()},
        "error_of_fit": float(np.sqrt(np.mean(errors(coefficients, rows, texts) ** 2))),
    }


def told(found: Mapping[str, Any]) -> list[str]:
    """What was found, as lines."""
    lines = [f"{found['rows']} trainings; error of the fit {found['error_of_fit']:.1%}"]
    lines += [f"  {name:<18} {value:.4g}" for name, value in found["coefficients"].items()]
    for name, share in found["coverage_by_text"].items():
        lines.append(f"without {name}: error on it {found['error_by_text'][name]:.1%}, interval holds {share:.0%}")
    lines.append(f"interval for a new text: ± {found['half_width']:.1%}; coverage, left out {found['coverage']:.0%}")
    return lines


def write_coefficients(found: Mapping[str, Any], record: Path) -> None:
    """The file that the planner reads."""
    numbers = {name: float(f"{value:.6g}") for name, value in found["coefficients"].items()}
    tables = {"record": record.name, "half_width": float(f"{found['half_width']:.4g}"), "coefficients": numbers}
    heading = "# The forecast of nanogpt.planning.forecast, fitted and written by python -m benchmarks.forecast\n"
    FILE.write_text(heading + tomli_w.dumps(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
