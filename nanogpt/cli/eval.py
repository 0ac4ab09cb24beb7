"""Measure a run's loss, on the validation part it was trained with, or on the whole of another text.

The same run and text always give the same figures: every token is predicted once. The 95 % interval shows how much
the loss varies from one stretch of such a text to another.

Examples:
  nanogpt eval runs/book-modern-1 --text other.txt
  nanogpt eval --floors --memorised
  nanogpt eval --protocol nanogpt
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from nanogpt.cli.arguments import RunOptions, parser_of
from nanogpt.config import SampleConfig
from nanogpt.errors import UserError, counted
from nanogpt.text.corpus import NO_VALIDATION

if TYPE_CHECKING:
    from nanogpt.data.batches import TokenIds
    from nanogpt.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Eval(RunOptions):
    """Options of `nanogpt eval`."""

    text: str | None = None
    """another text, as for nanogpt train"""
    yes: bool = False
    """fetch a text whose http(s) address is given, without asking"""
    unknown: Literal["error", "skip"] = "error"
    """what to do with characters that are not in the vocabulary"""
    protocol: Literal["whole", "nanogpt"] = "whole"
    """the whole split, or 200 random batches as in nanoGPT, to compare with figures measured that way"""
    seed: int = 1337
    """seed of the random batches and of the generated texts"""
    floors: bool = False
    """compare with guessing, counting and compressing on the same text"""
    memorised: bool = False
    """measure how much of the generated text is copied from the training text"""
    samples: int = 16
    """number of texts to generate for --memorised"""
    tokens: int = 256
    """length of each generated text"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights, to measure what a lower one costs"""
    json: bool = False
    """print JSON, for scripts"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device to run on"""


parser = partial(parser_of, Eval, "eval", __doc__)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    options = Eval(**parser().read(argv))
    if options.protocol == "nanogpt" and (options.floors or options.memorised):
        name = "--floors" if options.floors else "--memorised"
        raise UserError(f"{name} needs the whole split; leave --protocol nanogpt out")
    generated = SampleConfig(tokens=options.tokens, samples=options.samples, seed=options.seed, temperature=1.0)
    from nanogpt.sampling.precision import lower_precision

    run = options.open(options.device)
    run.model = lower_precision(run.model, options.precision)
    try:
        ids = run.text_ids(options.text, options.unknown, options.yes)
    except UserError as error:
        if options.text is not None or "--text" in str(error):
            raise
        raise UserError(f"{error}; to measure on another text, type: nanogpt eval --text book.txt") from None
    part = "training text (no part was held out)" if run.plan.val_source == NO_VALIDATION else "validation part"
    of = options.text or f"the {part} of {run.plan.text}"
    report: dict[str, Any] = {"run": run.name, "step": run.step, "text": of, "precision": options.precision}
    if options.protocol == "nanogpt":
        report |= random_batches(run, ids, options.seed)
    else:
        report |= whole_split(run, ids)
    if options.floors:
        report["floors"] = measure_floors(run, ids)
    if options.memorised:
        report["memorised"] = measure_memorised(run, ids, generated)
    print(json.dumps(report, indent=1) if options.json else "\n".join(lines(report)))


def whole_split(run: "Run", ids: "TokenIds") -> dict[str, Any]:
    """Return the loss on the whole split, its interval, and the speed."""
    from nanogpt.evaluation.intervals import ratio_interval
    from nanogpt.evaluation.loss import measure_windows

    with bar("evaluating", len(ids) - 1) as watch:
        began = time.perf_counter()
        windows = measure_windows(run.model, ids, run.tokenizer, on_progress=watch)
        seconds = time.perf_counter() - began
    found = asdict(windows.evaluation())
    for name, weights in (("loss", windows.tokens), ("bits_per_byte", windows.text_bytes)):
        interval = ratio_interval(windows.nats, weights)
        scale = found[name] * weights.sum() / windows.nats.sum()  # nats to bits, for bytes
        found[f"{name}_interval"] = interval and [interval.low * scale, interval.high * scale]
        found["interval"] = interval and interval.method
    return found | {"tokens_per_second": found["tokens"] / seconds}


def random_batches(run: "Run", ids: "TokenIds", seed: int) -> dict[str, Any]:
    """Return the loss as nanoGPT estimates it, with the run's batch size."""
    from nanogpt.evaluation.random_batches import BATCHES, estimate_like_nanogpt

    batch_size = run.config.train.batch_size
    with bar("evaluating", BATCHES * batch_size * run.config.model.block_size) as watch:
        return asdict(estimate_like_nanogpt(run.model, ids, batch_size, seed, watch))


