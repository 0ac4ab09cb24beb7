"""Trainings as processes: they outlive whoever started them, are found again, stopped and gone on with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio_server import wait_for
from tiny import refuses, start, trained, write_text

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.learn import jobs as module
from nanogpt.studio.learn.jobs import Job, Jobs, Stage, is_locked, job_file, log_file
from nanogpt.studio.learn.processes import command, identity, interrupt
from nanogpt.training.launch import is_done

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def sleeper():
    """A stranger: a process that is no training."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@posix
def test_a_process_is_known_by_when_it_started(sleeper):
    known = identity(sleeper.pid)
    assert known
    assert known != identity(os.getpid())
    assert known == identity(sleeper.pid)
    sleeper.kill()
    # Not waited for, it is still in the table of processes, and yet there is none.
    wait_for(lambda: identity(sleeper.pid) is None, 10)
    assert identity(-1) is identity(0) is None


@posix
def test_a_stranger_with_the_number_of_an_old_job_is_left_alone(sleeper, tmp_path):
    run = tmp_path / "tale-1"
    job_file(run).write_text(json.dumps({"pid": sleeper.pid, "started": "another time"}))
    jobs = Jobs(tmp_path)
    assert jobs.stage(run) is Stage.RESTING
    refuses(lambda: jobs.stop(run), "nothing trains it")
    assert not interrupt(sleeper.pid, "another time")
    time.sleep(0.2)
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "said", ["", "{}", "[]", '{"pid": "x", "started": ""}', "[" * 9000, '{"pid": 1}', '{"pid": Infinity}']
)
def test_a_damaged_job_file_is_no_job(tmp_path, said):
    job_file(tmp_path / "a-1").write_text(said)
    assert Jobs(tmp_path).job(tmp_path / "a-1") is None
    assert Jobs(tmp_path).beginning() == []


def test_a_job_without_a_start_is_not_running():
    assert not Job(pid=os.getpid(), started="").running


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 81, "-x", "a b"])
def test_names_that_are_none(tmp_path, name):
    refuses(lambda: Jobs(tmp_path).start("tale.txt", 1, name), "no name")
    assert not list(tmp_path.iterdir())


def test_the_command_that_is_run(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(module, "start_detached", lambda *words: seen.append(words) or 0)
    (tmp_path / "tale-1").mkdir()
    run = Jobs(tmp_path).start("/x/tale.txt", 0.5, "tale")
    assert run == tmp_path / "tale-2"
    words = ("train", "/x/tale.txt", "--minutes", "0.5", "--out", str(run))
    assert seen == [(command(*words), log_file(run), tmp_path)]
    assert Jobs(tmp_path).start("/x/tale.txt", 0.5, "tale") == tmp_path / "tale-3"  # one is on its way already


def test_two_who_start_at_the_same_time_get_a_folder_each(tmp_path, monkeypatch):
    """From two pages, or two studios on one folder: else one's process would be forgotten, and nobody could stop it."""
    meeting = threading.Barrier(2, timeout=10)

    def start_slowly(*words):
        meeting.wait()
        return 0

    monkeypatch.setattr(module, "start_detached", start_slowly)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: Jobs(tmp_path).start("tale.txt", 1, "tale"), range(2)))
    assert {one.name for one in runs} == {"tale-1", "tale-2"}


def test_two_who_go_on_at_the_same_time_begin_one_process(tmp_path, monkeypatch):
    begun = []

    def start_slowly(*words):
        time.sleep(0.1)
        begun.append(words)
        return os.getpid()

    monkeypatch.setattr(module, "start_detached", start_slowly)
    run = tmp_path / "tale-1"
    run.mkdir()

    def resume(_):
        try:
            Jobs(tmp_path).resume(run)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(resume, range(2)))
    assert len(begun) == 1
    assert sorted(told, key=str) == [None, "tale-1 is being trained already"]


@posix
def test_a_start_that_fails_leaves_the_name_free(tmp_path, monkeypatch):
    def fail(*words):
        raise OSError(11, "no more processes")

    with monkeypatch.context() as patch:
        patch.setattr(module, "start_detached", fail)
        refuses(lambda: Jobs(tmp_path).start("tale.txt", 1, "tale"), "no more processes")
    monkeypatch.setattr(module, "start_detached", lambda *words: 0)
    assert Jobs(tmp_path).start("tale.txt", 1, "tale") == tmp_path / "tale-1"


