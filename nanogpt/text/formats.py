"""The text of documents: pages of the web, books, letters, subtitles and mail, each read by a library made for it.

A file is one document, a mailbox one per message. A file is held in memory, so it has a limit (`records.py`).
"""

import email
import email.header
import html
import io
import logging
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.message import Message
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

from nanogpt.errors import UserError, counted
from nanogpt.text import records
from nanogpt.text.chunks import Chunk, Notes, Unreadable, chunks_of, decode_blocks, decode_text, unify_line_ends


class Markup(NamedTuple):
    """Which elements matter to the text of a document, by their names without a namespace."""

    lines: str  # begin and end a line
    skipped: str  # are left out, with all that is in them
    marks: dict[str, str]  # stand for characters
    verbatim: str  # keep their spaces and line ends
    only_verbatim: bool = False  # there is no text outside those


HTML = Markup(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr legend li main ol p pre section summary table tbody tfoot thead tr ul",
    "button head iframe nav noscript object rp rt script select style svg template",
    {"br": "\n", "td": "\t", "th": "\t"},
    "pre",
)
WORD = Markup(  # skips tab stops, text that was moved away, and second copies of text boxes
    "p", "pPr moveFrom Fallback", {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}, "t", True
)
_SPACES = re.compile(r"[ \t\n\r\f\xa0]+")
_CHARSET = re.compile(rb"<(?:meta|\?xml)\b[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_TIMES = re.compile(r"\s*(?:\d+:)?\d+:\d+[.,]\d+\s*-->")
_TAGS = re.compile(r"</?(?:[A-Za-z]|\d+:)[^<>]*>|\{\\[^{}]*\}")


def document(read: Callable[[BinaryIO, str, str], str]) -> Callable[..., Iterator[Chunk]]:
    """Turn a function of (stream, name, encoding) that returns a text into a reader; damage becomes Unreadable."""

    @wraps(read)
    def read_document(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
        try:
            text = read(stream, where, encoding)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # libraries raise many kinds for damaged files
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise Unreadable(
                f"cannot read {where!r} as a {Path(where).suffix} file: {reason}; save it again, or as .txt",
                "damaged file(s)",
            ) from None
        if not text.strip():
            raise Unreadable(f"{where} has no text; name another file", "file(s) without text")
        yield from chunks_of([unify_line_ends(records.replace_surrogates(text), {})])

    return read_document


class TextTarget:
    """Collects the text of a document from the events of lxml's parsers, without blank lines; builds no tree."""

    def __init__(self, markup: Markup) -> None:
        self.markup = markup
        self._breaking, self._skipping, self._keeping = map(str.split, (markup.lines, markup.skipped, markup.verbatim))
        self._text = io.StringIO()
        self._line: list[str] = []  # parts of the line being read
        self._skipped = self._verbatim = 0  # depth of elements

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Enter an element."""
        name = tag.rpartition("}")[2]
        self._end_line(name)
        if self._skipped or name in self._skipping or "hidden" in attributes:
            self._skipped += 1
        else:
            self._verbatim += name in self._keeping
            self._line.append(self.markup.marks.get(name, ""))

    def end(self, tag: str) -> None:
        """Leave an element."""
        name = tag.rpartition("}")[2]
        self._end_line(name)
        if self._skipped:
            self._skipped -= 1
        else:
            self._verbatim -= name in self._keeping

    def data(self, text: str) -> None:
        """Take some text."""
        if not self._skipped and (self._verbatim or not self.markup.only_verbatim):
            self._line.append(text if self._verbatim else _SPACES.sub(" ", text))

    def close(self) -> str:
        """Return the whole text."""
        self._end_line(self._breaking[0])
        return self._text.getvalue()

    def _end_line(self, name: str) -> None:
        if name in self._breaking and not self._skipped:
            kept = self._verbatim or self.markup.only_verbatim
            for one in "".join(self._line).split("\n"):
                line = one.rstrip() if kept else re.sub(" +", " ", one).strip()
                self._text.write(line and line + "\n")
            self._line.clear()


def _html_text(text: str, where: str) -> str:
    """Return what a page shows, without soft hyphens. XHTML is read in the same way."""
    etree = records.import_optional("lxml.etree", f"{where} has HTML", "documents")
    data = text.replace("\0", "").encode()
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True, target=TextTarget(HTML))
    return str(etree.fromstring(data, parser)).replace("\xad", "") if data.strip() else ""


def _decode_html(data: bytes, where: str, encoding: str) -> str:
    """Decode by a byte-order mark, as UTF-8, or as the page says; another `encoding` than UTF-8 goes first."""
    named = [
        re.sub("(?i)^(iso-8859-1|latin-?1|us-ascii)$", "cp1252", one.decode()) for one in _CHARSET.findall(data[:4096])
    ]
    tries = ["utf-16"] if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", *named]
    for one in tries if b"\x1b$" not in data else tries[::-1]:  # the bytes of ISO-2022-JP are ASCII
        with suppress(LookupError, UnicodeError):
            return data.decode(one if encoding == "utf-8" else encoding)
    return decode_text(data, where, encoding)


@document
def read_html(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the visible text of a web page."""
    return _html_text(_decode_html(records.read_whole(stream, where), where, encoding), where)


def _parse_xml(archive: zipfile.ZipFile, name: str, where: str, markup: Markup | None = None) -> Any:
    """Parse a part of a document: return its tree, or its text by `markup`. Nothing is fetched, no entity expanded."""
    etree = records.import_optional("lxml.etree", f"{where} is a {Path(where).suffix} file", "documents")
    if b"<!ENTITY" in (data := _part(archive, name, where)):  # a few could stand for gigabytes
        raise ValueError(f"{name} defines entities, which are not expanded")
    target = None if markup is None else TextTarget(markup)
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, target=target))


