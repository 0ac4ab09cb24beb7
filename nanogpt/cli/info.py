"""Describe a run or a text.

Examples:
  nanogpt info
  nanogpt info book.txt
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nanogpt.cli.arguments import TextOptions, chosen, is_run, parser_of, positional

if TYPE_CHECKING:
    from nanogpt.text.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class Info(TextOptions):
    """Options of `nanogpt info`."""

    what: str | None = positional("RUN|TEXT", None)
    """run folder, its name in runs/, or a text as for nanogpt train (default: the newest run, or the starter model)"""


parser = partial(parser_of, Info, "info", __doc__)


def main(argv: Sequence[str]) -> None:
    """Print the figures of a run or a text."""
    options = Info(**parser().read(argv))
    if options.what is None or is_run(options.what):
        from nanogpt.cli.runs import describe
        from nanogpt.runs.folder import RunFolder

        lines = describe(RunFolder.open(chosen(options.what)))
    else:
        lines = describe_corpus(options.corpus(options.what))
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")


def describe_corpus(corpus: "Corpus") -> dict[str, str]:
    """Return a text's figures, by name."""
    scan = corpus.scan()
    lines = {
        "text": corpus.name,
        "documents": f"{scan.documents:,}",
        "characters": f"{scan.characters:,}, {len(scan.alphabet):,} distinct",
        "bytes": f"{scan.bytes:,} of UTF-8",
        "validation part": scan.validation,
        "alphabet": repr(scan.alphabet[:120])[1:-1] + (" …" if scan.alphabet[120:] else ""),
    }
    return lines | {f"note {number}": note for number, note in enumerate(corpus.notes, 1)}
