"""`nanogpt sample`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import start

import nanogpt as library


@pytest.fixture
def run(finished_run):
    return str(finished_run)


def test_it_writes_what_the_library_writes(nanogpt, run):
    found = nanogpt("sample", run, "--prompt", "the c", "--tokens", 20, "--seed", 5)
    assert found.code == 0
    assert found.out == library.load(run).generate("the c", tokens=20, seed=5) + "\n"


def test_every_setting_arrives(nanogpt, run):
    settings = {"tokens": 30, "temperature": 0.6, "top_k": 7, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    found = nanogpt("sample", run, "--prompt", "the", *words, "--stop", "q", ".")
    assert found.out == library.load(run).generate("the", **settings, stop=("q", ".")) + "\n"
    assert found.out != nanogpt("sample", run, "--prompt", "the", "--tokens", 30).out


def test_the_newest_run(nanogpt, run):
    import shutil

    shutil.copytree(run, "runs/cats")
    assert nanogpt("sample", "--tokens", 5).out == nanogpt("sample", run, "--tokens", 5).out


def test_several(nanogpt, run):
    texts = library.load(run).generate_batch("the", tokens=9, samples=3)
    found = nanogpt("sample", run, "--prompt", "the", "--tokens", 9, "--samples", 3)
    assert found.out == "".join(f"--- {number} of 3\n{text}\n" for number, text in enumerate(texts, 1))


def test_to_a_file(nanogpt, run):
    found = nanogpt("sample", run, "--prompt", "the", "--tokens", 9, "--samples", 2, "--out", "story.txt")
    assert (found.code, found.out) == (0, "wrote 2 text(s) to story.txt\n")
    texts = library.load(run).generate_batch("the", tokens=9, samples=2)
    assert Path("story.txt").read_text(encoding="utf-8") == "\n".join(texts) + "\n"


def test_a_file_is_not_overwritten(refuses, run):
    Path("story.txt").write_text("mine")
    refuses("sample", run, "--out", "story.txt", saying=["'story.txt' exists already", "choose another --out"])
    assert Path("story.txt").read_text() == "mine"


def test_a_prompt_from_a_file(nanogpt, run):
    Path("prompt.txt").write_bytes(b"the cat\r\nsat")
    found = nanogpt("sample", run, "--prompt-file", "prompt.txt", "--tokens", 5)
    assert found.out.startswith("the cat\nsat")


def test_an_empty_prompt_and_one_longer_than_the_context(nanogpt, run):
    assert nanogpt("sample", run, "--tokens", 5).code == 0
    prompt = "the cat sat on the mat, and the dog saw that "
    assert nanogpt("sample", run, "--prompt", prompt, "--tokens", 5).out.startswith(prompt)


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--prompt", "Zé 中"], ["never saw 'Z' 'é' '中'", "--unknown skip"]),
        (["--prompt", "the", "--prompt-file", "x"], ["both --prompt and --prompt-file"]),
        (["--prompt-file", "nowhere"], ["cannot read 'nowhere'"]),
        (["--temperature", "-1"], ["temperature is -1"]),
        (["--top-p", "0"], ["top_p is 0"]),
        (["--tokens", "0"], ["tokens is 0"]),
        (["--samples", "0"], ["samples is 0"]),
        (["--stop", ""], ["stop string is empty"]),
        (["--device", "cuda"], ["device 'cuda'", "cpu"]),
    ],
    ids=" ".join,
)
def test_bad_input(refuses, run, monkeypatch, words, saying):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refuses("sample", run, *words, saying=saying)


def test_an_unknown_character_can_be_skipped(nanogpt, run):
    found = nanogpt("sample", run, "--prompt", "Zthe", "--unknown", "skip", "--tokens", 3)
    assert found.code == 0
    assert found.out.startswith("Zthe")


def test_no_run(refuses):
    refuses("sample", "nowhere", saying=["no run folder 'nowhere'"])
    start("young")
    refuses("sample", "young", saying=["no checkpoint yet", "--resume young"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_reader_that_goes_away(process, run):
    sample = process("sample", run, "--prompt", "the cat", "--tokens", 3000)
    assert sample.stdout.read(7) == "the cat"
    sample.stdout.close()  # as `head` does
    assert sample.wait(timeout=60) == 0
    assert sample.stderr.read() == ""


@pytest.mark.slow
def test_a_terminal_that_knows_no_more_than_ascii(run):
    words = [sys.executable, "-m", "nanogpt", "sample", run, "--unknown", "skip", "--tokens", "3", "--prompt", "the é"]
    found = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=False)
    assert b"Traceback" not in found.stderr
