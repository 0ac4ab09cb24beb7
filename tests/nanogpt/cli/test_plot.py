from pathlib import Path

from nanogpt.reporting.plots import draw_text, read_plot
from nanogpt.runs.folder import RunFolder


def test_in_the_terminal(nanogpt, finished_run):
    found = nanogpt("plot", finished_run)
    assert found.code == 0
    assert found.out == draw_text(read_plot([RunFolder(finished_run)]), width=90) + "\n"


def test_a_picture(nanogpt, finished_run):
    found = nanogpt("plot", finished_run, finished_run, "--x", "seconds", "--out", "curves.svg")
    assert found.out == "wrote curves.svg\n"
    assert "time in training steps (s)" in Path("curves.svg").read_text()


def test_a_taken_name_is_refused_first(refuses):
    Path("taken.png").touch()
    refuses("plot", "nowhere", "--out", "taken.png", saying=["'taken.png' exists already"])
