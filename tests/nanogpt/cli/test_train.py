import re
import signal
import sys
import time
from pathlib import Path

import pytest
from tiny import SMALL_RUN, finish, outcome, raising, start, trained, weights, write_text

from nanogpt.config import flag
from nanogpt.files import cache_folder
from nanogpt.runs.run import load
from nanogpt.training.seeds import outcomes, spread_lines
from nanogpt.training.trainer import TrainStep

FLAGS = [word for name, value in SMALL_RUN.items() for word in (flag(name), str(value))]


def test_train_and_then(nanogpt):
    write_text()
    found = nanogpt("train", "tale.txt", "--steps", 3, *FLAGS)
    assert found.code == 0
    sample, studio = found.out.splitlines()
    assert sample.endswith(': nanogpt sample runs/tale-modern-1 --prompt "..."')
    assert studio.endswith(": nanogpt studio runs/tale-modern-1")
    assert "validation loss" in found.err
    assert load("runs/tale-modern-1").folder.done()


def test_flags_are_settings(nanogpt):
    write_text()
    words = ["--preset", "gpt2", "--steps", 1, "--out", "run", "--n-embd", 22, "--bias", "False", "--tokenizer", "byte"]
    words += ["--learning-rate", "2e-3", "--grad-clip", "inf", "--n-layer", 1, "--n-head", 1, "--norm", "rms"]
    assert nanogpt("train", "tale.txt", *words).code == 0
    config = load("run").config
    assert (config.preset, config.model.n_embd, config.model.bias, config.data.tokenizer) == ("gpt2", 22, False, "byte")
    assert (config.train.learning_rate, config.train.grad_clip, config.model.norm) == (2e-3, float("inf"), "rms")
    assert config.model.block_size == 64  # the preset's


def test_the_command_line_is_the_library(nanogpt):
    write_text()
    nanogpt("train", "tale.txt", "--steps", 8, "--out", "cli", *FLAGS)
    assert outcome(Path("cli")) == outcome(trained("library"))


def test_with_no_text_and_no_network_python_is_read_and_that_is_said(nanogpt, monkeypatch):
    Path("stdlib").mkdir()
    write_text("stdlib/a.py")
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": "stdlib"})
    found = nanogpt("train", "--steps", 1, *FLAGS)
    assert found.code == 0
    assert re.search("note: 'shakespeare' is not on this machine .* reading 'python' instead", found.err)
    assert Path("runs/python-modern-1").is_dir()


def test_what_a_resumed_run_refuses(refuses):
    finish(start("run", stop_at=3))
    words = ["train", "tale.txt", "--resume", "run", "--n-layer", 3, "--out", "x"]
    refuses(*words, saying=["leave out text, --out, --n-layer"])


def test_resuming_may_change_the_device(nanogpt):
    """A run that began on a GPU, on a machine without one."""
    whole = trained("whole")
    finish(start("run", stop_at=3))
    path = Path("run/config.toml")
    path.write_text(path.read_text().replace('device = "auto"', 'device = "cuda"'))
    found = nanogpt("train", "--resume", "run", "--device", "cpu")
    assert found.code == 0
    assert outcome(Path("run")) == outcome(whole)


def test_a_full_disk_is_no_traceback(refuses, monkeypatch):
    write_text()
    monkeypatch.setattr("nanogpt.data.tokenize.os.fsync", raising(OSError(28, "No space left on device")))
    refuses("train", "tale.txt", "--steps", 1, saying=["cannot write", ".npy", "No space left", "NANOGPT_CACHE"])
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


def before_step(monkeypatch, do):
    original = TrainStep.__call__

    def call(self, step, lr):
        do(step)
        return original(self, step, lr)

    monkeypatch.setattr(TrainStep, "__call__", call)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_saves_and_says_how_to_resume(nanogpt, monkeypatch, number):
    write_text()
    whole = trained("whole", steps=9, eval_every=5)
    before_step(monkeypatch, lambda step: step == 3 and signal.raise_signal(number))
    found = nanogpt("train", "tale.txt", *FLAGS, "--steps", 9, "--eval-every", 5, "--out", "run")
    monkeypatch.undo()
    assert found.code == 130
    assert found.out == "stopped at step 4 and saved; resume with: nanogpt train --resume run\n"
    assert load("run", checkpoint="last").step == 4
    assert nanogpt("train", "--resume", "run").code == 0
    assert outcome(Path("run")) == outcome(whole)


