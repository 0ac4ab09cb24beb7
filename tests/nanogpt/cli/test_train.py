"""`nanogpt train`: what is wrong is named and costs nothing; what is interrupted goes on."""

import json
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from tiny import SMALL_RUN, finish, outcome, start, trained, weights, write_text

from nanogpt.files import cache_folder
from nanogpt.runs.run import load
from nanogpt.training.launch import is_done
from nanogpt.training.seeds import outcomes, spread_lines
from nanogpt.training.step import Stepper

FLAGS = [word for name, value in SMALL_RUN.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_train_and_then(nanogpt):
    write_text()
    found = nanogpt("train", "tale.txt", "--steps", 3, *FLAGS)
    assert found.code == 0
    assert found.out == (
        'let it write: nanogpt sample runs/tale-modern-1 --prompt "..."\n'
        "look inside it: nanogpt studio runs/tale-modern-1\n"
    )
    assert "validation loss" in found.err
    assert is_done(load("runs/tale-modern-1").folder)


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
    monkeypatch.setattr("nanogpt.text.corpus.sysconfig.get_paths", lambda: {"stdlib": "stdlib"})
    found = nanogpt("train", "--steps", 1, *FLAGS)
    assert found.code == 0
    assert re.search("note: 'shakespeare' is not on this machine .* reading 'python' instead", found.err)
    assert Path("runs/python-modern-1").is_dir()


# Bad input


def text_of(content):
    path = Path("tale.txt")
    path.write_bytes(content)
    return path


BAD_TEXTS = {
    "empty": (b"", ["tale.txt is empty", "give a file with some text"]),
    "blank": (b" \n\n", ["tale.txt is empty"]),
    "binary": (b"\x7fELF\0\0\1", ["tale.txt is a binary file", "byte 4 is 0"]),
    "latin-1": (b"caf\xe9\n" * 100, ["0xe9", "offset 3", "--encoding latin-1"]),
    "utf-16": ("text".encode("utf-16"), ["UTF-16", "--encoding utf-16"]),
    "too short": (b"abcdefgh", ["validation part", "1 tokens", "longer text"]),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_bad_text(refuses, name):
    content, saying = BAD_TEXTS[name]
    refuses("train", text_of(content), "--steps", 3, saying=saying)


def test_no_such_file_and_a_folder_without_text(refuses):
    refuses("train", "bok.txt", "--steps", 3, saying=["no file or folder 'bok.txt'", "shakespeare", "python"])
    Path("empty").mkdir()
    refuses("train", "empty", "--steps", 3, saying=["no text below the folder 'empty'"])


def test_no_network_for_a_named_corpus(refuses):
    refuses(
        "train",
        "shakespeare",
        "--steps",
        3,
        saying=["'shakespeare'", "could not be downloaded", "NANOGPT_DATA", "'python'"],
    )


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--n-embd", "130"], ["n_embd 130", "n_head 4", "128", "132", "head_size"]),
        (["--head-size", "7"], ["rope", "head_size is 7", "even"]),
        (["--n-kv-head", "3"], ["n_kv_head 3", "divisor of 4"]),
        (["--preset", "modren"], ["'modren'", "did you mean 'modern'?"]),
        (["--preset", "mine.toml"], ["cannot read 'mine.toml'"]),
        (["--steps", "0"], ["steps is 0", "from 1"]),
        (["--minutes", "0"], ["minutes is 0", "above 0"]),
        (["--minutes", "1", "--steps", "1"], ["--minutes 1", "--steps 1", "one of them"]),
        (["--dropout", "1.5"], ["dropout is 1.5"]),
        (["--learning-rate", "-1"], ["learning_rate is -1"]),
        (["--val", "nowhere.txt"], ["no file or folder 'nowhere.txt'"]),
        (["--out", "there"], ["'there' exists already", "never overwritten", "--resume there"]),
        (["--out", "tale.txt"], ["'tale.txt' exists already"]),
        (["--resume", "nowhere", "--steps", "3"], ["leave steps out"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_settings(refuses, words, saying):
    write_text()
    Path("there").mkdir()
    length = [] if {"--steps", "--minutes"} & set(words) else ["--steps", "3"]
    text = [] if "--resume" in words else ["tale.txt"]
    refuses("train", *text, *length, *words, saying=saying)


def test_an_unknown_key_in_a_file_of_settings(refuses):
    write_text()
    Path("mine.toml").write_text("[model]\nn_layers = 3\n")
    refuses("train", "tale.txt", "--steps", 3, "--preset", "mine.toml", saying=["mine.toml", "'n_layers'", "'n_layer'"])


def test_resuming_what_is_none(refuses):
    refuses("train", "--resume", "nowhere", saying=["no run folder 'nowhere'", "`nanogpt runs`"])
    refuses("train", "--resume", "last", saying=["no run below 'runs'", "nanogpt train"])
    Path("empty").mkdir()
    refuses("train", "--resume", "empty", saying=["not a run folder", "config.toml"])


def test_resuming_a_run_from_a_newer_version(refuses):
    finish(start("run", stop_at=3))
    path = Path("run/config.toml")
    path.write_text(path.read_text().replace("format = 1", "format = 9"))
    refuses("train", "--resume", "run", saying=["newer nanogpt", "format 9", "upgrade"])


def test_resuming_takes_no_other_settings(refuses):
    finish(start("run", stop_at=3))
    refuses(
        "train", "tale.txt", "--resume", "run", "--n-layer", 3, "--out", "x", saying=["leave text, out, n_layer out"]
    )
    refuses("train", "--resume", "run", "--preset", "gpt2", saying=["preset"])


def test_resuming_may_change_the_device(nanogpt):
    """A run that began on a GPU that this machine has not."""
    whole = trained("whole")
    finish(start("run", stop_at=3))
    path = Path("run/config.toml")
    path.write_text(path.read_text().replace('device = "auto"', 'device = "cuda"'))
    found = nanogpt("train", "--resume", "run", "--device", "cpu")
    assert found.code == 0
    assert outcome(Path("run")) == outcome(whole)


def test_a_full_disk_is_told_and_no_traceback(refuses, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    write_text()
    monkeypatch.setattr("nanogpt.data.token_file.os.fsync", full)
    refuses("train", "tale.txt", "--steps", 1, saying=["cannot write", ".npy", "No space left", "NANOGPT_CACHE"])
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


# Interrupted


def test_a_finished_run_says_so(nanogpt):
    run = trained("run")
    before = outcome(run)
    found = nanogpt("train", "--resume", "run")
    assert found.code == 0
    assert "this run is finished" in found.out
    assert outcome(run) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_saves_and_says_how_to_go_on(nanogpt, monkeypatch, number):
    write_text()
    whole = trained("whole", steps=9, eval_every=5)
    original = Stepper.step

    def step(self, step, rate):
        if step == 3:
            signal.raise_signal(number)
        return original(self, step, rate)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", step)
        found = nanogpt("train", "tale.txt", *FLAGS, "--steps", 9, "--eval-every", 5, "--out", "run")
    assert found.code == 130
    assert "saving at the end of this step" in found.err
    assert found.out == "stopped at step 4 and saved; go on with: nanogpt train --resume run\n"
    assert load("run", checkpoint="last").step == 4
    assert nanogpt(*found.out.strip().split("nanogpt ")[1].split()).code == 0
    assert outcome(Path("run")) == outcome(whole)


def test_a_second_signal_stops_at_once(nanogpt, monkeypatch):
    write_text()

    def step(self, step, rate):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", step)
        assert nanogpt("train", "tale.txt", "--steps", 8, "--out", "run", *FLAGS).code == 130
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
def test_a_killed_run_goes_on(process, moment):
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


def test_a_loss_that_is_not_finite(nanogpt, monkeypatch):
    write_text()
    original = Stepper.step
    nan = float("nan")
    monkeypatch.setattr(
        Stepper, "step", lambda self, step, rate: original(self, step, rate) * (nan if step == 5 else 1)
    )
    found = nanogpt("train", "tale.txt", "--steps", 8, "--out", "run", *FLAGS)
    assert found.code == 2
    assert "at step 5 the loss became nan" in found.err
    assert "lower --learning-rate" in found.err
    last = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()][-1]
    assert last["step"] == 4
    assert load("run", checkpoint="last").step == 4


# Several seeds


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

    monkeypatch.setattr("nanogpt.training.interrupt.Interrupt.__call__", after_five)
    found = nanogpt("train", "tale.txt", "--steps", 3, *FLAGS, "--seeds", 2)
    assert found.code == 130
    assert "stopped at step 2 and saved; go on with: nanogpt train --resume runs/seeds-1\n" in found.out
    found = nanogpt("train", "--resume", "runs/seeds-1")
    assert found.code == 0
    assert found.out.startswith("seed 1338 of 1337 to 1338: runs/seeds-1/seed-1338\n")
    assert weights(Path("runs/seeds-1/seed-1338")) == weights(trained("alone", steps=3, seed=1338))


def test_bad_seeds(refuses):
    write_text()
    refuses("train", "tale.txt", "--steps", 3, "--seeds", 1, saying=["seeds is 1", "no spread"])
    Path("there").mkdir()
    refuses("train", "tale.txt", "--steps", 3, "--seeds", 2, "--out", "there", saying=["'there' exists already"])
    refuses("train", "--resume", "there", "--seeds", 2, saying=["leave seeds out"])
