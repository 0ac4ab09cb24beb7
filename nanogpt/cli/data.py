"""Check a text before training on it, and say what to fix first.

The report covers encoding, rare characters, repetition, what the training and validation parts share, the amount of
text compared with a model's size, and the tokenizer that suits it.

Examples:
  nanogpt data check book.txt
  nanogpt data check texts --json
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nanogpt.cli.arguments import TextOptions, option, parser_of, positional
from nanogpt.config import DEFAULT_PRESET, load_preset
from nanogpt.errors import UserError, counted


@dataclass(frozen=True, kw_only=True)
class Data(TextOptions):
    """Options of `nanogpt data`."""

    command: Literal["check"] = positional("COMMAND")
    """check (the only action)"""
    text: tuple[str, ...] = positional("TEXT", ())
    """text, as for nanogpt train (default: shakespeare, if available)"""
    preset: str = option("NAME", DEFAULT_PRESET)
    """model to compare with the amount of text"""
    json: bool = False
    """print JSON, for scripts"""


parser = partial(parser_of, Data, "data", __doc__)


def main(argv: Sequence[str]) -> None:
    """Check the text and print a report."""
    options = Data(**parser().read(argv or ["--help"]))
    report = check(options)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else "\n".join(lines(report)))


def check(options: Data) -> dict[str, Any]:
    """Return all that was measured, as tables ready for JSON."""
    from nanogpt.model.parameters import count_parameters
    from nanogpt.text.advice import find_faults, fit_tokenizers, interpret_overlap, recommend_tokenizer
    from nanogpt.text.bpe import DEFAULT_VOCABULARY, SAMPLE_BYTES_PER_TOKEN, sample_texts
    from nanogpt.text.chunks import cut_chunks
    from nanogpt.text.inspection import detect_encoding, inspect_chunks
    from nanogpt.text.readers import plain_blocks

    config = load_preset(options.preset)
    corpus = options.corpus(
        options.text or None, config
    )  # before the file is read: it raises UserError for a missing one
    path = Path(options.text[0]).expanduser() if len(options.text) == 1 else Path()
    blocks = plain_blocks(path)
    raw = None if blocks is None else detect_encoding(blocks, options.encoding)
    faults = []
    try:
        found = inspect_chunks(*corpus.split())
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
        corpus = options.corpus(options.text or None, config)
        found = inspect_chunks(*corpus.split())
    texts = (chunk.text for chunk in cut_chunks(corpus.split()[0]))
    sample = sample_texts(texts, DEFAULT_VOCABULARY * SAMPLE_BYTES_PER_TOKEN, config.train.seed)
    tokenizer, reason = recommend_tokenizer(found.bytes, found.distinct, found.rare)
    fits = fit_tokenizers(found, config, sample, lambda model: count_parameters(model).total)
    return {
        "text": corpus.name,
        "encoding": options.encoding,
        "line_ends": None if raw is None else {"crlf": raw.crlf, "lf": raw.lf, "cr": raw.cr},
        **asdict(found),
        "validation": corpus.scan().validation,
        "meaning_of_overlap": interpret_overlap(found),
        "preset": options.preset,
        "fits": [asdict(fit) for fit in fits],
        "advice": {"tokenizer": tokenizer, "reason": reason},
        "notes": list(corpus.notes),
        "faults": faults + find_faults(found, tokenizer, corpus.scan().held_out),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield a report for the terminal."""
    train, val = report["train_characters"], report["characters"] - report["train_characters"]
    rows = {
        "text": report["text"],
        "encoding": report["encoding"] + _line_ends(report["line_ends"]),
        "size": f"{counted(report['characters'], 'character')}, {counted(report['bytes'], 'byte')} of UTF-8, "
        f"{counted(report['documents'], 'document')}",
        "parts": f"{train:,} characters to train on, {val:,} to validate on: {report['validation']}",
        "characters": _characters(report),
        "repeated": _repeated(report["repeated_documents"], report["repeated_lines"]),
        "overlap": f"{report['overlap']['share']:.1%} of the validation part's windows of 50 characters are in the "
        f"training part, too{_sampled(report['overlap']['one_in'])}; {report['meaning_of_overlap']}",
        "advice": f"--tokenizer {report['advice']['tokenizer']}: {report['advice']['reason']}",
    }
    for name, value in rows.items():
        yield f"{name:<12}{value}"
    yield from (f"{'note':<12}{note}" for note in report["notes"])
    yield from (f"{'fix':<12}{fault}" for fault in report["faults"])
    yield f"\nthe training part in the tokens of each tokenizer, and the model of --preset {report['preset']}:"
    yield (
        f"{'':<6}{'bytes/token':>12}{'tokens':>15}{'vocabulary':>12}{'parameters':>12}{'vocabulary share':>18}"
        f"{'epoch':>16}"
    )
    for fit in report["fits"]:
        yield (
            f"{fit['tokenizer']:<6}{fit['bytes_per_token']:>12.2f}{fit['tokens']:>15,}{fit['vocab_size']:>12,}"
            f"{fit['parameters']:>12,}{fit['vocabulary_share']:>18.0%}{counted(fit['steps_per_epoch'], 'step'):>16}"
        )


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
        return f"{report['distinct']:,} distinct, all at least {RARE} times"
    examples = ", ".join(f"{name_character(character)} ({count})" for character, count in report["rarest"])
    more = " …" if report["rare"] > len(report["rarest"]) else ""
    return f"{report['distinct']:,} distinct, {report['rare']:,} of them fewer than {RARE} times: {examples}{more}"


def _repeated(documents: dict[str, Any], lines: dict[str, Any]) -> str:
    copies = f"about {documents['copies']:,}" if documents["copies"] else "no"
    example = f", most of it {lines['example']!r}" if lines["example"] else ""
    return (
        f"{copies} copies of documents{_sampled(documents['one_in'])}; {lines['share']:.1%} of the text are lines that "
        f"occurred before{_sampled(lines['one_in'])}{example}"
    )


def _sampled(one_in: int) -> str:
    return f" (by a sample of one in {one_in:,})" if one_in > 1 else ""
