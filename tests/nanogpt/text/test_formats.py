"""Documents: what is read of each kind of file, and files that are damaged, protected or made to harm."""

import io
import sys
import zipfile
from pathlib import Path

import pytest
from tiny import refuses

pytest.importorskip("lxml", reason="needs lxml, pypdf and striprtf: pip install 'nanogpt[documents]'")

from nanogpt.text import records
from nanogpt.text.corpus import load_corpus
from nanogpt.text.readers import plain_blocks

PAGE = """<!DOCTYPE html><html><head><title>T</title><style>p {}</style></head><body><nav>Home</nav>
<!-- not seen --><h1>A <b>great</b>  day</h1><p>Caf&eacute; &amp;\n&#8364;5<br>be&shy;low&nbsp;it<script>1 < 2</script></p>
<pre hidden>gone</pre><pre>a\n  b</pre><table><tr><td>x</td><td>y</td></tr></table><ruby>漢<rt>kan</rt></ruby></body></html>"""
SEEN = "A great day\nCafé & €5\nbelow it\na\n  b\nx\ty\n漢\n"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
WORD = f"""<?xml version="1.0"?><w:document {W}><w:body>
 <w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">One  </w:t></w:r><w:r><w:t>two</w:t></w:r></w:p>
 <w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:instrText>PAGE</w:instrText><w:t>a</w:t><w:tab/><w:t>b</w:t></w:r></w:p>
 <w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t><w:br/><w:t>end</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"""
CONTAINER = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
PACKAGE = """<package><manifest><item id="b" href="b%20c.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="../a.xhtml" media-type="application/xhtml+xml"/><item id="i" href="i.jpg" media-type="image/jpeg"/>
<item id="n" href="n.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="b"/><itemref idref="i"/><itemref idref="n" linear="no"/><itemref idref="a"/></spine></package>"""
CHAPTER = '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><p>{}&nbsp;!</p></body></html>'
EPUB = {
    "META-INF/container.xml": CONTAINER,
    "OPS/book.opf": PACKAGE,
    "a.xhtml": CHAPTER.format("last"),
    "OPS/b c.xhtml": CHAPTER.format("first"),
    "OPS/n.xhtml": CHAPTER.format("aside"),
}
LOCK = '<encryption><EncryptedData><CipherReference URI="{}"/></EncryptedData></encryption>'
MAIL = b"""Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from me\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=X\r\n\r\n--X\r
Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSch=F6n=\r\n!\r\n--X\r
Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nlist\r\n--X--\r\n"""
PLAIN = (
    b"Subject: two\nContent-Type: text/plain; charset=no-such\nContent-Transfer-Encoding: base64\n\nw6kKRnJvbSB5b3U=\n"
)
WEB_MAIL = b"Content-Type: text/html; charset=koi8-r\n\n<p>\xd0\xd2\xc9</p><p>3 &lt; 5</p>\n>From x\nFrom y\n"
BOX = b"From a@b Mon\n" + MAIL + b"\n\nFrom b Tue\n\n\nFrom c Wed\n" + PLAIN + b"\nFrom d Thu\n" + WEB_MAIL
SRT = "1\r\n00:00:01,000 --> 00:00:02,000\r\n<i>Hello</i> {\\an8}there\r\n42\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\nI <3 &amp; you\r\n3\r\n00:00:05,000 --> 00:00:06,000\r\nBye\r\n"
VTT = "WEBVTT - t\nKind: captions\n\nNOTE a --> b\n\nSTYLE\n::cue {}\n\nname\n00:01.000 --> 00:02.000 align:start\n<v Bob>Hi<00:01.500><c> all</c>\n\n01:00:01.000 --> 01:00:02.000\nHi all\nEnd\n"


def zipped(parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def pdf(*pages):
    """A .pdf file whose pages each show a line."""
    kids = " ".join(f"{3 + 2 * n} 0 R" for n in range(len(pages)))
    parts = ["<</Type/Catalog/Pages 2 0 R>>", f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>"]
    for n, page in enumerate(pages):
        font = "<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
        parts.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Resources{font}/Contents {4 + 2 * n} 0 R>>")
        drawn = f"BT /F 12 Tf 20 200 Td ({page}) Tj ET" if page else ""
        parts.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
    body = b"%PDF-1.4\n"
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(body))
        body += f"{number} 0 obj{part}endobj\n".encode()
    table = "".join(f"{at:010} 00000 n \n" for at in places)
    head = f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer<</Root 1 0 R/Size {len(parts) + 1}>>"
    return body + f"{head}\nstartxref\n{len(body)}\n%%EOF".encode()


def read(name, data, **settings):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return load_corpus(name, **settings).documents


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("page.html", PAGE, [SEEN]),
        ("page.htm", PAGE.replace("UTF-8", "").encode("utf-16"), [SEEN]),
        ("deep.html", "<p>a" * 3000 + "</p><nav>" + "<div>" * 9000, ["a\n" * 3000]),
        ("book.epub", zipped(EPUB), ["first !\nlast !\n"]),
        ("fonts.epub", zipped(EPUB | {"META-INF/encryption.xml": LOCK.format("OPS/font.otf")}), ["first !\nlast !\n"]),
        ("letter.docx", zipped({"word/document.xml": WORD}), ["One  two\na\tb\ncell\nend\n"]),
        ("letter.rtf", r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}Caf\'e9 \u8364?\par\b two\b0\par}", ["Café €\ntwo\n"]),
        ("two.pdf", pdf("One day", "", "Next"), ["One day\n\nNext"]),
        ("film.srt", SRT, ["Hello there\n42\nI <3 & you\nBye\n"]),
        ("film.vtt", VTT, ["Hi all\nEnd\n"]),
        ("one.eml", MAIL, ["Grüße from me\nSchön!\n"]),
        ("in.mbox", BOX, ["Grüße from me\nSchön!\n", "two\né\nFrom you\n", "при\n3 < 5\nFrom x From y\n"]),
        ("mail/mbox", BOX, ["Grüße from me\nSchön!\n", "two\né\nFrom you\n", "при\n3 < 5\nFrom x From y\n"]),
    ],
)  # fmt: skip
def test_what_is_read(name, data, texts):
    assert list(read(name, data)) == texts
    assert (plain_blocks(Path(name)) is None) == (Path(name).suffix not in (".srt", ".vtt"))


