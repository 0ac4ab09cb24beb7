"""Texts that were pasted or dropped: kept as files below the shelf's folder, under names of ours.

What a browser calls a file is used for its ending, and for the letters and digits of a title; never as a path. Two
uploads of one content are one file, as its hash is in the name.
"""

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath

from nanogpt.errors import UserError
from nanogpt.files import write_atomically

FOLDER = "texts"
KINDS = (".txt", ".md", ".jsonl")
"""Endings of files that may be dropped. Packed ones may not: how large they become is not known before."""
LARGEST_BYTES = 50_000_000
FEWEST_CHARACTERS = 200
LONGEST_TITLE = 40
PASTED = "pasted"


def save_text(shelf: Path, data: bytes, file_name: str = "") -> Path:
    """Keep a text and return its file. `file_name` is what the browser calls it, empty for what was pasted.

    Raises UserError for what is too large or too short, of another kind, or not UTF-8.
    """
    if len(data) > LARGEST_BYTES:
        raise too_large()
    kind = kind_of(file_name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"this text is not UTF-8 (byte {error.start:,} is {data[error.start]:#04x}): save it as UTF-8 and try again"
        ) from None
    if "\0" in text:
        raise UserError("this file holds zero bytes, so it is no text: choose a plain text")
    if len(text.strip()) < FEWEST_CHARACTERS:
        raise UserError(
            f"this text has {len(text.strip()):,} characters: give at least {FEWEST_CHARACTERS:,}, better 100,000"
        )
    if (shelf / FOLDER).is_symlink():
        raise UserError(f"{shelf / FOLDER} is a link, which is not followed: put a folder there")
    place = shelf / FOLDER / f"{title(file_name)}-{hashlib.sha256(data).hexdigest()[:8]}{kind}"
    if not place.is_file():
        write_atomically(place, text.encode())
    return place


def kind_of(file_name: str) -> str:
    """The ending that a file gets; UserError where it is none of `KINDS`."""
    found = PurePosixPath(file_name).suffix.lower() if file_name else ".txt"
    if found not in KINDS:
        raise UserError(f"a file that ends in {found[:20] or 'nothing'!r} is not taken: choose {', '.join(KINDS)}")
    return found


def title(file_name: str) -> str:
    r"""Letters, digits and hyphens of a file's name, without its ending.

    >>> title("C:\\Books\\Moby Dick (1851).txt"), title("../../é t é.md"), title("漢字.txt")
    ('moby-dick-1851', 'e-t-e', 'text')
    """
    if not file_name:
        return PASTED
    last = PurePosixPath(file_name.replace("\\", "/")).stem
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_TITLE].strip("-") or "text"


def kept_texts(shelf: Path) -> list[Path]:
    """The texts that were kept, the newest first; links are not followed."""
    folder = shelf / FOLDER
    if not folder.is_dir() or folder.is_symlink():
        return []
    found = [one for one in folder.iterdir() if one.suffix in KINDS and one.is_file() and not one.is_symlink()]
    return sorted(found, key=lambda one: one.stat().st_mtime, reverse=True)


def find_text(shelf: Path, name: str) -> Path:
    """The kept text of a name; UserError for a name that is none of theirs, whatever may stand at that path."""
    for one in kept_texts(shelf):
        if one.name == name:
            return one
    raise UserError(f"no text {name!r} is kept here: paste it again")


def too_large() -> UserError:
    """What to tell about a text beyond the limit."""
    return UserError(
        f"this text is larger than {LARGEST_BYTES / 1e6:.0f} MB: train on it by `nanogpt train FILE`, "
        "which has no limit, and watch it here"
    )
