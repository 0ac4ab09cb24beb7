"""A run folder's small files: whole at every moment, strict about damage, locked while it is trained."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import add_up, finish, outcome, refuses, resume_run, start, whole

from nanogpt.reporting.events import CheckpointEvent
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load
from nanogpt.training.new_run import create_folder

SETTINGS = ("config.toml", "plan.toml", "tokenizer.json")
EACH_SETTINGS = pytest.mark.parametrize("name", SETTINGS)


@pytest.fixture
def run(finished_run):
    """Return a copy of a finished run to damage."""
    return Path(shutil.copytree(finished_run, "run"))


@pytest.fixture
def folder():
    """Return an empty run folder with three lines of metrics."""
    folder = create_folder("run")
    for step in (0, 1, 2):
        folder.append_metrics({"event": "step", "step": step, "loss": 0.1 + step})
    return folder


def add(text):
    with Path("run/metrics.jsonl").open("a") as file:
        file.write(text)


def steps_of(folder):
    return [line["step"] for line in folder.metrics()]


# Metrics


def test_metrics_are_cut_back_to_a_step(folder):
    sample = {"event": "sample", "step": 2, "text": "a\nb"}
    folder.append_metrics(sample)
    folder.append_metrics({"event": "done", "step": 2, "loss": 1.0})
    assert folder.done()
    folder.append_metrics({"event": "step", "step": 3, "loss": 3.1})
    folder.cut_metrics(2)
    assert list(folder.metrics())[2:] == [{"event": "step", "step": 2, "loss": 2.1}, sample]
    assert not folder.done()
    folder.cut_metrics(-1)
    assert steps_of(folder) == []


@pytest.mark.parametrize(
    "line",
    [
        *('{"event": "step", "st', '{"event": "step"}\n', '{"step": 1}\n', "5\n", "\xff\n", "[" * 10_000 + "\n"),
        '{"event": "eval", "step": 1, "loss": "x"}\n',
    ],
)
def test_a_damaged_last_line_is_left_out_and_one_before_is_an_error(folder, line):
    add(line)
    assert steps_of(folder) == [0, 1, 2]
    add("\n")
    folder.append_metrics({"event": "step", "step": 3, "loss": 2.0})
    refuses(lambda: steps_of(folder), "metrics.jsonl: line 4 is damaged")


def test_a_line_without_end_takes_bounded_memory(folder):
    with Path("run/metrics.jsonl").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros, which take no disk space
    refuses(lambda: steps_of(folder), "line 1 is damaged")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_metrics_on_a_full_disk():
    trainer, seen = start("run"), []

    def train():
        for event in trainer.events():
            seen.append(event)
            if event.step == 4 and isinstance(event, CheckpointEvent):
                Path("run/metrics.jsonl").rename("kept.jsonl")
                Path("run/metrics.jsonl").symlink_to("/dev/full")

    refuses(train, "metrics.jsonl in 'run'", "No space left on device", "--resume run")
    assert seen[-1].step == 4
    Path("run/metrics.jsonl").unlink()
    Path("kept.jsonl").rename("run/metrics.jsonl")
    finish(resume_run("run"))
    assert outcome(Path("run")) == whole()


# Opening


def test_a_path_that_is_no_run_folder():
    refuses(lambda: RunFolder.open("nowhere"), "no run folder 'nowhere'")
    Path("empty").mkdir()
    refuses(lambda: RunFolder.open("empty"), "'empty'", *SETTINGS)


def test_a_folder_that_is_itself_a_link_is_opened(run):
    Path("link").symlink_to(run.absolute())
    assert load("link").step == load(run).step


def test_another_run_s_tokenizer_is_refused(run):
    (run / "tokenizer.json").write_text('{"format": 1, "kind": "byte", "end_of_document": true}')
    refuses(lambda: load(run), "tokenizer.json has 257 tokens")


@EACH_SETTINGS
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"[[[", b"[]"])
def test_a_missing_or_damaged_file_is_named(run, name, content):
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    refuses(lambda: load(run), name)


@pytest.mark.parametrize("name", [*SETTINGS, "checkpoints/step-30/state.json"])
def test_a_file_from_a_newer_version(run, name):
    path = run / name
    old = path.read_text()
    path.write_text(re.sub(r'(format"?)( =|:) \d', r"\1\2 3", old))
    assert path.read_text() != old
    add_up(run / "checkpoints/step-30")
    refuses(lambda: load(run, checkpoint="last"), name, "format 3", "reads 2" if name == "config.toml" else "reads 1")


@pytest.mark.parametrize("name", [*SETTINGS, "metrics.jsonl"])
def test_links_out_of_the_folder_are_not_followed(run, name):
    shutil.move(run / name, "elsewhere")
    (run / name).symlink_to(Path("elsewhere").absolute())
    refuses(lambda: (load(run), steps_of(RunFolder(run))), name, "link out of run")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "checkpoints/last"])
def test_a_pipe_is_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    refuses(lambda: (load(run, checkpoint="last"), steps_of(RunFolder(run))), name)


@EACH_SETTINGS
def test_a_file_of_a_terabyte_is_not_read(run, name):
    with (run / name).open("ab") as file:
        file.truncate(1 << 40)
    refuses(lambda: load(run), name, "larger than")


# One process at a time


def test_a_run_is_trained_by_one_process_at_a_time():
    first = start("run", steps=9, stop_at=7, log_every=1, eval_every=4).events()
    while next(first).step < 6:
        pass
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    refuses(lambda: finish(resume_run("run")), "another process is training 'run'")
    # What was logged since the last checkpoint is left alone too.
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    first.close()  # releases the lock
    finish(resume_run("run"))


def test_a_killed_process_leaves_no_lock(run):
    code = (
        "import os, nanogpt.runs.folder as f\n"
        "with f.RunFolder('run').locked(): print('in', flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("in\n", -9)
    with RunFolder("run").locked():
        pass
