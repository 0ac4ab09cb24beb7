"""`nanogpt info`: what a run or a text is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse
from nanogpt.cli.opening import chosen
from nanogpt.cli.runs import describe
from nanogpt.runs.starter import run_folder
from nanogpt.text.corpus import Corpus, load_corpus


@dataclass(frozen=True, kw_only=True)
class Info:
    """Describe a run or a text.

    examples:
      nanogpt info
      nanogpt info book.txt
    """

    what: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN|TEXT]")] = None
    """a run folder, or a text named as for training; the newest run if left out, the starter model where there is
    none"""
    encoding: str = "utf-8"
    """encoding of the text"""
    pattern: Annotated[OptionalText, optional("TEXT")] = None
    """which files of a folder to read, by their names, for example *.md"""
    column: str = "text"
    """where the text is in .jsonl and .parquet files and in data sets"""


def main(argv: Sequence[str]) -> None:
    """Parse, look, print."""
    options = parse(Info, "info", argv)
    if options.what is None or _is_run(options.what):
        from nanogpt.runs.folder import RunFolder

        lines = describe(RunFolder.open(chosen(options.what)))
    else:
        lines = describe_corpus(
            load_corpus(options.what, options.encoding, pattern=options.pattern, column=options.column)
        )
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f"{name:<{width}}  {value}")


def _is_run(what: str) -> bool:
    try:
        return (run_folder(what) / "config.toml").exists()
    except OSError:  # a name too long, or a folder that is closed: who looks for the text tells of it
        return False


def describe_corpus(corpus: Corpus) -> dict[str, str]:
    """A text's figures, by name."""
    scan = corpus.scan()
    lines = {
        "text": corpus.name,
        "documents": f"{scan.documents:,}",
        "characters": f"{scan.characters:,}, {len(scan.alphabet):,} distinct",
        "bytes": f"{scan.bytes:,} of UTF-8",
        "training part": f"{scan.train_characters:,} characters",
        "validation part": f"{scan.val_characters:,} characters, the last tenth or 10 MB",
        "alphabet": repr(scan.alphabet[:120])[1:-1] + (" …" if scan.alphabet[120:] else ""),
    }
    return lines | {f"note {number}": note for number, note in enumerate(corpus.notes, 1)}
