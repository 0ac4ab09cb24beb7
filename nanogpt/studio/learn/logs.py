"""What a training's process said last, as its log has it."""

import re
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import check_plain

TAIL_BYTES = 30_000
MOST_LINES = 12

_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def read_tail(log: Path) -> str:
    """The end of a log; empty where there is none. Signs that steer a terminal are left out."""
    try:
        check_plain(log, within=log.parent)
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return _NOT_TEXT.sub("", file.read(TAIL_BYTES).decode("utf-8", "replace"))
    except (UserError, OSError):
        return ""


def last_words(said: str) -> str:
    """The last lines that say anything, for a person who wants to know why it ended."""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    return "\n".join(lines[-MOST_LINES:])