@posix
def test_a_log_that_is_a_link_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for begin in (lambda: Jobs(shelf).start("--version", 1, "tale"), lambda: Jobs(shelf).resume(shelf / "tale-1")):
        log_file(shelf / "tale-1").unlink(missing_ok=True)
        log_file(shelf / "tale-1").symlink_to(precious)
        begin()
        wait_for(lambda: Jobs(shelf).stage(shelf / "tale-1") is Stage.RESTING, 60)
        assert precious.read_text() == "mine"
        assert log_file(shelf / "tale-1").read_text()


def test_files_beside_the_runs_are_not_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('imported a stranger')")
    (tmp_path / "nanogpt.py").write_text("raise SystemExit('imported a stranger')")
    from nanogpt.studio.learn.processes import environment

    said = subprocess.run(
        command("--version"), cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("nanogpt ")


def test_a_run_trained_elsewhere_is_told_by_its_lock(tmp_path):
    run = trained("shelf/run", steps=2)
    jobs = Jobs(run.parent)
    assert not is_locked(run)
    assert jobs.stage(run) is Stage.RESTING
    with RunFolder(run).locked():
        assert is_locked(run)
        assert jobs.stage(run) is Stage.ELSEWHERE
        refuses(lambda: jobs.stop(run), "Ctrl-C")
        refuses(lambda: jobs.resume(run), "already")
    assert jobs.stage(run) is Stage.RESTING


SERVER = """
import sys
from pathlib import Path
from nanogpt.studio.learn.jobs import Jobs
Jobs(Path(sys.argv[1])).resume(Path(sys.argv[2]))
"""


@posix
@pytest.mark.slow
def test_a_training_outlives_its_server_is_found_stopped_and_ended(shelf):
    """A server starts it and is killed; another one finds it, stops it, and goes on with it to the end."""
    text = write_text("tale.txt", 3000)
    # Long enough to be caught at work: it is stopped after a step or so.
    sizes = {"n_layer": 6, "n_embd": 128, "block_size": 64, "batch_size": 16, "eval_every": 1000}
    start(str(shelf / "tale-1"), steps=400, text=str(text), **sizes)
    run = shelf / "tale-1"
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(shelf), str(run)], start_new_session=True)
    assert server.wait(60) == 0

    jobs = Jobs(shelf)
    job = jobs.job(run)
    assert job.running
    assert jobs.stage(run) is Stage.TRAINING
    wait_for(lambda: (run / "metrics.jsonl").exists() and '"step", "step": ' in (run / "metrics.jsonl").read_text())
    jobs.stop(run)
    wait_for(lambda: jobs.stage(run) is Stage.RESTING)
    saved = RunFolder(run).checkpoints.pointer("last")
    assert 0 < saved < 400
    assert not is_done(RunFolder(run))
    assert f"stopped at step {saved:,} and saved" in log_file(run).read_text()
    refuses(lambda: jobs.stop(run), "nothing trains it")

    # To the end, with a shorter plan so that it comes soon.
    folder = RunFolder(run)
    folder.write_plan(folder.read_plan().change(saved, saved + 3))
    jobs.resume(run)
    refuses(lambda: jobs.resume(run), "already")
    wait_for(lambda: jobs.stage(run) is Stage.RESTING)
    assert is_done(folder)
    assert folder.checkpoints.pointer("last") == saved + 3


@posix
@pytest.mark.slow
def test_a_start_that_fails_says_why_and_one_that_begins_is_seen(shelf):
    jobs = Jobs(shelf)
    run = jobs.start(str(shelf / "none.txt"), 0.1, "none")
    assert jobs.beginning() == [run]
    assert jobs.stage(run) is Stage.STARTING
    wait_for(lambda: jobs.stage(run) is Stage.RESTING)
    assert jobs.beginning() == []
    assert "none.txt" in log_file(run).read_text()
    again = jobs.start(str(write_text("tale.txt", 3000)), 5, "tale")
    os.kill(jobs.job(again).pid, signal.SIGKILL)
    wait_for(lambda: jobs.stage(again) is Stage.RESTING, 20)
