"""`nanogpt info`: what a run or a text is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse
from nanogpt.cli.runs import describe
from nanogpt.corpus import Corpus, load_corpus


@dataclass(frozen=True, kw_only=True)
class Info:
    """Describe a run or a text.

    examples:
      nanogpt info
      nanogpt info book.txt
    """

    what: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN|TEXT]")] = None
    """a run folder, or a text named as for training; the newest run if left out"""
    encoding: str = "utf-8"
    """encoding of the text"""


def main(argv: Sequence[str]) -> None:
    """Parse, look, print."""
    options = parse(Info, "info", argv)
    if options.what is None or (Path(options.what) / "config.toml").exists():
        from nanogpt.folder import RunFolder
        from nanogpt.run import newest_run

        lines = describe(RunFolder.open(options.what or newest_run()))
    else:
        lines = describe_corpus(load_corpus(options.what, options.encoding))
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")


def describe_corpus(corpus: Corpus) -> dict[str, str]:
    """A text's figures, by name."""
    from nanogpt.data import split_documents

    train, val = split_documents(corpus.documents)
    alphabet = sorted(set(corpus.text))
    lines = {
        "text": corpus.name,
        "documents": f"{len(corpus.documents):,}",
        "characters": f"{sum(map(len, corpus.documents)):,}, {len(alphabet):,} distinct",
        "bytes": f"{sum(len(document.encode('utf-8', 'replace')) for document in corpus.documents):,} of UTF-8",
        "training part": f"{sum(map(len, train)):,} characters",
        "validation part": f"{sum(map(len, val)):,} characters, the last tenth or 10 MB",
        "alphabet": repr("".join(alphabet[:120]))[1:-1] + (" …" if alphabet[120:] else ""),
    }
    return lines | {f"note {number}": note for number, note in enumerate(corpus.notes, 1)}
