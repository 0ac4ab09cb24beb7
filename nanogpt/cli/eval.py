"""`nanogpt eval`: a run's loss by a stated protocol, and what it is to be held against."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nanogpt.cli.arguments import OptionalText, Switch, optional, parse
from nanogpt.cli.opening import open_run
from nanogpt.config import SampleConfig
from nanogpt.errors import UserError

if TYPE_CHECKING:
    from nanogpt.data.dataset import TokenIds
    from nanogpt.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure a run's loss: on the validation part it was trained with, or on the whole of another text.

    The same run and text always give the same figure: every token is predicted once, none at random. Its 95 %
    interval says how much another stretch of such a text could have changed it.

    examples:
      nanogpt eval runs/book-modern-1 --text other.txt
      nanogpt eval --floors --memorised
      nanogpt eval --protocol nanogpt
    """

    run: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN]")] = None
    """run folder; the newest below runs/ if left out, the starter model where there is none"""
    text: Annotated[OptionalText, optional("TEXT")] = None
    """another text, named as for training"""
    unknown: Literal["error", "skip"] = "error"
    """what to do with characters of the text that the model never saw"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""
    protocol: Literal["whole", "nanogpt"] = "whole"
    """the whole split, or nanoGPT's 200 random batches, to compare with figures measured so"""
    seed: int = 1337
    """draws the random batches, and the generated texts"""
    floors: Switch = False
    """beside it what guessing, counting and compressing reach on the same text"""
    memorised: Switch = False
    """how much of what the model writes stands word for word in the training text"""
    samples: int = 16
    """how many texts are generated for --memorised"""
    tokens: int = 256
    """length of each of them"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """number format of the weights, to see what a lower one costs"""
    json: Switch = False
    """print JSON, for scripts"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to run"""


def main(argv: Sequence[str]) -> None:
    """Parse, measure, print."""
    options = parse(Eval, "eval", argv)
    if options.protocol == "nanogpt":
        _refuse_beside_random_batches(options)
    written = SampleConfig(tokens=options.tokens, samples=options.samples, seed=options.seed, temperature=1.0)
    from nanogpt.sampling.precision import lower_precision

    run = open_run(options.run, checkpoint=options.checkpoint, device=options.device)
    run.model = lower_precision(run.model, options.precision)
    ids = run.text_ids(options.text, options.unknown)
    of = options.text or f"the validation part of {run.plan.text}"
    report: dict[str, Any] = {"run": run.name, "step": run.step, "text": of, "precision": options.precision}
    if options.protocol == "nanogpt":
        report |= random_batches(run, ids, options.seed)
    else:
        report |= whole_split(run, ids)
    if options.floors:
        report["floors"] = measure_floors(run, ids)
    if options.memorised:
        report["memorised"] = measure_memorised(run, ids, written)
    print(json.dumps(report, indent=1) if options.json else "\n".join(lines(report)))


def whole_split(run: "Run", ids: "TokenIds") -> dict[str, Any]:
    """The loss by the whole-split protocol, its interval, and how fast it was measured."""
    from nanogpt.evaluation.intervals import ratio_interval
    from nanogpt.evaluation.loss import measure_windows

    with bar("evaluating", len(ids) - 1) as watch:
        began = time.perf_counter()
        windows = measure_windows(run.model, ids, run.tokenizer, watch=watch)
        seconds = time.perf_counter() - began
    found = asdict(windows.evaluation())
    for name, weights in (("loss", windows.tokens), ("bits_per_byte", windows.text_bytes)):
        interval = ratio_interval(windows.nats, weights)
        scale = found[name] * weights.sum() / windows.nats.sum()  # nats to bits, for bytes
        found[f"{name}_interval"] = interval and [interval.low * scale, interval.high * scale]
        found["interval"] = interval and interval.method
    return found | {"tokens_per_second": found["tokens"] / seconds}


def random_batches(run: "Run", ids: "TokenIds", seed: int) -> dict[str, Any]:
    """nanoGPT's estimate of the loss, with the run's batch size."""
    from nanogpt.evaluation.loss import NANOGPT_BATCHES, estimate_like_nanogpt

    batch_size = run.config.train.batch_size
    with bar("evaluating", NANOGPT_BATCHES * batch_size * run.config.model.block_size) as watch:
        return asdict(estimate_like_nanogpt(run.model, ids, batch_size, seed, watch))


