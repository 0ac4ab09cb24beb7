"""Fit the law that forecasts a loss, and measure how often its interval holds for a text that it has not seen.

    python -m benchmarks.forecast --rows benchmarks/records/sweeps/*.jsonl --texts shakespeare python book.txt

A row is what `benchmarks.sweep` writes for a training: `text` (with @CHARACTERS if only that many were learned from),
`loss` (null where it diverged), `train_tokens` of the text, `tokens` learned from in all, and all `settings`. Only rows
of the default preset's parts and optimizer are fitted; of rows that differ only in learning rates, the best.

Logarithms of losses are fitted by least squares with a weak prior on each coefficient; each text has an unknown offset.
Then each text is left out in turn, and the law without it gives an error on it. The interval is that of Student's t
from these errors, one per text, and from the covariance of the coefficients; its coverage is counted on a text that
neither law nor interval has seen. The coefficients go to `nanogpt/planning/forecast.toml`.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from benchmarks.record import RECORDS, LineFile, new_parser, parse, read_record
from benchmarks.trials import hold_out, split_source
from nanogpt.config import PARTS, Config, load_preset
from nanogpt.data.tokenize import tokenize
from nanogpt.evaluation.significance import t_quantile
from nanogpt.planning.forecast import (
    FILE,
    NAMES,
    Forecast,
    TextFeatures,
    Training,
    columns,
    is_known,
    law,
    measure_text,
)
from nanogpt.text.corpus import load_corpus
from nanogpt.text.tokenizer import train_tokenizer

CONFIDENCE = 0.9
PRIOR: dict[str, tuple[float, float]] = {
    "floor": (0.5, 0.4),
    "size": (0.06, 0.7),
    "size_power": (0.35, 0.4),
    "tokens": (0.15, 0.7),
    "tokens_power": (0.4, 0.4),
    "updates": (0.1, 0.7),
    "updates_power": (1.0, 0.4),
    "context": (0.04, 0.7),
    "context_power": (0.5, 0.4),
    "slowing": (4.0, 0.5),
    "excess": (0.025, 0.5),
    "excess_power": (0.5, 0.4),
    "dropout_power": (4.0, 0.5),
    "repeats": (8.0, 0.7),
    "trigram_share": (0.6, 0.4),
}
"""Median of each coefficient, and the standard deviation of its logarithm."""
NOISE = 0.015
"""Standard deviation of a loss' logarithm that the law does not have to explain."""
TEXT_SPREAD = 0.05
"""Standard deviation of a text's offset."""
DIFFERENCE, ENOUGH, HOPELESS = 1e-6, 1e-9, 1e12
"""Of the least squares: distance of the derivatives' points, relative decrease and damping at which to stop."""
Row = dict[str, Any]