def test_a_second_signal_stops_at_once(nanogpt, monkeypatch):
    write_text()
    before_step(monkeypatch, lambda step: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    assert nanogpt("train", "tale.txt", "--steps", 8, "--out", "run", *FLAGS).code == 130
    monkeypatch.undo()
    assert load("run", checkpoint="last").step == 0
    assert nanogpt("train", "--resume", "run").code == 0
    assert weights(Path("run")) == weights(trained("whole"))


LONG = [*FLAGS, "--steps", "4000", "--log-every", "1", "--eval-every", "100000"]


def wait_for(process, ready, seconds=60):
    """Until `ready()` is true; fails where the process ends before, or time does."""
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_real_signal(process, number):
    write_text()
    training = process("train", "tale.txt", "--out", "run", *LONG)
    metrics = Path("run/metrics.jsonl")
    wait_for(training, lambda: metrics.exists() and '"event": "step"' in metrics.read_text())
    training.send_signal(number)
    out, err = training.communicate(timeout=60)
    assert training.returncode == 130, err
    step = int(re.search("stopped at step ([0-9,]+) and saved", out)[1].replace(",", ""))
    assert "nanogpt train --resume run" in out
    assert load("run", checkpoint="last").step == step > 0
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("moment", ["plan.toml", "checkpoints/last", "metrics.jsonl"])
def test_a_killed_run_resumes(process, moment):
    write_text()
    settings = ["--steps", "60", "--log-every", "1", *FLAGS]
    training = process("train", "tale.txt", "--out", "run", *settings)
    wait_for(training, (Path("run") / moment).exists)
    training.kill()
    training.communicate()
    resumed = process("train", "--resume", "run")
    _, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    assert outcome(Path("run")) == outcome(trained("whole", steps=60, log_every=1))


def test_several_seeds(nanogpt):
    write_text()
    words = ["train", "tale.txt", "--steps", 3, *FLAGS, "--seeds", 2, "--out", "two"]
    found = nanogpt(*words)
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0] == "seed 1337 of 1337 to 1338: two/seed-1337"
    assert lines[1] == "seed 1338 of 1337 to 1338: two/seed-1338"
    assert lines[2:-1] == list(spread_lines(outcomes(["two"])))
    assert lines[-1] == "compare: nanogpt runs --significance two --against RUN ..."
    assert weights(Path("two/seed-1337")) == weights(trained("alone", steps=3))
    again = [nanogpt(*words), nanogpt("train", "--resume", "two")]
    assert all(one.out.splitlines() == lines[2:] for one in again)


def test_ctrl_c_between_seeds_and_going_on(nanogpt, monkeypatch):
    write_text()
    asked = []

    def after_five(self):  # of two runs with three steps each
        asked.append(1)
        return len(asked) == 5

    monkeypatch.setattr("nanogpt.parallel.process.Interrupt.__call__", after_five)
    found = nanogpt("train", "tale.txt", "--steps", 3, *FLAGS, "--seeds", 2)
    assert found.code == 130
    assert "stopped at step 2 and saved; resume with: nanogpt train --resume runs/seeds-1\n" in found.out
    found = nanogpt("train", "--resume", "runs/seeds-1")
    assert found.code == 0
    assert found.out.startswith("seed 1338 of 1337 to 1338: runs/seeds-1/seed-1338\n")
    assert weights(Path("runs/seeds-1/seed-1338")) == weights(trained("alone", steps=3, seed=1338))


def test_bad_seeds(refuses):
    write_text()
    Path("there").mkdir()
    refuses("train", "tale.txt", "--steps", 3, "--seeds", 2, "--out", "there", saying=["'there' already exists"])
    refuses("train", "--resume", "there", "--seeds", 2, saying=["--seeds"])
