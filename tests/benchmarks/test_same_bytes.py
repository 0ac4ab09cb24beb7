"""The command that compares two versions sees every difference, and only those."""

import re
import shutil
from pathlib import Path

import pytest
from tiny import flip_a_bit

from benchmarks.same_bytes import CASES, ROOT, STARTER, chosen, differences, main


@pytest.fixture
def two(finished_run):
    """Two copies of one run."""
    return [Path(shutil.copytree(finished_run, name)).absolute() for name in ("old", "new")]


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), count=1)
    assert count == 1
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [
        *(f"checkpoints/{name}" for name in ("step-30/model.safetensors", "step-30/optimizer.safetensors", "best")),
        *("history/step-1.safetensors", "tokenizer.json", "config.toml", "plan.toml", "metrics.jsonl"),
    ],
)
def test_one_bit_is_a_difference(two, name):
    assert differences(*two) == []
    flip_a_bit(two[1] / name)
    assert [found.partition(" (")[0] for found in differences(*two)] == [name]


def test_figures_are_compared_and_times_are_not(two):
    metrics, state = two[1] / "metrics.jsonl", two[1] / "checkpoints/step-30/state.json"
    edit(metrics, r'"seconds": [\d.]+', '"seconds": 99.5')
    edit(metrics, r'"tokens_per_second": [\d.]+', '"tokens_per_second": 1.0')
    edit(state, r'"seconds": [\d.]+', '"seconds": 99.5')
    edit(two[1] / "checkpoints/step-30/SHA256SUMS", r"(?m)^\w+  state.json", "0  state.json")
    assert differences(*two) == []
    edit(metrics, r'"step": 30', '"step": 31')
    edit(state, r'"stale": \d+', '"stale": 77')
    assert differences(*two) == ["checkpoints/step-30/state.json", "metrics.jsonl"]


def test_a_plan_is_compared_key_by_key(two):
    plan = two[1] / "plan.toml"
    plan.write_text('job = "of torchrun"\n' + plan.read_text())
    assert differences(*two) == []
    edit(plan, r"(?m)^steps = \d+", "steps = 1")
    edit(plan, r"threads = \d+", "")
    assert differences(*two) == ["plan.toml (steps, threads)"]


def test_the_same_path_below_both_work_folders_is_equal(two):
    for run in two:
        edit(run / "plan.toml", r'source = ".*"', f'source = "{run.as_posix()}/book.txt"')
    assert differences(*two) == ["plan.toml (source)"]
    assert differences(*two, two) == []


def test_a_missing_file_and_an_additional_one_are_differences(two):
    (two[0] / "tokenizer.json").unlink()
    (two[1] / "history/step-2.safetensors").unlink()
    (two[1] / "checkpoints/.last.123").write_text("left by a kill")
    assert differences(*two) == ["history/step-2.safetensors (only in the old)", "tokenizer.json (only in the new)"]
    assert differences(Path("nowhere"), two[1]) == ["nowhere has no files"]


def test_cases_need_only_those_before_them():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    for number, case in enumerate(CASES):
        needed = {*case.needs, *([case.copies] if case.copies else [])} - {case.name}
        assert needed <= set(names[:number]), case.name
        assert case.needs or case.copies or case.words[0] == "train", case.name


def test_only_some_cases_and_those_that_they_need():
    needed = ["gpt2", "modern", "old-eval", "old-fine-tuned"]
    assert [case.name for case in chosen(["old-fine-tuned", "gpt2"])] == needed
    assert [case.name for case in chosen([STARTER])] == [STARTER]
    assert chosen(None) == list(CASES)


@pytest.mark.slow
def test_another_default_of_one_preset_is_seen(capsys):
    shutil.copytree(ROOT / "nanogpt", "edited/nanogpt", ignore=shutil.ignore_patterns("__pycache__"))
    (preset,) = Path("edited").rglob("gpt2.toml")
    edit(preset, r"beta2 = 0\.99\b", "beta2 = 0.98")
    only = ["modern", "gpt2", "sample-long-rope"]
    with pytest.raises(SystemExit) as ended:
        main(["--old", str(ROOT), "--new", "edited", "--keep", "compared", "--only", *only])
    assert ended.value.code == 1
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "/3 " in line}
    assert [lines[name].endswith("same") for name in only] == [True, False, True]
    assert "DIFFERENT: checkpoints/step-16/SHA256SUMS, checkpoints/step-16/model.safetensors" in lines["gpt2"]
    assert (Path("compared") / "new" / "out" / "gpt2" / "checkpoints").is_dir()


@pytest.mark.slow
def test_a_version_compared_with_itself_is_the_same(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--old", str(ROOT), "--only", "killed", "resumed-after-kill", "old-resumed-after-kill"])
    assert ended.value.code == 0
    assert "3 cases" in capsys.readouterr().out
