"""The reader for each ending of a file, and many files as one text: those of a folder or an archive, ordered by path.

Nothing of an archive is written under its own name. A `.tar` that is compressed is unpacked into a file without a name.
"""

import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO

from nanogpt.config import DataConfig
from nanogpt.errors import UserError
from nanogpt.text.chunks import READ_BYTES, Chunk, Notes, Unreadable, read_text
from nanogpt.text.corpus import ARCHIVES, endings_of, is_plain, open_bytes
from nanogpt.text.records import LARGEST_FILE_BYTES, Spool, is_file_on_disk

READERS = {
    **dict.fromkeys((".jsonl", ".ndjson"), "records.read_json_lines"),
    ".json": "records.read_json",
    **dict.fromkeys((".csv", ".tsv"), "records.read_csv"),
    ".parquet": "records.read_parquet",
    **dict.fromkeys((".html", ".htm", ".xhtml"), "formats.read_html"),
    ".epub": "formats.read_epub",
    ".docx": "formats.read_docx",
    ".rtf": "formats.read_rtf",
    ".pdf": "formats.read_pdf",
    **dict.fromkeys((".srt", ".vtt"), "formats.read_subtitles"),
    ".eml": "formats.read_mail",
    ".mbox": "formats.read_mailbox",
}
"""The function that reads a kind of file, by its ending; all others are read as plain text."""
DECODED = (".csv", ".tsv", ".srt", ".vtt")
"""Those of them whose text is in `--encoding`, as that of plain ones is."""
NESTED = (".zip", ".tar", ".tgz", ".gz", ".zst", ".bz2", ".xz", ".7z", ".rar")
MOST_FILES = 200_000
"""Files of an archive: each takes about a kilobyte of memory."""
MOST_EXPANSION = 200
"""Times that an archive may grow when it is decompressed. Texts shrink to a tenth, at most to a hundredth."""


def read_any(stream: BinaryIO, path: Path, kind: str, data: DataConfig, notes: Notes) -> Iterator[Chunk]:
    """Yield the documents of a decompressed file, or archive, with the ending `kind`."""
    if kind in ARCHIVES:
        return read_archive(stream, path, kind, data, notes)
    if kind not in READERS:
        return read_text(stream, str(path), data.encoding, notes)
    module, name = READERS[kind].split(".")
    reader = getattr(import_module(f"nanogpt.text.{module}"), name)
    found: Iterator[Chunk] = reader(stream, str(path), data.encoding, data.column, notes)
    return found


def is_chosen(inside: PurePath, pattern: str | None) -> bool:
    """Return whether a file with this path in a folder is read: not hidden, and its name or path fits the pattern."""
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and (
        pattern is None or any(fnmatchcase(one, pattern) for one in (inside.name, inside.as_posix()))
    )


def read_files(files: Iterable[tuple[str, Callable[[], Iterator[Chunk]]]], where: str, notes: Notes) -> Iterator[Chunk]:
    """Read files, given by name and reader; leave out unreadable ones and name them. Raises Unreadable if all are."""
    left_out: dict[str, list[str]] = {}
    some = False
    for name, read in files:
        begun = False
        try:
            for chunk in read():
                some = begun = True
                yield chunk
        except Unreadable as error:
            if begun:
                raise
            left_out.setdefault(error.kind, []).append(name)
    found = [
        f"left out {len(names):,} {kind.replace('(s)', 's' * (len(names) != 1))}: {', '.join(names[:3])}"
        + (" …" if names[3:] else "")
        for kind, names in left_out.items()
    ]
    if found and not some:
        raise Unreadable(f"no text in {where}: {'; '.join(found)}", "archive(s) without text")
    notes.update(dict.fromkeys(found))


def read_archive(stream: BinaryIO, path: Path, kind: str, data: DataConfig, notes: Notes) -> Iterator[Chunk]:
    """Read the files in an archive that fit `data.pattern`. Raises UserError for one that is encrypted or damaged."""
    is_zip = kind == ".zip"
    try:
        file = stream if is_file_on_disk(stream) else Spool(lambda: _unpack(stream, path)).open()
        opened: Any = zipfile.ZipFile(file) if is_zip else tarfile.TarFile(fileobj=file)
        with opened as archive:
            members = dict(_members(archive, path, is_zip))

            def read_member(name: PurePosixPath) -> Iterator[Chunk]:
                if (kind := name.suffix.lower()) in NESTED:
                    raise Unreadable(f"{path} contains the archive {name}: unpack it first", "archive(s) in an archive")
                with members[name]() as member:
                    yield from read_any(member, Path(f"{path}/{name}"), kind, data, notes)

            chosen = (name for name in sorted(members) if is_chosen(name, data.pattern))
            yield from read_files(((str(name), partial(read_member, name)) for name in chosen), str(path), notes)
    except (zipfile.BadZipFile, tarfile.TarError, NotImplementedError) as error:
        raise UserError(f"{path} is damaged or of an unknown kind: {error}; unpack it, name the folder") from None


def _members(archive: Any, path: Path, is_zip: bool) -> Iterator[tuple[PurePosixPath, Callable[[], Any]]]:
    """Yield the files of an archive, folders and links excluded, by name and a function that opens them."""
    for number, one in enumerate(archive.infolist() if is_zip else archive):
        if number > MOST_FILES:
            raise UserError(f"{path} has more than {MOST_FILES:,} entries: unpack it, and name the folder")
        if is_zip and one.flag_bits & 1:
            raise Unreadable(f"{path} is encrypted: unpack it by its password, name the folder", "encrypted archive(s)")
        if is_zip and one.compress_type == zipfile.ZIP_LZMA:  # the file sets how much memory it takes
            raise NotImplementedError("compressed by LZMA")
        if is_zip and not one.is_dir():
            yield PurePosixPath(one.filename), partial(archive.open, one)
        elif not is_zip and one.isreg():
            yield PurePosixPath(one.name), partial(archive.extractfile, one)


def _unpack(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    left = max(LARGEST_FILE_BYTES, MOST_EXPANSION * path.stat().st_size)
    while block := stream.read(READ_BYTES):
        left -= len(block)
        if left < 0:
            raise UserError(f"{path} expands to more than {MOST_EXPANSION} times its size: unpack it, name the folder")
        yield block


def plain_blocks(path: Path) -> Iterator[bytes] | None:
    """Return the bytes of a file of text in some encoding, decompressed, in blocks; None for another kind of file."""
    kind, compression = endings_of(path)
    if not path.is_file() or not (kind in DECODED or is_plain(path)):
        return None

    def blocks() -> Iterator[bytes]:
        with open_bytes(path, compression) as stream:
            yield from iter(lambda: stream.read(READ_BYTES), b"")

    return blocks()
