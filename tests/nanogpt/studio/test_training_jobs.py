"""Trainings as processes: they outlive the server that started them, are found again, stopped and resumed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio_process import end_trainings, wait_for
from tiny import raising, refuses, start, trained, write_text

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio import training_jobs

posix = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture
def runs(tmp_path):
    """An empty folder for runs. No training in it outlives the test."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    end_trainings(folder)


@pytest.fixture
def jobs(runs):
    return training_jobs.Jobs(runs)


@pytest.fixture
def started(monkeypatch):
    """Replaces the start of processes; returns the arguments of those that would have been started."""
    seen = []
    monkeypatch.setattr(training_jobs, "start_detached", lambda *words: seen.append(words) or 0)
    return seen


@pytest.fixture
def sleeper():
    """A process that is no training."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@posix
def test_a_process_is_identified_by_its_start(sleeper):
    known = training_jobs.process_start(sleeper.pid)
    assert known
    assert known == training_jobs.process_start(sleeper.pid) != training_jobs.process_start(os.getpid())
    sleeper.kill()
    wait_for(lambda: training_jobs.process_start(sleeper.pid) is None, 10)  # also while it is a zombie
    assert training_jobs.process_start(-1) is training_jobs.process_start(0) is None


@posix
def test_another_process_with_the_id_of_an_old_job_is_left_alone(sleeper, jobs):
    run = jobs.folder / "tale-1"
    training_jobs.job_file(run).write_text(json.dumps({"pid": sleeper.pid, "started": "another time"}))
    assert jobs.stage(run) is training_jobs.Stage.IDLE
    refuses(lambda: jobs.stop(run), "nothing trains it")
    assert not training_jobs.interrupt(sleeper.pid, "another time")
    time.sleep(0.2)
    assert sleeper.poll() is None
    assert not training_jobs.Job(pid=os.getpid(), started="").running


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"pid": "x", "started": ""}', "[" * 9000, '{"pid": 1}', '{"pid": Infinity}']
)
def test_an_invalid_job_file_is_no_job(jobs, content):
    training_jobs.job_file(jobs.folder / "a-1").write_text(content)
    assert jobs.job(jobs.folder / "a-1") is None
    assert jobs.starting() == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "x" * 81, "-x", "a b"])
def test_invalid_names(jobs, name):
    refuses(lambda: jobs.start("tale.txt", 1, name), "not a valid run name")
    assert not list(jobs.folder.iterdir())


def test_the_command_and_the_first_free_folder(jobs, started):
    (jobs.folder / "tale-1").mkdir()
    run = jobs.start("/x/tale.txt", 0.5, "tale")
    assert run == jobs.folder / "tale-2"
    words = ("train", "/x/tale.txt", "--minutes", "0.5", "--out", str(run))
    assert started == [(training_jobs.nanogpt_command(*words), training_jobs.log_file(run), jobs.folder)]
    assert jobs.start("/x/tale.txt", 0.5, "tale") == jobs.folder / "tale-3"


def test_two_starts_at_the_same_time_get_a_folder_each(jobs, monkeypatch):
    """From two pages, or two studios on one folder: else one process would be forgotten, and nobody could stop it."""
    meeting = threading.Barrier(2, timeout=10)
    monkeypatch.setattr(training_jobs, "start_detached", lambda *words: meeting.wait() * 0)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: jobs.start("tale.txt", 1, "tale"), range(2)))
    assert {one.name for one in runs} == {"tale-1", "tale-2"}


def test_two_resumes_at_the_same_time_start_one_process(jobs, sleeper, monkeypatch):
    begun = []

    def start_slowly(*words):
        time.sleep(0.1)
        begun.append(words)
        return sleeper.pid

    monkeypatch.setattr(training_jobs, "start_detached", start_slowly)
    run = jobs.folder / "tale-1"
    run.mkdir()

    def resume(_):
        try:
            jobs.resume(run)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(resume, range(2)))
    assert len(begun) == 1
    assert sorted(one is None for one in results) == [False, True]


def test_a_failed_start_leaves_the_name_free(jobs, started, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training_jobs, "start_detached", raising(OSError(11, "no more processes")))
        refuses(lambda: jobs.start("tale.txt", 1, "tale"), "no more processes")
    assert jobs.start("tale.txt", 1, "tale") == jobs.folder / "tale-1"


def test_a_log_that_is_a_link_does_not_lead_to_another_file(jobs, started):
    run = jobs.folder / "tale-1"
    run.mkdir()
    diary = jobs.folder.parent / "diary"
    (jobs.folder / "tale-1.log").symlink_to(diary)
    jobs.resume(run)
    (_, log, _) = started[0]
    assert not log.is_symlink()


def test_modules_next_to_the_runs_are_not_imported(tmp_path):
    for name in ("torch.py", "nanogpt.py"):
        (tmp_path / name).write_text("raise SystemExit('imported a stranger')")
    words = training_jobs.nanogpt_command("--version")
    found = subprocess.run(
        words, cwd=tmp_path, env=training_jobs.child_environment(), capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("nanogpt ")


def test_a_run_trained_elsewhere_is_recognized_by_its_lock():
    run = trained("runs/run", steps=2)
    jobs = training_jobs.Jobs(run.parent)
    assert not training_jobs.is_locked(run)
    assert jobs.stage(run) is training_jobs.Stage.IDLE
    with RunFolder(run).locked():
        assert training_jobs.is_locked(run)
        assert jobs.stage(run) is training_jobs.Stage.ELSEWHERE
        refuses(lambda: jobs.stop(run), "Ctrl-C")
        refuses(lambda: jobs.resume(run), "already")
    assert jobs.stage(run) is training_jobs.Stage.IDLE


def test_the_end_of_a_log_is_read_without_control_characters(tmp_path):
    log = tmp_path / "run.log"
    log.write_bytes(b"begin " + b"x" * 100_000 + b"\n\x1b[31mred\x07 \xff end\n")
    end = training_jobs.read_tail(log)
    assert "begin" not in end
    assert end.endswith("[31mred \ufffd end\n")
    assert "\x1b" not in end
    assert training_jobs.last_lines("a\n\n b \n") == "a\n b"
    assert training_jobs.read_tail(tmp_path / "none") == ""


SERVER = """
import sys
from pathlib import Path
from nanogpt.studio.training_jobs import Jobs
Jobs(Path(sys.argv[1])).resume(Path(sys.argv[2]))
"""


@posix
@pytest.mark.slow
def test_a_training_outlives_its_server_is_found_stopped_and_resumed(runs, jobs):
    """A server starts it and is killed; another one finds it, stops it, and resumes it to the end."""
    text, run = write_text("tale.txt", 3000), runs / "tale-1"
    # Large enough to be stopped after a step or so.
    sizes = {"n_layer": 6, "n_embd": 128, "block_size": 64, "batch_size": 16, "eval_every": 1000}
    start(str(run), steps=400, text=str(text), **sizes)
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(runs), str(run)], start_new_session=True)
    assert server.wait(60) == 0

    assert jobs.job(run).running
    assert jobs.stage(run) is training_jobs.Stage.TRAINING
    wait_for(lambda: (run / "metrics.jsonl").exists() and '"step", "step": ' in (run / "metrics.jsonl").read_text())
    jobs.stop(run)
    wait_for(lambda: jobs.stage(run) is training_jobs.Stage.IDLE)
    folder = RunFolder(run)
    saved = folder.checkpoints.pointer("last")
    assert 0 < saved < 400
    assert not folder.done()
    assert f"{saved:,}" in training_jobs.log_file(run).read_text()
    refuses(lambda: jobs.stop(run), "nothing trains it")

    # With a shorter plan, so that the end comes soon.
    folder.write_plan(folder.read_plan().change(saved, saved + 3))
    jobs.resume(run)
    refuses(lambda: jobs.resume(run), "already")
    wait_for(lambda: jobs.stage(run) is training_jobs.Stage.IDLE)
    assert folder.done()
    assert folder.checkpoints.pointer("last") == saved + 3


@posix
@pytest.mark.slow
def test_a_start_that_fails_says_why_and_one_that_begins_is_seen(jobs):
    run = jobs.start(str(jobs.folder / "none.txt"), 0.1, "none")
    assert jobs.starting() == [run]
    assert jobs.stage(run) is training_jobs.Stage.STARTING
    wait_for(lambda: jobs.stage(run) is training_jobs.Stage.IDLE)
    assert jobs.starting() == []
    assert "none.txt" in training_jobs.log_file(run).read_text()
    again = jobs.start(str(write_text("tale.txt", 3000)), 5, "tale")
    os.kill(jobs.job(again).pid, signal.SIGKILL)
    wait_for(lambda: jobs.stage(again) is training_jobs.Stage.IDLE, 20)
