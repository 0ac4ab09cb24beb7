"""The first ten seconds: every command that takes a run takes the starter where there is none, and says so."""

from pathlib import Path

import pytest
from tiny import make_run

SAID = "no run below 'runs': this is the starter model that comes with Nano-GPT"


EXPORT = "export page.html --to html"


@pytest.mark.parametrize("line", ["sample --prompt ROMEO: --tokens 9", "info", "plot", EXPORT, "eval --text play.txt"])
def test_without_a_run(nanogpt, line):
    Path("play.txt").write_text("ROMEO:\nBut soft, what light through yonder window breaks?\n" * 9)
    found = nanogpt(*line.split())
    assert found.code == 0, found.err
    assert SAID in found.err
    assert "train your own: nanogpt train book.txt" in found.err
    assert "site-packages" not in found.out


def test_it_is_said_only_where_it_was_not_asked_for(nanogpt):
    found = nanogpt("sample", "starter", "--prompt", "ROMEO:", "--tokens", 9)
    assert found.code == 0
    assert found.out.startswith("ROMEO:")
    assert found.err == ""


def test_a_run_of_ones_own_comes_first(nanogpt):
    make_run("runs/mine")
    found = nanogpt("info")
    assert "runs/mine" in found.out
    assert SAID not in found.err


def test_it_is_finished_and_not_deleted(nanogpt, refuses):
    refuses("runs", "--delete", "starter", "--yes", saying=["is part of Nano-GPT"])
    assert "finished" in nanogpt("train", "--resume", "starter").out


def test_its_text_is_not_on_this_machine(refuses):
    refuses("eval", saying=["'shakespeare' is not on this machine", "type: nanogpt eval --text book.txt"])
