"""`nanogpt data`: look at a text before training on it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import tyro

from nanogpt.cli.arguments import OptionalText, Switch, optional, parse
from nanogpt.config import DEFAULT_PRESET, load_preset
from nanogpt.errors import UserError, nearest

if TYPE_CHECKING:
    from nanogpt.text.corpus import Corpus
    from nanogpt.text.inspection import Inspection

OVERVIEW = """\
usage: nanogpt data COMMAND [OPTIONS]

Look at a text before training on it.

  check     its encoding, rare characters, repetition, and how it fits a model

`nanogpt data check --help` tells the options.

example:
  nanogpt data check book.txt
"""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Look through a text before training on it, and say what to mend first.

    Encoding, rare characters, what repeats, what training and validation part share, how much text there is beside a
    model, and which tokenizer suits it.

    examples:
      nanogpt data check book.txt
      nanogpt data check texts --json
    """

    text: Annotated[tyro.conf.Positional[tuple[str, ...]], optional("[TEXT ...]")] = ()
    """named as for training; if left out, shakespeare where it can be had"""
    encoding: str = "utf-8"
    """encoding of the text"""
    pattern: Annotated[OptionalText, optional("TEXT")] = None
    """which files of a folder to read, by their names, for example *.md"""
    column: str = "text"
    """where the text is in .jsonl and .parquet files and in data sets"""
    preset: str = DEFAULT_PRESET
    """the model to hold it against"""
    json: Switch = False
    """print JSON, for scripts"""


def main(argv: Sequence[str]) -> None:
    """Choose the command, parse, look, print."""
    if not argv or argv[0] in ("-h", "--help"):
        print(OVERVIEW, end="")
        return
    options = parse_data(argv)
    report = check(options)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else "\n".join(lines(report)))


def parse_data(argv: Sequence[str]) -> Check:
    """The options; the first word is the command."""
    if argv[0] != "check":
        raise UserError(f"unknown command 'data {argv[0]}'; {nearest(argv[0], ['check'])}")
    return parse(Check, "data check", argv[1:])


def all_options() -> Any:
    """What can be given, for the shell's completion: the one command, and its options."""
    check = Annotated[Check, tyro.conf.subcommand("check")]
    return make_dataclass("Data", [("command", Union[check, None])], kw_only=True)  # noqa: UP007


