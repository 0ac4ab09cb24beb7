"""What is one document: lines, pieces between separators, files; and which documents are held out."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.config import load_preset
from nanogpt.text.chunks import Chunk, chunks_of, hold_out_documents
from nanogpt.text.corpus import Corpus, load_corpus
from nanogpt.text.scan import divide, recognize

NAMES = [f"{first}{middle}{last}" for first in ("An", "Bo", "Ce") for middle in "aeiou" for last in ("na", "ra", "lf")]
VERSE = "Where the bee sucks, there suck I,\nIn a cowslip's bell I lie;\n" * 30
CODE = "def add(a, b):\n    return a + b\n\nprint(add(2, 3))\n" * 30
CHAT = "".join(f"{n}:31 Ana: are you there\n{n}:32 Bo: yes\n" for n in range(10, 60))
WRAPPED = "\n".join(f"the {n} cats that we had seen at the river ran away from" for n in range(90))


def of(*texts):
    return [Chunk(text, number == 0) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\n".join(NAMES) + "\n", "lines"),
        ("\n".join(NAMES), "lines"),
        ("\n".join(f"The {name} of {name[::-1]}" for name in NAMES), "lines"),  # titles
        ("\n".join(chr(0x4E00 + 7 * n) * (1 + n % 3) for n in range(90)), "lines"),
        ("one joke\n%\nanother,\nlonger\n%\na third\n%\n", "%"),
        ("one<|endoftext|>\ntwo\n<|endoftext|>three\n<|endoftext|>\n", "<|endoftext|>"),
        ("\n".join(NAMES[:20]), None),  # too few
        ("\n".join(NAMES * 3), None),  # each occurs three times
        ("\n\n".join(NAMES), None),  # with blank lines between them
        ("\n".join(NAMES) + "\n\n\n", "lines"),
        ("Growth of 40%\nto 45%\nand 48%\n", None),
        ("% A style\n%\n% for TeX\n%\n\\def\\x{y}\n%\n%\n", None),
        ("<|endoftext|>".join(["It ends.", "So it begins", "and ends", "at last."]), "<|endoftext|>"),
        ("\n".join("สวัสดีชาวโลกทั้งหลายที่มาในวันนี้และวันพรุ่งนี้" + chr(0x0E01 + n) for n in range(40)), None),
        ("\n".join(f"यह वाक्य {n} है।" for n in "abcdefghijklmnopqrstuvwxyzABCDEFGH"), None),
        ("the end token '<|endoftext|>' is special\n" * 9, None),  # mentioned, not used
        ("100 %\n" * 50, None),
        *((text, None) for text in (VERSE, CODE, CHAT, WRAPPED, "", "\n" * 90)),
        ("\n".join(str(number**3) for number in range(90)), None),  # numbers
    ],
)
def test_what_a_text_clearly_consists_of(text, found):
    assert recognize(text) == found


@given(st.lists(st.sampled_from(["a", "b", "\n", " \n", "%\n", "\n%\n", "<>", "\\n"]), max_size=40), st.integers(1, 9))
def test_pieces_are_those_of_the_whole_text_however_it_is_read(parts, size):
    text = "".join(parts)
    chunks = [Chunk(text[at : at + size], at == 0) for at in range(0, len(text), size)]
    wholes = {
        "lines": text.split("\n"),
        r"\n%\n": text.split("\n%\n"),
        "<>": text.split("<>"),
        "blank-lines": text.replace("\n \n", "\n\n").split("\n\n"),
    }
    for how, pieces in wholes.items():
        found: list[str] = []
        for chunk in divide(chunks, how):
            assert chunk.divided
            found[len(found) :] = [chunk.text] if chunk.begins else [found.pop() + chunk.text]
        if how != "blank-lines" or "\n \n" not in text:
            assert found == [one.strip("\n") for one in pieces if one.strip()], how


def test_a_piece_ends_with_its_file():
    chunks = [*of("one\ntw", "o"), *of("three\n")]
    assert [chunk.text for chunk in divide(chunks, "lines")] == ["one", "two", "three"]
    assert list(divide(chunks, "files")) == [chunk._replace(divided=True) for chunk in chunks]


@given(st.lists(st.integers(1, 30), min_size=20, max_size=90), st.integers(10, 13))
def test_one_document_of_each_ten_is_held_out(lengths, every):
    documents = [f"{number}:" + "x" * length for number, length in enumerate(lengths)]
    train, held = hold_out_documents([c for one in documents for c in chunks_of([one])], every, 10**6)
    trained, numbers = [chunk.text for chunk in train], [documents.index(chunk.text) for chunk in held]
    assert sorted([*trained, *(documents[number] for number in numbers)]) == sorted(documents)
    assert [number // every for number in numbers][: len(documents) // every] == list(range(len(documents) // every))


def test_files_of_a_folder_are_divided_at_the_conventional_mark_alone():
    Path("box").mkdir()
    Path("box/a.txt").write_text("one tale<|endoftext|>\nanother\n<|endoftext|>\n<|endoftext|>")
    Path("box/b.txt").write_text("\n".join(NAMES))
    Path("box/c.txt").write_text("the token '<|endoftext|>' ends a text")
    corpus = load_corpus("box")
    assert corpus.documents == ("one tale", "another", "\n".join(NAMES), "the token '<|endoftext|>' ends a text")
    assert len(corpus.notes) == 1
    assert load_corpus("box", documents="files").notes == ()


def test_a_separator_that_does_not_occur_is_reported():
    Path("tale.txt").write_text("One day. Another day.")
    for how in ("Lines", "###"):
        corpus = load_corpus("tale.txt", documents=how)
        assert corpus.scan().documents == 1
        assert any(repr(how) in note and "blank-lines" in note for note in corpus.notes)
    refuses(lambda: load_corpus("tale.txt", documents=""), "--documents", "blank-lines")


def test_markup_that_is_learned_is_reported():
    Path("feed.xml").write_text("<?xml version='1.0'?><feed>one</feed>")
    corpus = load_corpus("feed.xml")
    assert corpus.text.startswith("<?xml")
    assert any("'<?xml'" in note for note in corpus.notes)


def test_what_is_held_out_has_a_limit():
    documents = ["x" * 1000] * 40
    train, held = hold_out_documents([c for one in documents for c in chunks_of([one])], 10, 2500)
    assert (sum(len(chunk.text) for chunk in train), sum(len(chunk.text) for chunk in held)) == (38_000, 2000)


def test_a_list_of_names_is_held_out_by_name_and_a_book_at_its_end():
    names = [f"{one}{number}" for one in NAMES for number in ("x", "y", "z", "q", "w")]
    Path("names.txt").write_text("\n".join(sorted(names)))
    corpus = load_corpus("names.txt")
    train, val = ([chunk.text for chunk in part] for part in corpus.split())
    assert sorted([*train, *val]) == sorted(names)
    assert {name[0] for name in val} == {"A", "B", "C"}
    assert any("each line of names.txt" in note for note in corpus.notes)
    whole = load_corpus("names.txt", documents="files")
    assert (whole.scan().documents, whole.notes) == (1, ())
    for config in (load_preset("modern").override(format=1), load_preset("lecture")):
        assert load_corpus("names.txt", config).scan().documents == 1  # without the token, names would run together


def test_nothing_of_a_tiny_text_is_held_out():
    for characters, held in ((999, 0), (1000, 100)):
        train, val = ("".join(chunk.text for chunk in part) for part in Corpus.of_texts("x" * characters).split())
        assert (len(train), len(val)) == (characters - held, held)
    all_of_it = Corpus.of_texts("x" * 5000)
    all_of_it.has_validation = False
    assert [sum(len(chunk.text) for chunk in part) for part in all_of_it.split()] == [5000, 0]


def test_rows_are_documents_and_files_are_if_asked():
    rows = ["cat " * random.Random(number).randint(9, 90) for number in range(29)]
    Path("rows.csv").write_text("id,text\n" + "".join(f"{n},{row}\n" for n, row in enumerate(rows)))
    Path("files").mkdir()
    for number, row in enumerate(rows):
        Path("files", f"{number:02}.txt").write_text(row)
    assert load_corpus("rows.csv").scan().held_out == "documents"
    assert load_corpus("files").scan().held_out == "end"
    assert load_corpus("files", documents="files").scan().held_out == "documents"


def test_a_table_beside_books_makes_no_list_of_them():
    Path("mixed").mkdir()
    Path("mixed/book.txt").write_text("A long tale. " * 900)
    Path("mixed/table.csv").write_text("text\n" + "".join(f"row {number}\n" for number in range(30)))
    scan = load_corpus("mixed").scan()
    assert (scan.documents, scan.held_out) == (31, "end")


@pytest.mark.parametrize(
    "sizes", [[20_000] * 5 + [200_000] + [20_000] * 14, [30_000 if n in (3, 14) else 200 for n in range(20)]]
)
def test_a_long_document_that_is_drawn_is_held_out_in_part(sizes):
    """Wherever it is cut, its rest is a document; at least one chunk is held out."""
    rows = [f"{number:02}" + chr(97 + number) * (size - 2) for number, size in enumerate(sizes)]
    train, held = (
        [*part] for part in hold_out_documents([c for row in rows for c in chunks_of([row])], 10, sum(sizes) // 5)
    )
    whole: list[list[str]] = [[], []]
    for side, part in enumerate((train, held)):
        for chunk in part:
            whole[side][len(whole[side]) :] = [chunk.text] if chunk.begins else [whole[side].pop() + chunk.text]
    assert whole[1]
    for text in (*whole[0], *whole[1]):
        assert any(text in row for row in rows)  # nothing is joined to another document
    assert sum(map(len, (*whole[0], *whole[1]))) == sum(sizes)


def test_a_genome_and_what_the_user_asked_of_texts_in_memory():
    assert recognize("\n".join("".join(random.Random(n).choices("ACGT", k=60)) for n in range(90))) is None
    names = Corpus.of_texts("\n".join(NAMES))
    assert load_corpus(names, documents="lines").scan().documents == len(NAMES)
    assert load_corpus(names).scan().documents == 1
    refuses(lambda: load_corpus("python", documents="lines", format=1), "--format 1", "--documents")
