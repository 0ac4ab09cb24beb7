"""A run's folder and its small files: whole at every moment, and what is damaged in them is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nanogpt.training.launch import resume_run
from safetensors.torch import load_file
from tiny import add_up, finish, refuses, start, trained

from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load
from nanogpt.training.new_run import create_folder


@pytest.fixture
def run(finished_run):
    """A finished run of one's own to damage."""
    return Path(shutil.copytree(finished_run, "run"))


def test_what_a_run_holds(run):
    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.toml",
        "history",
        "metrics.jsonl",
        "plan.toml",
        "tokenizer.json",
    ]
    for folder in run.glob("checkpoints/step-*"):
        assert sorted(path.name for path in folder.iterdir()) == [
            "SHA256SUMS",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
        ]
    assert (run / "checkpoints/last").read_text() == "step-30\n"


def test_files_are_plain_bytes(run):
    for path in run.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            path.read_text(encoding="utf-8")
        elif path.is_file():
            load_file(path)


def test_a_last_line_that_was_cut_off_is_left_out():
    folder = create_folder("run")
    folder.append_metrics({"event": "step", "step": 1, "loss": 2.5})
    with Path("run/metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    assert list(folder.metrics()) == [{"event": "step", "step": 1, "loss": 2.5}]


def test_metrics_are_cut_back_to_a_step():
    folder = create_folder("run")
    for step in (0, 1, 2, 3):
        folder.append_metrics({"event": "step", "step": step, "loss": 0.1 + step})
    folder.cut_metrics(2)
    assert [line["step"] for line in folder.metrics()] == [0, 1, 2]
    for step in (2, 3):
        folder.append_metrics({"event": "sample", "step": step, "text": "a\nb"})
    folder.cut_metrics(2)
    assert list(folder.metrics())[-1] == {"event": "sample", "step": 2, "text": "a\nb"}
    folder.cut_metrics(-1)
    assert list(folder.metrics()) == []


def test_an_existing_folder_is_never_taken():
    Path("run").mkdir()
    Path("file").write_text("mine")
    for name in ("run", "file"):
        refuses(
            lambda name=name: create_folder(name),
            f"'{name}' exists already",
            "never overwritten",
            "--out",
            f"--resume {name}",
        )
    refuses(lambda: create_folder("file/run"), "cannot make the folder 'file/run'", "--out")
    assert Path("file").read_text() == "mine"


def test_no_run_folder():
    refuses(lambda: RunFolder.open("nowhere"), "no run folder 'nowhere'", "`nanogpt runs`")
    Path("empty").mkdir()
    refuses(
        lambda: RunFolder.open("empty"),
        "'empty' is not a run folder",
        "config.toml and no plan.toml and no tokenizer.json",
    )


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json"])
def test_a_file_is_missing(run, name):
    (run / name).unlink()
    refuses(lambda: load(run), "not a run folder", f"no {name}")


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[[[", b"[]"])
def test_a_file_is_damaged(run, name, content):
    if name == "config.toml" and content == b"":
        pytest.skip("an empty config is all defaults, which the weights then do not match")
    (run / name).write_bytes(content)
    refuses(lambda: load(run), name)


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json", "state.json"])
def test_a_file_from_a_newer_version(run, name):
    checkpoint = RunFolder(run).checkpoints.find("best").path
    path = run / name if name != "state.json" else checkpoint / name
    old = path.read_text()
    assert '"format": 1' in old or "format = 1" in old
    path.write_text(old.replace('"format": 1', '"format": 2').replace("format = 1", "format = 2"))
    add_up(checkpoint)
    refuses(lambda: load(run), name, "newer nanogpt", "format 2", "reads 1", "upgrade")


@pytest.mark.parametrize(
    "line", ['{"event": "step"}', '{"step": 1}', "5", '{"event": "eval", "step": 1, "loss": "x"}', "\xff", "[" * 10_000]
)
def test_a_damaged_line_of_metrics_is_named_and_a_last_one_left_out(line):
    folder = create_folder("run")
    folder.append_metrics({"event": "step", "step": 1, "loss": 2.0})
    with Path("run/metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    assert [one["step"] for one in folder.metrics()] == [1]
    folder.append_metrics({"event": "step", "step": 2, "loss": 2.0})
    refuses(lambda: list(folder.metrics()), "metrics.jsonl: line 2 is damaged", "restore")


def test_a_line_without_end_takes_bounded_memory():
    folder = create_folder("run")
    with Path("run/metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros, which takes no place on the disk
    refuses(lambda: list(folder.metrics()), "line 1 is damaged")


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json", "metrics.jsonl"])
def test_links_out_of_the_folder_are_not_followed(run, name):
    shutil.copy(run / name, "elsewhere")
    (run / name).unlink()
    (run / name).symlink_to(Path("elsewhere").absolute())
    refuses(lambda: (load(run), list(RunFolder(run).metrics())), name, "link out of run", "not followed")


def test_a_folder_that_is_itself_a_link_is_opened(run):
    Path("link").symlink_to(run.absolute())
    assert load("link").step == load(run).step


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "checkpoints/last"])
def test_a_pipe_is_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    refuses(lambda: (load(run, checkpoint="last"), list(RunFolder(run).metrics())), name.split("/")[-1])


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json"])
def test_a_file_of_absurd_size_is_not_read(run, name):
    with (run / name).open("ab") as file:
        file.truncate(1 << 40)
    refuses(lambda: load(run), name, "larger than", "bytes")


# One process at a time


def test_a_run_is_trained_by_one_process_at_a_time():
    first = start("run", steps=9, stop_at=7, log_every=1, eval_every=4).events()
    while next(first).step < 6:
        pass
    files = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    second = resume_run("run").events()
    refuses(lambda: next(second), "another process is training 'run'", "wait for it")
    # Also what was logged since the last checkpoint is left alone.
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == files
    first.close()  # the lock goes with whoever held it
    finish(resume_run("run"))


def test_a_killed_process_leaves_no_lock():
    trained("run")
    code = "import os, nanogpt.runs.folder as f\nwith f.RunFolder('run').locked(): print('in', flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("in\n", -9)
    with RunFolder("run").locked():
        pass


# Writes that fail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_metrics_on_a_full_disk():
    trainer = start("run", eval_every=4, log_every=1)
    seen = []

    def train():
        for event in trainer.events():
            seen.append(event)
            if event.step == 4 and type(event).__name__ == "CheckpointEvent":
                Path("run/metrics.jsonl").rename("kept.jsonl")
                Path("run/metrics.jsonl").symlink_to("/dev/full")

    refuses(train, "cannot write metrics.jsonl in 'run'", "No space left on device", "nanogpt train --resume run")
    assert seen[-1].step == 4
    Path("run/metrics.jsonl").unlink()
    Path("kept.jsonl").rename("run/metrics.jsonl")
    finish(resume_run("run"))
    assert Path("run/metrics.jsonl").read_text().count("done") == 1


def test_a_folder_that_vanishes_is_told_and_not_made_again():
    trainer = start("run", eval_every=4, log_every=100)

    def train():
        for event in trainer.events():
            if event.step == 1:
                shutil.rmtree("run", ignore_errors=True)

    trainer.should_stop = lambda: trainer.state.step == 1 and bool(shutil.rmtree("run", ignore_errors=True) or True)
    refuses(train, "'run'", "gone")
    assert not Path("run").exists()