def check(options: Check) -> dict[str, Any]:
    """All that is found out about the text; plain tables, ready for JSON."""
    from nanogpt.data.dataset import divide
    from nanogpt.text.advice import advise_tokenizer, find_faults, fit_tokenizers, meaning_of_overlap
    from nanogpt.text.bpe import DEFAULT_VOCABULARY, SAMPLE_BYTES_PER_TOKEN, sample_pieces
    from nanogpt.text.encodings import read_bytes
    from nanogpt.text.pieces import cut_pieces

    config = load_preset(options.preset)
    corpus = _corpus(options)  # before the file itself is looked at: what cannot be found says so
    path = Path(options.text[0]).expanduser() if len(options.text) == 1 else Path()
    raw = read_bytes(path, options.encoding) if path.is_file() else None
    faults = []
    try:
        found = _inspect(corpus)
    except UserError:
        if raw is None or raw.fits or not raw.probably:
            raise
        first = raw.probably[0]
        names = " or ".join(raw.probably)
        faults.append(
            f"the text is not {options.encoding}, but {'' if raw.certain else 'probably '}{names}: read as {first} "
            f"here; train with --encoding {first}"
        )
        options = replace(options, encoding=first)
        corpus = _corpus(options)
        found = _inspect(corpus)
    texts = (piece.text for piece in cut_pieces(divide(corpus)[0]))
    sample = sample_pieces(texts, DEFAULT_VOCABULARY * SAMPLE_BYTES_PER_TOKEN, config.train.seed)
    tokenizer, reason = advise_tokenizer(found.bytes, found.distinct, found.rare)
    return {
        "text": corpus.name,
        "encoding": options.encoding,
        "line_ends": None if raw is None else {"crlf": raw.crlf, "lf": raw.lf, "cr": raw.cr},
        **asdict(found),
        "meaning_of_overlap": meaning_of_overlap(found),
        "preset": options.preset,
        "fits": [asdict(fit) for fit in fit_tokenizers(found, config, sample)],
        "advice": {"tokenizer": tokenizer, "reason": reason},
        "notes": list(corpus.notes),
        "faults": faults + find_faults(found),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for a reader."""
    train, val = report["train_characters"], report["characters"] - report["train_characters"]
    told = {
        "text": report["text"],
        "encoding": report["encoding"] + _line_ends(report["line_ends"]),
        "size": f"{report['characters']:,} characters, {report['bytes']:,} bytes of UTF-8, {report['documents']:,} "
        f"document{'s' * (report['documents'] != 1)}",
        "parts": f"{train:,} characters to train on, {val:,} to validate on",
        "characters": _characters(report),
        "repeated": _repeated(report["repeated_documents"], report["repeated_lines"]),
        "overlap": f"{report['overlap']['share']:.1%} of the validation part's windows of 50 characters stand in the "
        f"training part{_sampled(report['overlap']['one_in'])}; {report['meaning_of_overlap']}",
        "advice": f"--tokenizer {report['advice']['tokenizer']}: {report['advice']['reason']}",
    }
    for name, value in told.items():
        yield f"{name:<12}{value}"
    yield from (f"{'note':<12}{note}" for note in report["notes"])
    yield from (f"{'mend':<12}{fault}" for fault in report["faults"])
    yield f"\nthe training part in each tokenizer's tokens, beside the model of --preset {report['preset']}:"
    heads = (
        f"{'bytes/token':>12}{'tokens':>15}{'vocabulary':>12}{'parameters':>12}{'of it vocabulary':>18}{'epoch':>16}"
    )
    yield f"{'':<6}{heads}"
    for fit in report["fits"]:
        yield (
            f"{fit['tokenizer']:<6}{fit['bytes_per_token']:>12.2f}{fit['tokens']:>15,}{fit['vocab_size']:>12,}"
            f"{fit['parameters']:>12,}{fit['vocabulary_share']:>18.0%}{fit['steps_per_epoch']:>10,} steps"
        )


def _corpus(options: Check) -> "Corpus":
    from nanogpt.text.corpus import load_corpus

    return load_corpus(options.text or None, options.encoding, pattern=options.pattern, column=options.column)


def _inspect(corpus: "Corpus") -> "Inspection":
    from nanogpt.text.inspection import inspect_pieces

    return inspect_pieces(corpus.pieces(), corpus.scan().train_characters)


def _line_ends(ends: dict[str, int] | None) -> str:
    if ends is None:
        return ""
    names = {"crlf": "\\r\\n", "lf": "\\n", "cr": "\\r"}
    found = [f"{names[name]} ({count:,})" for name, count in ends.items() if count]
    return f", line ends {' and '.join(found)}" if found else ", no line ends"


def _characters(report: dict[str, Any]) -> str:
    from nanogpt.text.advice import name_character
    from nanogpt.text.inspection import RARE

    if not report["rare"]:
        return f"{report['distinct']:,} distinct, none of them fewer than {RARE} times"
    examples = ", ".join(f"{name_character(character)} ({count})" for character, count in report["rarest"])
    more = " …" if report["rare"] > len(report["rarest"]) else ""
    return f"{report['distinct']:,} distinct, {report['rare']:,} of them fewer than {RARE} times: {examples}{more}"


def _repeated(documents: dict[str, Any], lines: dict[str, Any]) -> str:
    copies = f"about {documents['copies']:,}" if documents["copies"] else "no"
    example = f", most of it {lines['example']!r}" if lines["example"] else ""
    return (
        f"{copies} copies of documents{_sampled(documents['one_in'])}; {lines['share']:.1%} of the text are lines that "
        f"stood there before{_sampled(lines['one_in'])}{example}"
    )


def _sampled(one_in: int) -> str:
    return f" (by a sample of one in {one_in:,})" if one_in > 1 else ""
