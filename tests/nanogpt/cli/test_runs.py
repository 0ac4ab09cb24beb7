import io
import shutil
import sys
from pathlib import Path

import pytest
from tiny import finish, start, trained

import nanogpt as library
from nanogpt.training.seeds import comparison_lines, outcomes, spread_lines


@pytest.fixture
def two(finished_run):
    """A finished run, and one that was stopped."""
    shutil.copytree(finished_run, "runs/cats")
    finish(start("runs/tale", stop_at=3, dropout=0.25, preset="gpt2"))


def test_the_list(nanogpt, two):
    found = nanogpt("runs")
    assert found.code == 0
    rows = [line.split() for line in found.out.splitlines()]
    cats, tale = (next(row for row in rows if row and row[0] == name) for name in ("runs/cats", "runs/tale"))
    run = library.load("runs/cats")
    assert cats[1:4] == ["cats", "modern", f"{run.model.parameter_count:,}"]
    assert cats[4:8] == ["30", "of", "30,", "finished"]
    assert f"{run.evaluate().loss:.4f}" in cats
    assert tale[1:3] == ["tale", "gpt2"]
    assert tale[4:7] == ["3", "of", "8"]
    assert rows.index(cats) < rows.index(tale)


@pytest.mark.parametrize(
    "words",
    [
        *("sample cats --tokens 3", "info cats", "eval cats", "plot cats", "runs --compare cats tale"),
        *("runs --delete cats tale cats runs/cats --yes", "export cats cats.html", "train --resume cats"),
        "train cats.txt --from cats --steps 2 --batch-size 3",
    ],
)
def test_the_name_of_a_run_in_runs(nanogpt, refuses, finished_run, two, words):
    shutil.copy(finished_run.parent / "cats.txt", "cats.txt")
    found = nanogpt(*words.split())
    assert (found.code, found.err if found.code else "") == (0, "")
    # A folder of this path comes first.
    Path("cats").mkdir()
    if not words.startswith("info"):
        refuses(*words.split(), saying=["'cats' is not a run folder"])


def test_names_of_runs_that_are_close(nanogpt, refuses, two):
    assert nanogpt("sample", "cats").out == nanogpt("sample", "runs/cats").out
    for name in ("catz", "runs/catz"):
        refuses("sample", name, saying=[f"no run folder '{name}'; did you mean 'cats'?\n"])
    Path("cats").write_text("a file of this name is no folder")
    assert nanogpt("eval", "cats").code == 0


def test_an_unreadable_run_does_not_hide_the_others(nanogpt, two):
    Path("runs/tale/config.toml").write_text("[[[")
    found = nanogpt("runs")
    assert found.code == 0
    assert "runs/cats" in found.out
    assert "unreadable" in found.out


def test_compare(nanogpt, two):
    found = nanogpt("runs", "--compare", "runs/cats", "runs/tale")
    assert found.code == 0
    table = {line.split()[0]: line.split()[1:] for line in found.out.splitlines()[1:]}
    assert table["preset"] == ["modern", "gpt2"]
    assert table["dropout"] == ["0.0", "0.25"]
    assert table["n_embd"] == ["32", "16"]
    assert table["text"] == ["cats", "tale"]
    assert "n_layer" not in table  # the same in both


@pytest.mark.parametrize(
    ("typed", "words", "left"),
    [
        *[(text, ["runs/cats"], ["cats", "tale"]) for text in ("n\n", "\n", "", "delete\n")],
        *[(text, ["runs/cats"], ["tale"]) for text in ("y\n", "YES\n")],
        ("n\ny\n", ["runs/cats", "runs/tale"], ["cats"]),
        ("n\nn\n", ["runs/cats", "runs/tale", "--yes"], []),
        ("", ["runs/cats", "runs/cats/", "--yes"], ["tale"]),
    ],
)
@pytest.mark.usefixtures("two")
def test_delete_asks_for_each(nanogpt, monkeypatch, typed, words, left):
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert nanogpt("runs", "--delete", *words).code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == left


def test_bad_input(refuses, two):
    refuses("runs", "--delete", "runs/cats", "runs/nowhere", "--yes", saying=["no run folder 'runs/nowhere'"])
    refuses("runs", "--delete", ".", "--yes", saying=["not a run folder"])
    refuses("runs", "--compare", "runs/cats", saying=["name two or more"])
    refuses("runs", "--compare", "runs/cats", "--delete", "runs/cats", saying=["--compare and --delete"])


def test_significance(nanogpt):
    for name in ("a", "b"):
        for seed in (1, 2):
            trained(f"{name}/seed-{seed}", steps=3, seed=seed, n_embd=16 if name == "a" else 20)
    first, second = ([f"{name}/seed-1", f"{name}/seed-2"] for name in "ab")
    found = nanogpt("runs", "--significance", *first)
    assert found.out.splitlines() == list(spread_lines(outcomes(first)))
    found = nanogpt("runs", "--significance", *first, "--against", *second)
    assert found.out.splitlines() == list(comparison_lines(outcomes(first), outcomes(second)))


def test_what_is_wrong_with_a_comparison(refuses, finished_run):
    refuses("runs", "--significance", finished_run, saying=["no spread in 1 value:"])
    refuses("runs", "--significance", "nowhere", saying=["no run folder 'nowhere'"])
    refuses("runs", "--against", finished_run, saying=["--against needs runs", "--significance"])
    refuses("runs", "--significance", "a", "--delete", "b", saying=["--significance and --delete", "one"])
