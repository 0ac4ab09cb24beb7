"""`nanogpt plot`."""

import json
from pathlib import Path

from tiny import trained

from nanogpt.reporting.plots import draw_text, read_plot
from nanogpt.runs.folder import RunFolder


def test_in_the_terminal(nanogpt, finished_run):
    found = nanogpt("plot", finished_run)
    assert found.code == 0
    assert found.out == draw_text(read_plot([RunFolder(finished_run)]), width=90) + "\n"


def test_the_newest_run_over_tokens(nanogpt):
    trained("runs/a")
    assert (
        nanogpt("plot", "--x", "tokens").out == draw_text(read_plot([RunFolder("runs/a")], "tokens"), width=90) + "\n"
    )


def test_a_picture(nanogpt, finished_run):
    found = nanogpt("plot", finished_run, finished_run, "--x", "seconds", "--out", "curves.svg")
    assert found.out == "wrote curves.svg\n"
    assert "time in training steps (s)" in Path("curves.svg").read_text()


def test_what_is_wrong(refuses, finished_run):
    refuses("plot", "nowhere", saying=["no run folder 'nowhere'"])
    Path("taken.png").touch()
    refuses("plot", "nowhere", "--out", "taken.png", saying=["'taken.png' exists already"])
    refuses("plot", finished_run, "--out", "curves.jpg", saying=["'curves.jpg'", ".png"])


def test_damaged_metrics(refuses):
    run = trained("run")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], "{", *lines[1:]]) + "\n")
    refuses("plot", run, saying=["metrics.jsonl: line 2 is damaged", "restore the file"])
    (run / "metrics.jsonl").write_text(json.dumps({"event": "eval", "step": 0, "loss": 1.0}) + "\n")
    refuses("plot", run, saying=["a line of step 0 is damaged"])
