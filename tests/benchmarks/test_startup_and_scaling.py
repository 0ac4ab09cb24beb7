"""Waiting times, the cost of a step as things grow, and two versions compared: the real commands, once."""

import pytest
from tiny import write_text

from benchmarks import processes, scaling
from benchmarks.compare_speed import main
from benchmarks.record import ROOT
from benchmarks.scaling import SERIES, measure, summary
from benchmarks.startup import GOALS, waits
from nanogpt.config import load_preset


@pytest.mark.slow
def test_every_wait_can_be_measured(tmp_path, monkeypatch):
    text = str(write_text("tale.txt", 3000))
    train = processes.Workspace.train
    small = ["--n-layer", "1", "--n-embd", "16", "--n-head", "2", "--block-size", "12"]
    monkeypatch.setattr(processes.Workspace, "train", lambda work, words, steps: train(work, [text, *small], steps))
    found = {name: measure_() for name, measure_ in waits(tmp_path, threads=1).items()}
    assert found.keys() == {*GOALS, "import torch"}
    # Which of two is the longer depends on what else the machine does.
    assert all(0.01 < seconds < 300 for seconds in found.values())


@pytest.mark.slow
def test_a_point_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "write_text", lambda path, size: write_text(str(path), 20_000))
    point = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 12, "batch_size": 2, "megabytes": 3}
    row = measure({"point": point, "steps": 4, "threads": 1, "run": 0}, tmp_path)
    assert 0 < row["step_seconds"] < row["before_seconds"]
    assert row["parameters"] > 1000


def test_a_series_has_the_cost_of_a_token_and_its_exponent():
    points = [{"block_size": 32, "batch_size": 4}, {"block_size": 64, "batch_size": 2}]
    row = {"before_seconds": 3.0, "parameters": 10, "peak_megabytes": 100.0}
    rows = [[row | {"step_seconds": s} for s in runs] for runs in ([0.128, 0.256, 0.128], [0.512, 0.512, 9.0])]
    found = summary("block", points, rows)
    assert [point["microseconds_per_token"]["median"] for point in found["points"]] == pytest.approx([1000.0, 4000.0])
    assert found["exponent"] == pytest.approx(2.0)
    assert found["points"][1]["n_embd"] == scaling.BASE["n_embd"]


def test_every_point_is_a_possible_model():
    for point in (point for points in SERIES.values() for point in points):
        settings = {key: value for key, value in (scaling.BASE | point).items() if key != "megabytes"}
        load_preset("modern").override(**settings)
    assert len({point["block_size"] * point["batch_size"] for point in SERIES["block"]}) == 1


@pytest.mark.slow
def test_a_version_is_compared_with_itself(monkeypatch, capsys):
    monkeypatch.setattr(
        "benchmarks.compare_speed.SIZES", {"n_layer": 1, "n_embd": 16, "block_size": 8, "batch_size": 2}
    )
    words = ["--old", str(ROOT), "--pairs", "2", "--steps", "4", "--tokens", "20", "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["compare_speed", *words])
    main()
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["train", "sample-1", "sample-64", "help", "first-token"]
    assert all(float(line.split()[-2]) > 0 for line in lines)
