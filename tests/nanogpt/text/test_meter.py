"""What is shown while a long text is read."""

import io
import sys

import pytest

from nanogpt.text import meter
from nanogpt.text.meter import watch_pieces
from nanogpt.text.pieces import Piece

PIECES = [Piece("one", True), Piece("two", True), Piece("three", True)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(meter, "PATIENCE_SECONDS", -1.0)


def test_what_is_quick_is_not_shown(capsys):
    assert list(watch_pieces(PIECES, "reading book")) == PIECES
    assert capsys.readouterr() == ("", "")


def test_one_line_where_there_is_no_terminal(capsys, impatient):
    assert list(watch_pieces(PIECES, "reading book", total=11)) == PIECES
    assert capsys.readouterr() == ("", "reading book …\n")
    list(watch_pieces(PIECES, "reading book", quiet=True))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [None, 11])
def test_a_bar_in_a_terminal(monkeypatch, impatient, total):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(watch_pieces(PIECES, "reading [book]", total=total)) == PIECES
    assert "reading [book]" in sys.stderr.getvalue()
    assert "0 million characters" in sys.stderr.getvalue()
