"""Bytes to text, however they are cut into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.errors import UserError
from nanogpt.text.decoding import BINARY_PROBE_BYTES, BinaryFile, decode_pieces, decode_text, unify_line_ends

TEXTS = st.text(alphabet="aé中😀\n\r\ufeff", max_size=30)


def chunks_of(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(text=TEXTS, size=st.integers(1, 7), encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-8-sig"]))
def test_chunks_give_the_text_of_the_whole(text, size, encoding):
    data, notes = text.encode(encoding), {}
    pieces = list(decode_pieces(chunks_of(data, size), "there", encoding, notes))
    expected = data.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(pieces) == expected == decode_text(data, "there", encoding)
    assert all(pieces)
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
def test_where_it_is_wrong(data, byte, offset, line, size):
    with pytest.raises(UserError, match=rf"there is not utf-8: byte {byte} at offset {offset} \(line {line}\)"):
        list(decode_pieces(chunks_of(data, size), "there", "utf-8", {}))


def test_what_is_right_is_passed_on_before_what_is_wrong():
    pieces = decode_pieces([b"one ", b"two ", b"\xff"], "there", "utf-8", {})
    assert [next(pieces), next(pieces)] == ["one ", "two "]
    with pytest.raises(UserError, match="0xff at offset 8"):
        next(pieces)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "cp1252"])
def test_a_binary_file_is_known_by_its_beginning(encoding):
    pieces = decode_pieces([b"a" * (BINARY_PROBE_BYTES - 1) + b"\0"], "there", encoding, {})
    with pytest.raises(BinaryFile, match="byte 8,191 is 0"):
        next(pieces)
    assert len("".join(decode_pieces([b"a" * BINARY_PROBE_BYTES + b"\0"], "there", encoding, {}))) == 8193


def test_line_ends_of_a_text_in_memory():
    notes = {}
    assert unify_line_ends("a\rb\n", notes) == "a\nb\n"
    assert not notes
    assert unify_line_ends("a\r\nb\r", notes) == "a\nb\n"
    assert list(notes) == ["line ends \\r\\n are read as \\n"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf16"])
def test_what_has_no_mark_is_not_utf_16(encoding):
    with pytest.raises(UserError, match=rf"menu.txt is not {encoding}: .*; leave --encoding out for UTF-8, or name"):
        decode_text("el café y la leche".encode("latin-1"), "menu.txt", encoding)
