"""`nanogpt eval`: a run's loss, by the whole-split protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse, tell


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure a run's loss: on the validation part it was trained with, or on the whole of another text.

    The same run and text always give the same figure: every token is predicted once, none at random.

    example:
      nanogpt eval runs/book-modern-1 --text other.txt
    """

    run: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN]")] = None
    """run folder; the newest below runs/ if left out"""
    text: Annotated[OptionalText, optional("TEXT")] = None
    """another text, named as for training"""
    unknown: Literal["error", "skip"] = "error"
    """what to do with characters of the text that the model never saw"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to run"""


def main(argv: Sequence[str]) -> None:
    """Parse, measure, print."""
    options = parse(Eval, "eval", argv)
    from nanogpt.run import load

    run = load(options.run, checkpoint=options.checkpoint, device=options.device)
    tell(run.notes)
    result = run.evaluate(options.text, options.unknown)
    of = options.text or f"the validation part of {run.plan.text}"
    print(f"{run.path}, step {run.step:,}, on {of}")
    print(f"loss           {result.loss:.4f} nats/token")
    print(f"bits per byte  {result.bits_per_byte:.4f}")
    print(f"protocol       {result.protocol}")
