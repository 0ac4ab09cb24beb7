import pytest
from tiny import refuses

from nanogpt.text.inspection import detect_encoding, guess_encodings

WESTERN = "Déjà vu: la façade du théâtre était fermée, naïve et bientôt oubliée.\n" * 20
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n" * 20
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 20


def detect(text, written, requested="utf-8", size=1 << 20):
    data = text.encode(written)
    return detect_encoding((data[start : start + size] for start in range(0, len(data), size)), requested)


@pytest.mark.parametrize(
    ("text", "written", "first"),
    [
        (WESTERN, "cp1252", "cp1252"),
        (WESTERN.replace("é", "\x81"), "latin-1", "latin-1"),
        (WESTERN, "utf-16-le", "utf-16-le"),
        (WESTERN, "utf-16-be", "utf-16-be"),
        (WESTERN, "utf-16", "utf-16"),
        (WESTERN, "utf-32", "utf-32"),
        (JAPANESE, "shift_jis", "shift_jis"),
    ],
)
def test_what_is_not_utf_8_is_guessed(text, written, first):
    found = detect(text, written)
    assert found.probably[0] == first
    assert text.encode(written).decode(first) == text
    assert not found.fits
    assert found.certain == (written in ("utf-16", "utf-32"))


def test_other_scripts_come_before_western_ones():
    names = detect(RUSSIAN, "cp1251").probably
    assert names.index("cp1251") < names.index("cp1252")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "UTF_8"])
def test_what_fits_is_certain(encoding):
    found = detect(RUSSIAN, "utf-8", encoding)
    assert (found.fits, found.probably, found.certain) == (True, (encoding,), True)


def test_utf_8_read_in_another_encoding():
    assert guess_encodings(WESTERN.encode()) == ("utf-8",)
    assert guess_encodings(WESTERN.encode()[:-1] + b"\xc3") == ("utf-8",)  # cut within a character
    assert guess_encodings(b"") == guess_encodings(bytes(range(256)) * 9) == ()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_line_ends_and_errors_do_not_depend_on_the_blocks(size):
    found = detect("a\r\né\nb\rc\r\n\r\r\n中", "utf-8", size=size)
    assert (found.fits, found.crlf, found.lf, found.cr) == (True, 3, 1, 2)
    assert not detect("abcdefg é", "latin-1", size=size).fits


def test_an_unknown_encoding():
    refuses(lambda: detect("a", "utf-8", "utf-9"), "'utf-9'")


def test_the_encoding_that_xml_declares():
    data = "<?xml version='1.0' encoding='windows-1255'?><a>שלום</a>".encode("cp1255")
    found = detect_encoding([data])
    assert (found.fits, found.probably, found.certain) == (False, ("windows-1255",), True)