def _part(archive: zipfile.ZipFile, name: str, where: str) -> bytes:
    with archive.open(name) as part:
        return records.read_whole(part, f"{where}/{name}")


def _limited(texts: Iterator[str]) -> Iterator[str]:
    """Pass parts of a text on; raise ValueError if it becomes too long."""
    length = 0
    for text in texts:
        yield text
        length += len(text)
        if length > records.LARGEST_FILE_BYTES:
            raise ValueError(f"its text is longer than {records.LARGEST_FILE_BYTES:,} characters")


@document
def read_epub(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the chapters of a book in the order in which they are read."""
    with zipfile.ZipFile(records.seekable(stream, where)) as book:
        root = next(_parse_xml(book, "META-INF/container.xml", where).iter("{*}rootfile")).get("full-path")
        package = _parse_xml(book, root, where)
        items = {one.get("id"): one for one in package.iter("{*}item") if "html" in one.get("media-type", "")}
        order = [one.get("idref") for one in package.iter("{*}itemref") if one.get("linear") != "no"]
        links = [unquote(items[one].get("href")) for one in order if one in items]
        paths = [posixpath.normpath(posixpath.join(posixpath.dirname(root), link)) for link in links]
        if (encryption := "META-INF/encryption.xml") in book.namelist():  # it also lists fonts
            listed = _parse_xml(book, encryption, where).iter("{*}CipherReference")
            if {unquote(one.get("URI")) for one in listed}.intersection(paths):
                raise Unreadable(f"{where} is protected by DRM, so it cannot be read", "file(s) protected by DRM")
        pages = (_html_text(_decode_html(_part(book, path, where), where, "utf-8"), where) for path in paths)
        return "".join(_limited(page for page in pages if page.strip()))


@document
def read_docx(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the paragraphs of a `.docx` file, also those in tables; without notes and deleted text."""
    with zipfile.ZipFile(records.seekable(stream, where)) as letter:
        name = next(name for name in letter.namelist() if re.fullmatch(r"word/document\d*\.xml", name))
        return str(_parse_xml(letter, name, where, WORD))


@document
def read_rtf(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the text of a letter in the Rich Text Format, which names its encoding itself."""
    convert = records.import_optional("striprtf.striprtf", f"{where} is an .rtf file", "documents").rtf_to_text
    data = records.read_whole(stream, where)
    if not data.lstrip().startswith(b"{\\rtf"):
        raise ValueError("it does not begin with {\\rtf")
    return str(convert(data.decode("latin-1"), errors="replace"))


@document
def read_pdf(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the text of a `.pdf` file page by page, with its line ends."""
    pypdf = records.import_optional("pypdf", f"{where} is a .pdf file", "documents")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports each small fault of a file
    file = pypdf.PdfReader(records.seekable(stream, where))
    if file.is_encrypted and not file.decrypt(""):
        raise Unreadable(f"{where} needs a password: save it without one", "file(s) with a password")
    pages = list(_limited(page.extract_text() for page in file.pages))
    if not any(map(str.strip, pages)):
        found = f"{where} has {counted(len(pages), 'page')} without text, as scanned ones are"
        raise Unreadable(f"{found}: let a program for OCR add it", "file(s) without text (scanned?)")
    return "\n".join(pages)


@document
def read_subtitles(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the spoken lines of a `.srt` or `.vtt` file, without numbers, times and tags."""
    text = "".join(decode_blocks([records.read_whole(stream, where)], where, encoding, {}))
    web, spoken = text.startswith("WEBVTT"), [""]
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        rows = block.split("\n")
        times = [i for i, row in enumerate(rows) if _TIMES.match(row)]
        if web and not times:  # header, notes, styles
            continue
        names = {i - 1 for i in times if i == 1 or rows[i - 1].strip().isdigit()}
        for row in (row for i, row in enumerate(rows) if i not in names.union(times)):
            line = html.unescape(_TAGS.sub("", row)).strip()
            if line and not (web and line == spoken[-1]):  # rolling captions show a line twice
                spoken.append(line)
    return "\n".join(spoken[1:]) + "\n"


def _mail_text(data: bytes, where: str) -> str:
    """Return the subject and the text of a message, as it was written or from its HTML; no headers, no attachments."""
    with suppress(AttributeError, LookupError, RecursionError, TypeError):  # of malformed messages
        message = email.message_from_bytes(data)
        subject: Any = str(message.get("subject", ""))[:2000]  # decoding takes the square of the time
        with suppress(LookupError, ValueError):
            subject = email.header.make_header(email.header.decode_header(subject))
        parts = [one for one in message.walk() if one.get_content_disposition() != "attachment"]
        texts = [_decode_mail(one) for one in parts if one.get_content_type() == "text/plain"]
        if not any(map(str.strip, texts)):
            pages = [_decode_mail(one) for one in parts if one.get_content_type() == "text/html"]
            texts = [_html_text(page, where) for page in pages]
        lines = [" ".join(str(subject).split()), *map(str.strip, texts)]
        return "".join(line + "\n" for line in lines if line)
    return ""


def _decode_mail(part: Message) -> str:
    data: Any = part.get_payload(decode=True)
    for name in (part.get_content_charset("utf-8"), "utf-8"):
        with suppress(LookupError, UnicodeError):
            return str(data.decode(name))
    return str(data.decode("cp1252", "replace"))


@document
def read_mail(stream: BinaryIO, where: str, encoding: str) -> str:
    """Return the subject and the text of one message."""
    return _mail_text(records.read_whole(stream, where), where)


def read_mailbox(stream: BinaryIO, where: str, encoding: str, column: str, notes: Notes) -> Iterator[Chunk]:
    """Yield one document per message of a mailbox: a line `From …` after a blank one begins a message."""
    return records.read_texts((_mail_text(data, where) for data in _messages(stream, where)), where, notes)


def _messages(stream: BinaryIO, where: str) -> Iterator[bytes]:
    message, blank = bytearray(), True
    if not stream.readline(records.LONGEST_RECORD_BYTES).startswith(b"From "):
        raise Unreadable(f"{where} is not a mailbox: its first line is not 'From …'", "damaged file(s)")
    while line := stream.readline(records.LONGEST_RECORD_BYTES):
        if blank and line.startswith(b"From "):
            yield bytes(message)
            message.clear()
        else:
            message += line[1:] if re.match(rb">+From ", line) else line
        if len(message) > records.LONGEST_RECORD_BYTES:
            raise UserError(f"{where}: a message is larger than {records.LONGEST_RECORD_BYTES / 1e6:.0f} MB; delete it")
        blank = not line.strip()
    yield bytes(message)
