import shutil
from pathlib import Path

import pytest
import torch

from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.runs.run import load


@pytest.mark.slow
def test_all_of_a_run(nanogpt, finished_run):
    found = nanogpt("verify", finished_run)
    assert found.code == 0, found.out + found.err
    for name in ("cached", "batched", "compiled", "Transformers", "llama.cpp, f32", "browser, 8 bits"):
        assert any(line.startswith(name) for line in found.out.splitlines()), found.out
    assert "0 differ" in found.out


@pytest.mark.slow
def test_a_folder_of_the_run_and_one_of_another(nanogpt, finished_run):
    run = load(finished_run)
    export_hugging_face(run, "same")
    found = nanogpt("verify", finished_run, "--against", "same")
    assert found.code == 0
    assert found.out.splitlines()[-1] == "1 agree, 0 differ, 0 could not be run"
    with torch.no_grad():
        run.model.final_norm.weight += 0.5
    export_hugging_face(run, "other")
    found = nanogpt("verify", finished_run, "--against", "other")
    assert found.code == 1
    assert "DIFFERS: it has other weights" in found.out
    assert found.out.splitlines()[-1] == "0 agree, 1 differ, 0 could not be run"


def test_what_was_given_and_could_not_be_run_is_no_pass(nanogpt, finished_run, monkeypatch):
    export_hugging_face(load(finished_run), "out")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    found = nanogpt("verify", finished_run, "--against", "out")
    assert found.code == 1
    assert "not run: Transformers is not installed" in found.out


def test_a_damaged_run(nanogpt, finished_run):
    shutil.copytree(finished_run, "run")
    for file in Path("run").rglob("model.safetensors"):
        file.write_bytes(b"")
    assert nanogpt("verify", "run").code == 2