def measure_floors(run: "Run", ids: "TokenIds") -> list[dict[str, Any]]:
    """Return the loss of simple baselines, fitted on the training part, on the same text."""
    from nanogpt.evaluation.baselines import BASELINES, measure_baselines

    with bar("measuring floors", len(BASELINES)) as watch:
        found = []
        for floor in measure_baselines(run.data().train, ids, run.tokenizer):
            found.append(asdict(floor))
            watch(1)
    return found


def measure_memorised(run: "Run", ids: "TokenIds", config: SampleConfig) -> dict[str, Any]:
    """Return how much generated texts, and as many stretches of the measured text, share with the training part."""
    from nanogpt.evaluation.memorisation import evenly_spaced, measure_overlap
    from nanogpt.sampling.generate import stream_text

    with bar("generating", config.tokens) as watch:
        written = [""] * config.samples
        for row in stream_text(run.model, run.tokenizer, config=config):
            written = [text + piece for text, piece in zip(written, row)]
            watch(1)
    train = run.data().train
    encoded = [run.tokenizer.encode(text, "skip") for text in written]
    pieces = evenly_spaced(ids, config.samples, config.tokens)
    with bar("comparing", 2 * len(train)) as watch:
        generated = measure_overlap(train, encoded, run.tokenizer, watch)
        real = measure_overlap(train, pieces, run.tokenizer, watch)
    texts = counted(config.samples, "text")
    how = f"{texts} of up to {config.tokens} tokens, no prompt, temperature 1, seed {config.seed}"
    return {"how": how, "generated": asdict(generated), "real": asdict(real)}


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield a report for the terminal."""
    yield f"{report['run']}, step {report['step']:,}, on {report['text']}"
    precision = f"precision      {report['precision']}"
    if "standard_error" in report:
        yield f"loss           {report['loss']:.4f} ± {report['standard_error']:.4f} nats/token"
        yield f"protocol       {report['protocol']}"
        yield precision
        yield "               ± is the standard error of this estimate. Figures reported from nanoGPT are mostly the"
        yield "               lowest of many such estimates, which is below their mean"
        return
    for name, label, unit in (("loss", "loss", " nats/token"), ("bits_per_byte", "bits per byte", "")):
        low, high = report[f"{name}_interval"] or (None, None)
        between = "" if low is None else f", 95 % interval {low:.4f} to {high:.4f}"
        yield f"{label:<14} {report[name]:.4f}{unit}{between}"
    yield f"protocol       {report['protocol']}"
    yield precision
    yield f"interval       {report['interval'] or 'none: it needs at least 20 windows'}"
    yield f"speed          {report['tokens_per_second']:,.0f} tokens/s"
    if "floors" in report:
        yield from _floor_lines(report)
    if "memorised" in report:
        yield from _memorised_lines(report["memorised"])


def _floor_lines(report: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{'on the same text':<24}{'nats/token':>10}{'bits/byte':>11}"
    model = {"name": "this model", "loss": report["loss"], "bits_per_byte": report["bits_per_byte"], "note": ""}
    for row in [*report["floors"], model]:
        loss, bits = ("–" if row[name] is None else f"{row[name]:.4f}" for name in ("loss", "bits_per_byte"))
        yield f"{row['name']:<24}{loss:>10}{bits:>11}  {row['note']}".rstrip()


def _memorised_lines(found: dict[str, Any]) -> Iterator[str]:
    sides = [found["generated"], found["real"]]
    yield ""
    yield f"{'word for word in the training text':<38}{'generated':>10}{'real':>10}"
    yield f"{'longest run, tokens':<38}" + "".join(f"{side['longest']:>10,}" for side in sides)
    yield f"{'longest run of a text, on average':<38}" + "".join(f"{side['mean_longest']:>10,.1f}" for side in sides)
    for n in sides[0]["novel"]:
        shares = ("–" if side["novel"][n] is None else f"{side['novel'][n]:.1%}" for side in sides)
        yield f"{f'runs of {n} tokens that are not in it':<38}" + "".join(f"{share:>10}" for share in shares)
    yield f"generated: {found['how']}"
    yield f"real: {sides[1]['texts']} stretches of the measured text, {sides[1]['tokens']:,} tokens, evenly spaced"
    yield f"the longest run: {sides[0]['longest_text']!r}"


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, in a terminal only, and remove it at the end."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
