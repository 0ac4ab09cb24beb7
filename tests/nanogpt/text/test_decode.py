import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.text.chunks import BINARY_PROBE_BYTES, Unreadable, decode_blocks, decode_text, unify_line_ends

TEXTS = st.text(alphabet="aé中😀\n\r\ufeff", max_size=30)


def decode(data, size, encoding="utf-8", notes=None):
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    return decode_blocks(blocks, "there", encoding, {} if notes is None else notes)


@given(text=TEXTS, size=st.integers(1, 7), encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-8-sig"]))
def test_blocks_give_the_text_of_the_whole(text, size, encoding):
    data, notes = text.encode(encoding), {}
    parts = list(decode(data, size, encoding, notes))
    expected = data.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(parts) == expected == decode_text(data, "there", encoding)
    assert all(parts)
    assert bool(notes) == ("\r\n" in text)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("data", "byte", "offset", "line"),
    [
        (b"one\ntwo\ncaf\xe9 ole", "0xe9", 11, 3),
        (b"\xef\xbb\xbfcaf\xe9 ole", "0xe9", 6, 1),
        ("中中\n中".encode()[:-1], "0xe4", 7, 2),  # ends inside a character
        ("中\n".encode() * 5 + b"\xe4\n", "0xe4", 20, 6),
    ],
)
def test_an_error_names_byte_offset_and_line(data, byte, offset, line, size):
    words = ("there ", f"{byte} at offset {offset} (line {line})", "--encoding latin-1")
    refuses(lambda: list(decode(data, size)), *words)


def test_what_precedes_an_error_is_passed_on():
    parts = decode(b"one two \xff", 4)
    assert [next(parts), next(parts)] == ["one ", "two "]
    refuses(lambda: next(parts), "0xff at offset 8")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
def test_a_binary_file_is_recognized_by_its_beginning(encoding):
    with pytest.raises(Unreadable, match="8,191 is 0"):
        next(decode(b"a" * (BINARY_PROBE_BYTES - 1) + b"\0", 9999, encoding))
    assert len("".join(decode(b"a" * BINARY_PROBE_BYTES + b"\0", 9999, encoding))) == 8193


def test_line_ends_of_a_text_in_memory():
    notes = {}
    assert unify_line_ends("a\rb\n", notes) == "a\nb\n"
    assert not notes
    assert unify_line_ends("a\r\nb\r", notes) == "a\nb\n"
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("data", "encoding", "words"),
    [
        *(("el café y la leche".encode("latin-1"), name, [name, "--encoding"]) for name in ("utf-16", "utf16")),
        ("two".encode("utf-16"), "utf-8", ["UTF-16", "--encoding utf-16"]),
        *((b"text", name, [repr(name)]) for name in ("utf-9", "base64")),
    ],
)
def test_another_encoding_is_refused(data, encoding, words):
    refuses(lambda: decode_text(data, "there", encoding), *words)
