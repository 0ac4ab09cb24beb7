"""A sweep trains what is missing, and ranks what the file has."""

import sys

import pytest
from tiny import refuses, write_text

from benchmarks import sweep
from benchmarks.sweep import combinations, parse_grid, tables


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls the command with tiny settings; a list of how many were trained, per text."""
    monkeypatch.setattr(sweep, "SWEEPS", tmp_path / "sweeps")

    def run(*words: str) -> list[str]:
        small = ["n_embd=12", "n_head=2", "block_size=11", "batch_size=3", "n_layer=1"]
        texts = [str(write_text("one.txt", 2000)), str(write_text("two.txt", 3000))]
        command = ["sweep", "try", "--texts", *texts, "--steps", "2", "--grid", *small, *words]
        monkeypatch.setattr(sys, "argv", command)
        sweep.main()

    return run


def test_what_the_file_has_is_not_trained_again(call, capsys):
    call("learning_rate=0.01,0.02")
    assert capsys.readouterr().out.count("2 of 2 to train") == 2
    call("learning_rate=0.01,0.02,0.03", "--seeds", "1337", "1338")
    out = capsys.readouterr().out
    assert out.count("4 of 6 to train") == 2
    assert "mean over 2 texts (one, two)" in out
    call("learning_rate=0.01", "--show")
    assert "to train" not in capsys.readouterr().out


def test_the_grid_is_a_product_and_the_first_seed_comes_first():
    found = combinations(parse_grid(["n_layer=1,2", "n_embd=8", "steps=5"]) | {"n_head": [1]}, [7, 8])
    named = [(one["n_layer"], one["seed"]) for one in found]
    assert named == [(1, 7), (2, 7), (1, 8), (2, 8)]
    assert all(one["n_embd"] == 8 and one["steps"] == 5 for one in found)


def test_a_combination_that_cannot_be_is_refused_before_any_training():
    refuses(lambda: combinations(parse_grid(["n_head=2,3", "n_embd=8", "steps=5"]), [7]), "not divisible")


def row(text: str, rate: float, seed: int, loss: float | None, **settings) -> dict:
    settings = {"learning_rate": rate, "seed": seed, "steps": 5} | settings
    return {"text": text, "loss": loss, "seconds": 1.5, "parameters": 1234, "tokens": 99, "settings": settings}


def test_ranks_by_the_mean_over_seeds_and_over_texts():
    rows = [
        *(row("a", 0.1, seed, loss) for seed, loss in ((1, 2.0), (2, 2.2))),
        *(row("a", 0.2, seed, loss) for seed, loss in ((1, 1.9), (2, 2.5))),
        *(row("a", 0.3, seed, loss) for seed, loss in ((1, 1.0), (2, None))),
        *(row("b", rate, 1, loss) for rate, loss in ((0.1, 3.0), (0.2, 2.9), (0.3, 3.5))),
    ]
    lines = [line.split() for line in tables(rows) if line]
    a = lines[2:5]
    assert [line[:2] for line in a] == [["0.1", "2.1000"], ["0.2", "2.2000"], ["0.3", "diverged"]]
    assert a[0][2] == "0.2000"  # the spread of its seeds
    assert [line[0] for line in lines[7:10]] == ["0.2", "0.1", "0.3"]
    assert lines[12:14] == [["0.1", "1.50", "0.0500"], ["0.2", "1.50", "0.0500"]]
    assert lines[14] == ["0.3", "3.00", "inf"]


def test_only_what_all_texts_have_is_ranked_over_texts_and_only_what_varies_is_a_column():
    rows = [row("a", 0.1, 1, 2.0), row("a", 0.2, 2, 1.0, later=True), row("b", 0.1, 1, 2.0), row("b", 0.3, 1, 2.0)]
    lines = [line.split() for line in tables(rows) if line]
    assert lines[-1][0] == "0.1"
    assert lines[1][:2] == ["learning_rate", "loss"]
    assert next(tables([]), None) is None