@pytest.mark.parametrize(
    ("said", "kept", "settings"),
    [("", "utf-8", {}), ("iso-8859-1", "cp1252", {}), ("utf-16", "utf-8", {}), ("latin-1", "utf-8", {}),
     ("koi8-r", "cp1252", {"encoding": "cp1252"}), ("bogus", "utf-8-sig", {})],
)  # fmt: skip
def test_the_encoding_of_a_page(said, kept, settings):
    page = f'<meta charset="{said}"><p>“é”' if said else "<p>“é”"
    assert read("page.html", page.encode(kept), **settings) == ("“é”\n",)


def test_an_encoding_of_ascii_bytes_and_one_that_nobody_names():
    assert read(
        "p.html", '<meta http-equiv=Content-Type content="text/html; charset=iso-2022-jp"><p>日本'.encode("iso-2022-jp")
    ) == ("日本\n",)
    refuses(lambda: read("p.html", b"<p>\xe9"), "p.html is not utf-8", "--encoding")


def test_mail_without_text_is_counted():
    Path("in.mbox").write_bytes(BOX)
    corpus = load_corpus("in.mbox")
    assert len(corpus.documents) == 3
    assert corpus.notes == ("left out 1 record without text in in.mbox",)


BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.docx", b"PK\3\4 not a zip", ["cannot read 'a.docx' as a .docx file", "zip"]),
        ("a.docx", zipped({"other": "x"}), ["cannot read 'a.docx'"]),
        ("a.docx", zipped({"word/document.xml": BOMB + "<d>&b;</d>"}), ["document.xml defines entities"]),
        ("a.docx", zipped({"word/document.xml": WORD.replace("</w:body>", "")}), ["cannot read 'a.docx'"]),
        ("a.docx", zipped({"word/document.xml": f"<w:document {W}/>"}), ["a.docx has no text"]),
        ("a.docx", zipped({"word/document.xml": " " * 3000 + WORD}), ["a.docx/word/document.xml is larger than", "decompressed"]),
        ("a.epub", zipped(EPUB | {"META-INF/encryption.xml": LOCK.format("a.xhtml")}), ["a.epub", "DRM"]),
        ("a.epub", zipped(EPUB | {"a.xhtml": "long" * 300, "OPS/book.opf": PACKAGE.replace("<spine>", "<spine>" + '<itemref idref="a"/>' * 7)}), ["a.epub", "longer than 4,001 characters"]),
        ("a.epub", zipped({"mimetype": "x"}), ["a.epub", "container.xml"]),
        ("a.rtf", "Dear", ["a.rtf", "{\\rtf"]),
        ("a.pdf", b"%PDF-1.4\nnothing", ["cannot read 'a.pdf' as a .pdf file"]),
        ("a.pdf", pdf("", ""), ["a.pdf has 2 pages without text", "OCR"]),
        ("a.html", "<p>" * 2000, ["a.html is larger than 0 MB"]),
        ("a.html", "", ["a.html has no text"]),
        ("a.mbox", b"Subject: x\n\ny\n", ["a.mbox is not a mailbox"]),
        ("a.mbox", b"From a\n" + b"x\n" * 3000, ["a.mbox: a message is larger than"]),
        ("a.srt", b"\0\1\2", ["a.srt is a binary file"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_read(monkeypatch, name, data, words):
    monkeypatch.setattr(records, "LONGEST_RECORD_BYTES", 3001)
    monkeypatch.setattr(records, "LARGEST_FILE_BYTES", 4001)
    refuses(lambda: read(name, data), *words)


def test_a_pdf_that_needs_a_password():
    pypdf = pytest.importorskip("pypdf")
    writer = pypdf.PdfWriter(io.BytesIO(pdf("secret")))
    for password in ("", "open"):
        writer.encrypt(password, "owner", algorithm="RC4-128")
        file = io.BytesIO()
        writer.write(file)
        if password:
            Path("a.pdf").write_bytes(file.getvalue())
            refuses(lambda: load_corpus("a.pdf").documents, "a.pdf needs a password")
        else:
            assert read("a.pdf", file.getvalue()) == ("secret",)


@pytest.mark.parametrize(
    ("name", "module"),
    [("a.html", "lxml.etree"), ("a.epub", "lxml.etree"), ("a.rtf", "striprtf.striprtf"), ("a.pdf", "pypdf")],
)
def test_a_missing_library(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    data = zipped(EPUB) if name == "a.epub" else b"x"
    library = module.partition(".")[0]
    words = [name, f"{library} is not installed: pip install 'nanogpt[documents]'"]
    refuses(lambda: read(name, data), *words)
    Path("folder").mkdir()
    Path("folder", name).write_bytes(data)
    refuses(
        lambda: load_corpus("folder").documents,
        "no text in the folder 'folder'",
        f"1 file that only {library} reads",
        name,
    )
    Path("folder/b.txt").write_text("words")
    corpus = load_corpus("folder")
    assert corpus.documents == ("words",)
    assert corpus.notes == (f"left out 1 file that only {library} reads (pip install 'nanogpt[documents]'): {name}",)
