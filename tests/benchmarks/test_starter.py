"""The starter model is made from a finished run, in 8 bits, with its own loss."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import refuses

from benchmarks import starter
from benchmarks.processes import Workspace
from nanogpt.config import load_preset
from nanogpt.runs.eight_bits import narrow, widen
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load
from nanogpt.runs.weights import model_tensors

FIGURES = {"loss": 2.5, "loss_interval": [2.0, 3.0], "bits_per_byte": 3.0, "protocol": "whole split", "tokens": 199}


def test_a_rounded_run_is_the_last_checkpoint_in_8_bits(finished_run, tmp_path):
    starter.round_run(finished_run, tmp_path / "rounded")
    last = load(finished_run, checkpoint="last")
    kept = widen(narrow(model_tensors(last.model)))
    for which in ("best", "last"):
        found = load(tmp_path / "rounded", checkpoint=which)
        assert found.step == last.step
        assert found.notes == ()
        assert all(torch.equal(p, kept[name]) for name, p in found.model.named_parameters())
    checkpoint = tmp_path / "rounded" / "checkpoints" / f"step-{last.step}"
    assert load_file(checkpoint / "optimizer.safetensors") == {}
    assert starter.size(tmp_path / "rounded") < 0.5 * starter.size(finished_run)


def test_the_last_line_tells_the_loss_after_the_rounding(finished_run, tmp_path):
    starter.round_run(finished_run, tmp_path / "rounded")
    folder = RunFolder(tmp_path / "rounded")
    before = list(folder.metrics())
    starter.replace_loss(folder, FIGURES)
    after = list(folder.metrics())
    assert after[:-1] == before[:-1]
    assert after[-1] == before[-1] | {"loss": 2.5, "bits_per_byte": 3.0, "protocol": "whole split", "tokens": 199}


def test_it_is_made(finished_run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(starter, "figures", lambda run, work: asked.append(Path(run).name) or FIGURES)
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()
    starter.make(finished_run, tmp_path / "place")
    assert asked == [finished_run.name, "starter"]
    assert not (tmp_path / "place" / "old").exists()
    made = json.loads((tmp_path / "place" / "made.json").read_text())
    assert made["trained_by"] == starter.TRAINED_BY
    assert made["eight_bits"] == FIGURES
    assert {"commit", "hardware", "versions", "parameters"} <= made.keys()
    monkeypatch.setattr(starter, "LARGEST_BYTES", 1000)
    refuses(lambda: starter.make(finished_run, tmp_path / "other"), "train a smaller model")


def test_an_unfinished_run_is_not_taken(finished_run, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if '"done"' not in line))
    refuses(lambda: starter.round_run(run, tmp_path / "rounded"), "is not finished")


def test_the_command_is_one_that_nanogpt_takes():
    from nanogpt.cli.train import parse_train

    options, settings = parse_train(starter.TRAINED_BY.split()[2:])
    assert options.text == ("shakespeare",)
    load_preset("modern").override(**settings)


@pytest.mark.slow
def test_its_figures_are_those_of_eval(finished_run, tmp_path):
    work = Workspace(tmp_path)
    found = starter.figures(str(finished_run), work)
    assert found.keys() == set(starter.FIGURES)
    assert found["loss"] == pytest.approx(load(finished_run, checkpoint="last").evaluate().loss, abs=1e-5)
