from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt import train
from nanogpt.config import Config, load_preset
from nanogpt.text.chunks import Chunk
from nanogpt.text.cleaning import FRAME, clean_chunks, without_licence
from nanogpt.text.corpus import load_corpus

START = "*** START OF THE PROJECT GUTENBERG EBOOK A TALE ***\n"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***\n"
BOOK = "".join(f"Line {number} of the tale.\n" for number in range(31))
TERMS = "Terms of use.\n" * 19
LONG = "A line of a long book.\n" * 7001  # longer than two frames


def clean(text, how="all", step=FRAME):
    """Return a document, cleaned in chunks of `step` characters, and the notes."""
    notes = {}
    parts = [Chunk(text[at : at + step], at == 0) for at in range(0, len(text), step)]
    return "".join(chunk.text for chunk in clean_chunks(parts, how, "book.txt", notes)), [*notes]


@pytest.mark.parametrize("step", [FRAME - 1, 4099, 61])
@pytest.mark.parametrize(
    ("text", "book", "lines"),
    [
        (f"The eBook.\n\n{START}\n{BOOK}{END}{TERMS}", BOOK, 24),
        (f"The eBook.\n\n{START}{LONG}{END}{TERMS}"[:-1], LONG, 23),
        (START.replace("THE P", "THIS P").replace("*** ", "***") + BOOK + END.replace("A TALE", "A\nTALE"), BOOK, 3),
        (
            f"{TERMS}*END*THE SMALL PRINT! FOR ETEXTS*Ver.04.29.93*END*\n{BOOK}End of Project Gutenberg's Tale\n",
            BOOK,
            21,
        ),
        (f"{START}{BOOK}", BOOK, 1),
    ],
)
def test_the_licence_around_a_book_is_left_out(text, book, lines, step):
    note = f"book.txt: left out {lines:,} lines of Project Gutenberg's licence; --clean none keeps them"
    assert clean(text, "auto", step) == (book, [note])


@pytest.mark.parametrize(
    "text",
    [
        BOOK + END + TERMS,
        f"It begins with {START}{BOOK}",
        f"{START[:-4]}\n\n{BOOK}",
        LONG + START + BOOK,
        f"> {START}{BOOK}> {END}{TERMS}",
    ],
)
def test_a_line_that_is_only_quoted_stays(text):
    assert clean(text, "auto") == (text, [])


@pytest.mark.parametrize("step", [FRAME - 1, 4099])
@pytest.mark.parametrize(("lines", "is_frame"), [(FRAME // 7 - 13, True), (FRAME // 7 + 13, False)])
def test_the_lines_count_only_near_the_beginning_and_the_end(lines, is_frame, step):
    around = "A line\n" * lines
    assert clean(START + BOOK + END + around, "auto", step)[0] == (BOOK if is_frame else BOOK + END + around)
    assert clean(around + START + BOOK, "auto", step)[0] == (BOOK if is_frame else around + START + BOOK)


@pytest.mark.parametrize(
    ("text", "left", "what"),
    [
        ("---\ntitle: Tale\ntags:\n  - a\n---\nOnce.\n", "Once.\n", "5 lines of front matter"),
        ("---\nNot a: header, but\na rule.\n---\nOnce.\n", None, ""),
        ("From: a@b.org\nSubject: Tea\n  and cake\nDate: 1 May\n\nHello.\n", "\nHello.\n", "4 lines of front matter"),
        ("Note: one\nRule: two\n\nHello.\n", None, ""),
        ("<p class='x'>Once <b>upon</b>\n<br/>\na < b > c\n", "Once upon\na < b > c\n", "4 HTML tags"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\n", "red text\n", "3 escape codes"),
        ("One.\n- 12 -\nTwo.\n  Page 3 of 9\n1984\n", "One.\nTwo.\n1984\n", "2 lines of page numbers"),
        (
            "TALE 1\na\n\n1\n\fTALE 2\nb\n\n2\n\fA TALE 3\nc\n3\n\fTALE 4\n1984\nd\n\n4\n",
            "TALE 1\na\n\n1\nb\n\nA TALE 3\nc\n1984\nd\n\n",
            "5 lines of page numbers and running heads",
        ),
    ],
)
def test_what_is_probably_no_text(text, left, what):
    assert clean(text, "auto") == (text, [])
    found, notes = clean(text)
    assert (found, len(notes)) == (text if left is None else left, left is not None)
    assert all(f": left out {what}" in note and "--clean auto keeps" in note for note in notes)


PIECES = [
    START,
    END,
    "*** START OF THE PROJECT GUTENBERG EBOOK A\n",
    "\f",
    "TALE 7\n",
    "12\n",
    "Page 7\n",
    "\n",
    "---\n",
]
PIECES += [
    "title: Tale\n",
    "From: a\n",
    "Produced by a\n",
    "<p>",
    "\x1b[0",
    "m",
    "***",
    "Once ",
    "upon\n",
    "x" * 70_001,
]


@given(st.lists(st.sampled_from(PIECES), max_size=23), st.lists(st.integers(1, 47), min_size=1, max_size=5))
def test_the_result_does_not_depend_on_the_chunks(pieces, steps):
    text, parts, at = "".join(pieces), [], 0
    while at < len(text):
        step = steps[len(parts) % len(steps)] if len(parts) < 499 else len(text)
        parts.append(Chunk(text[at : at + step], at == 0))
        at += step
    notes = {}
    assert ("".join(chunk.text for chunk in clean_chunks(parts, "all", "book.txt", notes)), [*notes]) == clean(text)


def test_memory_is_bounded():
    """A book of any length passes through in parts."""
    largest = max(map(len, without_licence([START, *[LONG[:4099]] * 997, END, TERMS], Counter())))
    assert largest <= 3 * FRAME


def test_a_folder_of_books_and_its_copies():
    Path("books").mkdir()
    for name, book in {"a": BOOK, "b": "Another.\n", "c": BOOK}.items():
        Path("books", f"{name}.txt").write_text(f"The eBook {name}\n{START}{book}{END}{TERMS}")
    found = load_corpus("books", clean="auto")
    assert (found.documents, found.documents) == ((BOOK, "Another.\n", BOOK),) * 2
    assert found.notes == ("books: left out 66 lines of Project Gutenberg's licence; --clean none keeps them",)
    assert load_corpus("books", clean="all").documents == (BOOK, "Another.\n")
    assert START in load_corpus("books", clean="none").text


def test_a_new_run_is_cleaned_and_one_from_before_is_not():
    Path("mine.toml").write_text("[data]\ntokenizer = 'byte'\n")
    Path("book.txt").write_text(f"The eBook.\n{START}{BOOK}{END}{TERMS}")
    old = Config.from_dict({"format": 1, "data": {"tokenizer": "byte"}}, "config.toml")
    for config, whole in ((load_preset("lecture"), False), (load_preset("mine.toml"), False), (old, True)):
        assert (START in load_corpus("book.txt", config).text) is whole


def test_a_run_reads_its_text_again_as_it_was_cleaned(tmp_path, monkeypatch):
    Path("book.txt").write_text(f"The eBook.\n{START}{BOOK}{END}{TERMS}")
    sizes = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "progress": False, "sample_tokens": 0}
    first = train("book.txt", steps=1, out="first", **sizes)
    assert "T" not in "".join(first.tokenizer.characters)
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    assert first.tokenizer.decode(first.data().train) == BOOK