def measure_floors(run: "Run", ids: "TokenIds") -> list[dict[str, Any]]:
    """What the same text costs without a network, from the run's training part."""
    from nanogpt.evaluation.baselines import FLOORS, floors

    with bar("measuring floors", len(FLOORS)) as watch:
        found = []
        for floor in floors(run.data().train, ids, run.tokenizer):
            found.append(asdict(floor))
            watch(1)
    return found


def measure_memorised(run: "Run", ids: "TokenIds", config: SampleConfig) -> dict[str, Any]:
    """What generated texts, and as many pieces of the measured text, share with the training part."""
    from nanogpt.evaluation.memorisation import evenly_spaced, measure_overlap
    from nanogpt.sampling.generate import stream_text

    with bar("writing", config.tokens) as watch:
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
    how = f"{config.samples} texts of up to {config.tokens} tokens, no prompt, temperature 1, seed {config.seed}"
    return {"how": how, "generated": asdict(generated), "real": asdict(real)}


def _refuse_beside_random_batches(options: Eval) -> None:
    if options.floors or options.memorised:
        name = "--floors" if options.floors else "--memorised"
        raise UserError(f"{name} goes with the whole split: leave --protocol nanogpt out")


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A report as text."""
    yield f"{report['run']}, step {report['step']:,}, on {report['text']}"
    precision = f"precision      {report['precision']}"
    if "standard_error" in report:
        yield f"loss           {report['loss']:.4f} ± {report['standard_error']:.4f} nats/token"
        yield f"protocol       {report['protocol']}"
        yield precision
        yield "               ± is the standard error of this one estimate. Figures quoted from nanoGPT are mostly the"
        yield "               lowest of many such estimates, which is lower than their mean"
        return
    for name, label, unit in (("loss", "loss", " nats/token"), ("bits_per_byte", "bits per byte", "")):
        low, high = report[f"{name}_interval"] or (None, None)
        between = "" if low is None else f", 95 % interval {low:.4f} to {high:.4f}"
        yield f"{label:<14} {report[name]:.4f}{unit}{between}"
    yield f"protocol       {report['protocol']}"
    yield precision
    yield f"interval       {report['interval'] or 'none: fewer than 20 windows cannot tell how much windows differ'}"
    yield f"speed          {report['tokens_per_second']:,.0f} tokens/s"
    if "floors" in report:
        yield from _floor_lines(report)
    if "memorised" in report:
        yield from _memorised_lines(report["memorised"])


def _floor_lines(report: dict[str, Any]) -> Iterator[str]:
    """The floors and the model, in one table."""
    yield ""
    yield f"{'on the same text':<24}{'nats/token':>10}{'bits/byte':>11}"
    model = {"name": "this model", "loss": report["loss"], "bits_per_byte": report["bits_per_byte"], "note": ""}
    for row in [*report["floors"], model]:
        loss, bits = ("–" if row[name] is None else f"{row[name]:.4f}" for name in ("loss", "bits_per_byte"))
        yield f"{row['name']:<24}{loss:>10}{bits:>11}  {row['note']}".rstrip()


def _memorised_lines(found: dict[str, Any]) -> Iterator[str]:
    """Generated and real text beside each other."""
    sides = [found["generated"], found["real"]]
    yield ""
    yield f"{'word for word in the training text':<38}{'generated':>10}{'real':>10}"
    yield f"{'longest run, tokens':<38}" + "".join(f"{side['longest']:>10,}" for side in sides)
    yield f"{'longest run of a text, on average':<38}" + "".join(f"{side['mean_longest']:>10,.1f}" for side in sides)
    for n in sides[0]["novel"]:
        shares = ("–" if side["novel"][n] is None else f"{side['novel'][n]:.1%}" for side in sides)
        yield f"{f'runs of {n} tokens that are not in it':<38}" + "".join(f"{share:>10}" for share in shares)
    yield f"generated: {found['how']}"
    yield f"real: {sides[1]['texts']} pieces of the measured text, {sides[1]['tokens']:,} tokens, evenly spaced"
    yield f"the longest run: {sides[0]['longest_text']!r}"


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while something long is measured; only in a terminal, and gone at the end."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)
