"""A text by name, file, folder or standard input.

Here: finding the bytes, checking and decoding them into documents. Not here: tokens, and the cut into training
and validation parts (`nanogpt.data`). Importing this module is cheap: no torch, no numpy, no look at the disk.
"""

import contextlib
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import cache_folder, write_atomically

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394
DOWNLOAD_TIMEOUT_SECONDS = 10.0
BINARY_PROBE_BYTES = 8192
NAMES = ("shakespeare", "python")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text, as one document or several, and what a person should know about how it was read."""

    name: str
    """Short name, for run folders and tables: `shakespeare`, or the file's name without its ending."""
    source: str
    """What finds it again: a corpus name, an absolute path, or `-` for standard input."""
    documents: tuple[str, ...]
    """The texts, line ends as `\\n`."""
    notes: tuple[str, ...] = ()
    """Sentences to show: files left out, line ends changed, the default that was chosen."""

    @property
    def text(self) -> str:
        """All documents, a newline between them."""
        return "\n".join(self.documents)


class CorpusUnavailable(UserError):
    """A named corpus that cannot be had right now, for want of a network."""


def load_corpus(source: str | os.PathLike[str] | None = None, encoding: str = "utf-8") -> Corpus:
    """Read a corpus: a name (`shakespeare`, `python`), a file, a folder, or `-` for standard input.

    With no source, `shakespeare` where it can be had, else `python` with a note that says so. A corpus that was
    named is never replaced by another. A name wins over a file of the same name: write `./python` for the file.

    Raises UserError for a missing file, a folder without text, an empty or binary text, or bytes that are not
    in `encoding`; CorpusUnavailable where `shakespeare` was named and can be had neither from disk nor network.
    """
    if source is None:
        return _default_corpus()
    name = os.fspath(source)
    if name == "shakespeare":
        return _shakespeare()
    if name == "python":
        return _python_sources()
    if name == "-":
        return _from_bytes(sys.stdin.buffer.read(), "standard input", "-", "stdin", encoding)
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path, encoding)
    if not path.exists():
        raise UserError(
            f"no file or folder {name!r}; give a path, '-' for standard input, or one of the named corpora: "
            f"{', '.join(NAMES)}"
        )
    return _from_bytes(_read(path), str(path), str(path.resolve()), path.stem, encoding)


def decode_text(data: bytes, where: str, encoding: str = "utf-8") -> str:
    r"""Bytes to text: a byte-order mark is dropped, and line ends `\r\n` and `\r` become `\n`.

    Raises UserError, naming `where`, for binary data and for bytes that are not in `encoding`.

    >>> decode_text(b"caf\xc3\xa9\r\n", "menu.txt")
    'café\n'
    """
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{where} is in UTF-16, not UTF-8; read it with --encoding utf-16")
        if b"\0" in data[:BINARY_PROBE_BYTES]:
            offset = data.index(b"\0")
            raise UserError(f"{where} is a binary file (byte {offset:,} is 0), not a text; give a plain text file")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{where} is not {encoding}: byte 0x{data[error.start]:02x} at offset "
            f"{error.start:,} (line {line:,}) does not fit; name its encoding, for example --encoding latin-1 or "
            f"--encoding cp1252, or save the file as UTF-8"
        ) from None
    except LookupError:
        raise UserError(f"unknown encoding {encoding!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _default_corpus() -> Corpus:
    try:
        return _shakespeare()
    except CorpusUnavailable as error:
        note = f"{error.args[0].split(';')[0]}: reading 'python' instead, the source of Python's standard library"
        python = _python_sources()
        return Corpus(name=python.name, source=python.source, documents=python.documents, notes=(note,))


def _shakespeare() -> Corpus:
    """Tiny Shakespeare (karpathy/char-rnn): from `NANOGPT_DATA`, else the cache, else downloaded once."""
    for folder in _data_folders():
        path = folder / "shakespeare.txt"
        if path.is_file():
            data = _read(path)
            _check_shakespeare(data, str(path))
            break
    else:
        data = _download(SHAKESPEARE_URL, SHAKESPEARE_BYTES)
        write_atomically(cache_folder() / "shakespeare.txt", data)
    text = decode_text(data, "shakespeare")
    return Corpus(name="shakespeare", source="shakespeare", documents=(text,))


def _data_folders() -> Iterator[Path]:
    if given := os.environ.get("NANOGPT_DATA"):
        if not Path(given).is_dir():
            raise UserError(f"NANOGPT_DATA is {given!r}, which is not a folder; correct it or unset it")
        yield Path(given)
    yield cache_folder()


def _check_shakespeare(data: bytes, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != SHAKESPEARE_SHA256:
        raise UserError(
            f"{where} is not Tiny Shakespeare: its SHA-256 is {found[:16]}…, not {SHAKESPEARE_SHA256[:16]}…; "
            f"delete or rename the file, or train on it by its path"
        )


def _download(url: str, limit_bytes: int) -> bytes:
    """Fetch at most `limit_bytes`; raises CorpusUnavailable where the network or the server does not answer."""
    import http.client
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
            data = answer.read(limit_bytes + 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CorpusUnavailable(
            f"'shakespeare' is not on this machine and could not be downloaded ({reason}); connect to the network "
            f"once, set NANOGPT_DATA to a folder that holds shakespeare.txt, or use 'python' or a file of your own"
        ) from None
    if len(data) > limit_bytes or hashlib.sha256(data).hexdigest() != SHAKESPEARE_SHA256:
        raise CorpusUnavailable(
            f"{url} answered with something that is not Tiny Shakespeare (a sign-in page of the network?); nothing was "
            f"kept. Try again later, or set NANOGPT_DATA to a folder that holds shakespeare.txt"
        )
    return data


def _python_sources() -> Corpus:
    """The standard library that comes with this interpreter, a file a document, without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    left_out = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    documents = []
    for path in sorted(root.rglob("*.py")):
        if left_out.isdisjoint(path.relative_to(root).parts):
            # A source in another encoding is left out: this corpus is the one that is always there.
            with contextlib.suppress(UserError):
                documents.append(decode_text(_read(path), str(path)))
    documents = [text for text in documents if text]
    if not documents:
        raise UserError(f"no Python sources below {root}; name another corpus, or a file of your own")
    return Corpus(name="python", source="python", documents=tuple(documents))


def _from_bytes(data: bytes, where: str, source: str, name: str, encoding: str) -> Corpus:
    text = decode_text(data, where, encoding)
    if not text.strip():
        raise UserError(f"{where} is empty: there is nothing to learn from; give a file with some text in it")
    notes = ("line ends \\r\\n are read as \\n",) if b"\r\n" in data else ()
    return Corpus(name=name, source=source, documents=(text,), notes=notes)


def _from_folder(folder: Path, encoding: str) -> Corpus:
    """Every text file below a folder, in the order of their paths; hidden and binary ones are left out."""
    documents, binary = [], []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not path.is_file():
            continue
        data = _read(path)
        if b"\0" in data[:BINARY_PROBE_BYTES] and "16" not in encoding and "32" not in encoding:
            binary.append(str(inside))
        elif text := decode_text(data, str(path), encoding):
            documents.append(text)
    if not any(text.strip() for text in documents):
        raise UserError(f"no text below the folder {str(folder)!r}; put .txt files there, or name a file")
    notes = (f"left out {len(binary)} binary file(s): {', '.join(binary[:3])}" + (" …" if binary[3:] else ""),)
    return Corpus(
        name=folder.resolve().name or "folder",
        source=str(folder.resolve()),
        documents=tuple(documents),
        notes=notes if binary else (),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}; check its permissions") from None
