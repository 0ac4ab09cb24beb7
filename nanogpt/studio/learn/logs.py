"""What a training said, as its log has it: the newest text that it wrote, and its last words."""

import re
from dataclasses import dataclass
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import check_plain

TAIL_BYTES = 30_000
MOST_LINES = 12

_EVALUATED = re.compile(r"^step ([\d,]+): train .+  val [\d.]+ .*$")
_OURS = re.compile(r"^(step [\d,]+(: train | diverged: )|done: |note: |nanogpt: |stopped at step |let it write: )")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Sample:
    """What the model wrote after so many steps."""

    step: int
    text: str


def read_tail(log: Path) -> str:
    """The end of a log; empty where there is none. Signs that steer a terminal are left out."""
    try:
        check_plain(log, within=log.parent)
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return _NOT_TEXT.sub("", file.read(TAIL_BYTES).decode("utf-8", "replace"))
    except (UserError, OSError):
        return ""


def newest_sample(said: str) -> Sample | None:
    """The text below the last evaluation that has one.

    >>> newest_sample("step 4: train 3.1  val 3.2000  (1 s)\\nthe cat\\n sat\\nnote: a note\\n")
    Sample(step=4, text='the cat\\n sat')
    """
    found: Sample | None = None
    step, lines, inside = 0, list[str](), False
    for line in [*said.splitlines(), "done: "]:
        evaluated = _EVALUATED.match(line)
        if evaluated or _OURS.match(line):
            if lines:
                found = Sample(step, "\n".join(lines))
            step, lines, inside = int(evaluated[1].replace(",", "")) if evaluated else 0, [], evaluated is not None
        elif inside:
            lines.append(line)
    return found


def last_words(said: str) -> str:
    """The last lines that say anything, for a person who wants to know why it ended."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    return "\n".join(lines[-MOST_LINES:])