def main() -> None:
    """Read rows, fit, leave texts out, print and write."""
    parser = new_parser(__doc__)
    parser.add_argument("--rows", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", nargs="+", default=[], help="texts of the rows that the last record does not have")
    options, parts = parse(parser, "forecast", parts=False)
    rows = distinct([row for path in options.rows for row in LineFile(path).rows()])
    texts = known_texts() | dict(map(features_of, options.texts))
    names = {row["text"] for row in rows}
    missing = names - texts.keys()
    if missing:
        raise SystemExit(f"no features of {', '.join(sorted(missing))}: name these texts with --texts")
    texts = {name: texts[name] for name in sorted(names)}
    found = evaluate(rows, texts)
    parts.write(found | {"texts": {name: asdict(one) for name, one in texts.items()}})
    if not parts.trial:
        write_coefficients(found)
        print(f"wrote {FILE}")


def features_of(source: str) -> tuple[str, TextFeatures]:
    """Return a corpus' name, and the features of the part that trials learn from."""
    with tempfile.TemporaryDirectory(prefix="forecast-") as folder:
        held = hold_out(source, Path(folder))
        learn, measure = load_corpus(str(held.learn)), load_corpus(str(held.measure))
        tokenizer = train_tokenizer("char", [one.scan(True).alphabet for one in (learn, measure)], True)
        data = tokenize(learn, tokenizer, measure, quiet=True)
        return held.name, measure_text(data.train, data.val, tokenizer.vocab_size)


def known_texts() -> dict[str, TextFeatures]:
    """Return the features in the last record."""
    texts = read_record("forecast")["texts"] if (RECORDS / "forecast.json").exists() else {}
    return {name: TextFeatures(**one) for name, one in texts.items()}


def config_of(row: Row) -> Config:
    """Return the settings of a row."""
    known = {field.name for part in PARTS.values() for field in fields(part)}
    settings = {name: value for name, value in row["settings"].items() if name in known}
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return load_preset(row["settings"]["preset"]).override(**settings)


def distinct(rows: Sequence[Row]) -> list[Row]:
    """Return the best row for each text, size, length and dropout that the law distinguishes."""
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


def source_of(row: Row) -> str:
    """Return the text of a row, without the number of characters."""
    return split_source(row["text"])[0]


def fit(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> tuple[dict[str, float], Any]:
    """Return the coefficients that explain the rows best, close to the prior, and their covariance."""
    x = _columns(rows, texts)
    losses = np.log([row["loss"] for row in rows])
    names = sorted({source_of(row) for row in rows})
    text_of_row = [names.index(source_of(row)) for row in rows]
    P = len(NAMES)
    middle = np.concatenate([np.log([PRIOR[name][0] for name in NAMES]), np.zeros(len(names))])
    spread = np.array([PRIOR[name][1] for name in NAMES] + [TEXT_SPREAD] * len(names))

    def residuals(unknowns: Any) -> Any:
        logarithms, offsets = unknowns[:P], unknowns[P:]  # of the coefficients, and of the texts
        off = np.log(law(dict(zip(NAMES, np.exp(logarithms))), x)) + offsets[text_of_row] - losses
        return np.concatenate([off / NOISE, (unknowns - middle) / spread])

    unknowns, covariance = least_squares(residuals, middle)
    return dict(zip(NAMES, np.exp(unknowns[:P]).tolist())), covariance[:P, :P]


def least_squares(residuals: Callable[[Any], Any], start: Any) -> tuple[Any, Any]:
    """Return the parameters (P,) with the least sum of squared residuals (R,), from `start` on, and their covariance.

    Levenberg–Marquardt (Marquardt 1963, "An algorithm for least-squares estimation of nonlinear parameters"):
    Gauss–Newton steps, shortened along the gradient where they would lead too far. The covariance (P, P) is that of
    residuals with standard deviation 1, on the tangent plane.

    >>> start = np.array([-1.0, 1.0])
    >>> found, covariance = least_squares(lambda p: np.array([p[0] - 3, 10 * (p[1] - p[0] ** 2)]), start)
    >>> found.round(4).tolist(), covariance.round(2).tolist()  # the second is 6 times as open as the first, and 1 / 10
    ([3.0, 9.0], [[1.0, 6.0], [6.0, 36.01]])
    """
    point, damping = np.array(start, dtype=float), 1e-3
    now = residuals(point)
    gained = 1.0
    while gained > ENOUGH and damping < HOPELESS:
        slopes = _slopes(residuals, point)
        square, pull = slopes.T @ slopes, slopes.T @ now
        moved = point - np.linalg.solve(square + damping * np.diag(np.diag(square) + 1e-12), pull)
        there = residuals(moved)
        if there @ there < now @ now:
            gained = 1 - (there @ there) / (now @ now)
            point, now, damping = moved, there, damping / 3
        else:
            damping *= 4
    slopes = _slopes(residuals, point)
    return point, np.linalg.inv(slopes.T @ slopes)


def _slopes(residuals: Callable[[Any], Any], point: Any) -> Any:
    """Return the derivative of each residual by each parameter, (R, P)."""
    now = residuals(point)
    steps = DIFFERENCE * np.eye(len(point))
    return np.stack([(residuals(point + step) - now) / DIFFERENCE for step in steps], axis=1)


def errors(coefficients: Mapping[str, float], rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> Any:
    """Return the logarithms of loss over forecast, (rows,)."""
    return np.log([row["loss"] for row in rows]) - np.log(law(coefficients, _columns(rows, texts)))


def _columns(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> dict[str, Any]:
    return columns([texts[row["text"]] for row in rows], [row["training"] for row in rows])


def left_out(rows: Sequence[Row], texts: Mapping[str, TextFeatures], names: Sequence[str]) -> dict[str, Any]:
    """Return for each of some texts the errors on its rows of the law fitted to the others'."""
    chosen = [row for row in rows if source_of(row) in names]
    found = {}
    for name in names:
        others, _ = fit([row for row in chosen if source_of(row) != name], texts)
        found[name] = errors(others, [row for row in chosen if source_of(row) == name], texts)
    return found


def calibrate(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> Forecast:
    """Return the law of these rows, and its interval: each text, left out, is one observation of Student's t."""
    off = left_out(rows, texts, sorted({source_of(row) for row in rows}))
    error = math.sqrt(float(np.mean([np.mean(one**2) for one in off.values()])))
    return Forecast(*fit(rows, texts), text_error=error, quantile=t_quantile((1 + CONFIDENCE) / 2, len(off)))


def evaluate(rows: Sequence[Row], texts: Mapping[str, TextFeatures]) -> dict[str, Any]:
    """Return the fit to all rows, its interval, and the coverage of intervals that never saw their text."""
    names = sorted({source_of(row) for row in rows})
    if len(names) < 3:
        raise SystemExit(f"rows of {len(names)} text(s): give rows of at least three, to leave one out twice")
    held: dict[str, list[bool]] = {}
    off: dict[str, float] = {}
    for name in names:
        others, own = ([row for row in rows if (source_of(row) == name) == wanted] for wanted in (False, True))
        forecast = calibrate(others, texts)
        errors_here = errors(forecast.coefficients, own, texts)
        held[name] = (np.abs(errors_here) <= forecast.half_widths(_columns(own, texts))).tolist()
        off[name] = float(np.sqrt(np.mean(errors_here**2)))
    hits = [one for some in held.values() for one in some]
    forecast = calibrate(rows, texts)
    return {
        "rows": len(rows),
        "coefficients": forecast.coefficients,
        "covariance": np.asarray(forecast.covariance).tolist(),
        "text_error": forecast.text_error,
        "quantile": forecast.quantile,
        "coverage": sum(hits) / len(hits),
        "coverage_by_text": {name: sum(some) / len(some) for name, some in held.items()},
        "error_by_text": off,
        "error_of_fit": float(np.sqrt(np.mean(errors(forecast.coefficients, rows, texts) ** 2))),
        "half_width": float(np.median(forecast.half_widths(_columns(rows, texts)))),
    }


def write_coefficients(found: Mapping[str, Any]) -> None:
    """Write the file that the planner reads."""
    tables = {
        "record": "forecast.json",
        "text_error": _short(found["text_error"]),
        "quantile": _short(found["quantile"]),
        "coefficients": {name: _short(value) for name, value in found["coefficients"].items()},
        "covariance": [[_short(value) for value in row] for row in found["covariance"]],
    }
    heading = "# The forecast of nanogpt.planning.forecast, fitted and written by python -m benchmarks.forecast\n"
    FILE.write_text(heading + tomli_w.dumps(tables), encoding="utf-8")


def _short(value: float) -> float:
    return float(f"{value:.5g}")


if __name__ == "__main__":
    main()
