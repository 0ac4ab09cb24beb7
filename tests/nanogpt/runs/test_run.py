"""A trained model, opened: generate, stream, evaluate; and finding runs."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SMALL_RUN, make_run, refuses, start, trained, write_text

import nanogpt
from nanogpt.config import SampleConfig
from nanogpt.errors import shell_quote
from nanogpt.evaluation.loss import evaluate
from nanogpt.runs.find import _last_change, list_runs, newest_run
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import load
from nanogpt.sampling.generate import generate_text
from nanogpt.text.corpus import Corpus


@pytest.fixture(scope="module")
def run(finished_run):
    return nanogpt.load(finished_run)


def test_what_a_run_knows(run, finished_run):
    assert run.path == finished_run
    assert run.step in range(31)
    assert (run.config.preset, run.plan.text, run.plan.steps) == ("modern", "cats", 30)
    assert run.model.config == run.config.model
    assert not run.model.training
    assert run.tokenizer.encode("cat").tolist() == [run.tokenizer.characters.index(c) for c in "cat"]


def test_every_call_gives_the_prompt_and_its_continuation(run):
    text = run.generate("the cat", tokens=9, seed=5)
    assert text == "the cat" + generate_text(run.model, run.tokenizer, "the cat", SampleConfig(tokens=9, seed=5))[0]
    assert text == "the cat" + "".join(run.stream("the cat", tokens=9, seed=5))
    assert text == run.generate("the cat", config=SampleConfig(tokens=9, seed=5))
    assert text == run.generate("the cat", config=SampleConfig(tokens=9), seed=5)
    assert text != run.generate("the cat", tokens=9, seed=6)
    assert run.generate("the", temperature=0, seed=1) == run.generate("the", temperature=0, seed=2)
    assert 0 < len(run.generate(tokens=9)) <= 9
    assert " " not in run.generate("the", tokens=300, stop=(" ",))


def test_a_text_longer_than_the_context(run):
    assert run.config.model.block_size == 16
    assert len(run.generate("the cat sat on the mat, and the dog", tokens=100, temperature=0)) == 35 + 100


def test_several_prompts_and_samples_are_each_continued_as_if_alone(run):
    prompts, settings = ["the c", "", "the dog sat on the tree, and ", "a"], {"tokens": 30, "samples": 2, "seed": 3}
    each = [text for prompt in prompts for text in run.generate_batch(prompt, **settings)]
    assert run.generate_batch(prompts, **settings) == each
    assert each[0] == run.generate("the c", tokens=30, seed=3)
    assert each[0] != each[1]
    refuses(lambda: run.generate_batch([]), "no prompt")


@pytest.mark.parametrize("call", ["generate", "generate_batch", "stream"])
def test_an_unknown_character_is_named(run, call):
    refuses(lambda: list(getattr(run, call)("Zé the", tokens=3)), "'Z' 'é'", "--unknown skip")
    assert list(getattr(run, call)("Zé the", "skip", tokens=3))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temprature": 1}, ["'temprature'", "'temperature'"]),
        ({"samples": 2}, ["samples", "2", "generate_batch"]),
        *(({"tokens": value}, ["--tokens", repr(value)]) for value in (0, "5", 2.5)),
        ({"temperature": -1}, ["--temperature", "-1"]),
        ({"stop": "end"}, ["--stop", "'end'"]),
    ],
    ids=str,
)
def test_wrong_settings(run, settings, words):
    refuses(lambda: run.generate("the", **settings), *words)


def test_evaluations(run):
    whole = run.evaluate()
    assert (whole.tokens, whole.protocol) == (199, "whole split, 199 tokens in consecutive windows of 16")
    Path("other.txt").write_text("the cat sat there\r\n")
    other = run.evaluate("other.txt")
    assert other.tokens == len("the cat sat there\n")
    ids = np.append(run.tokenizer.end_of_document, run.tokenizer.encode("the cat sat there\n"))
    assert other == evaluate(run.model, ids, run.tokenizer)
    Path("unknown.txt").write_text("the Zoo sat")
    refuses(lambda: run.evaluate("unknown.txt"), "'Z'")
    assert run.evaluate("unknown.txt", unknown="skip").tokens == len("the oo sat")
    refuses(lambda: run.evaluate(Corpus.of_texts("")), "nothing to predict")


def test_the_best_or_the_last(finished_run, monkeypatch):
    own = Path(shutil.copytree(finished_run, "own"))
    steps = sorted(int(path.name[5:]) for path in own.glob("checkpoints/step-*"))
    (own / "checkpoints/best").write_text(f"step-{steps[0]}\n")
    best, last = load(own), load(own, checkpoint="last")
    assert (best.step, last.step) == (steps[0], 30)
    assert not torch.equal(best.model.lm_head.weight, last.model.lm_head.weight)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refuses(lambda: load(own, device="cuda"), "--device cuda")


def test_commands_to_type_quote_the_folder():
    start("a young run")
    refuses(lambda: load("a young run"), f"--resume {shell_quote('a young run')}")
    imported = make_run("an imported run")
    imported.folder.write_plan(Plan(text="elsewhere", steps=0))
    refuses(imported.data, f"--from {shell_quote('an imported run')}")


def test_runs_in_the_order_of_their_training():
    assert list_runs() == []
    refuses(load, "no run below 'runs'", "nanogpt train", "'starter'")
    for number, name in enumerate(("b", "c", "a")):
        trained(f"runs/{name}", steps=1)
        os.utime(f"runs/{name}/checkpoints/last", (number, number))
    Path("runs/not-a-run").mkdir()
    Path("runs/file").write_text("")
    assert [run.path.name for run in list_runs()] == ["b", "c", "a"]
    assert newest_run() == load().path == Path("runs/a")
    start("runs/young", steps=1)
    assert newest_run() == Path("runs/young")  # also before its first checkpoint
    assert _last_change(RunFolder("gone")) == 0.0  # deleted while runs are listed


def test_the_names_of_the_package():
    assert set(nanogpt.__all__) == {"Run", "UserError", "__version__", "load", "plan", "train"}
    assert all(getattr(nanogpt, name) is not None for name in nanogpt.__all__)
    assert set(nanogpt.__all__) <= set(dir(nanogpt))  # what a prompt completes
    with pytest.raises(AttributeError, match="'tarin'"):
        _ = nanogpt.tarin


def test_the_texts_of_a_run_are_found_again_and_named_where_they_changed(monkeypatch):
    files = [str(write_text(name, size)) for name, size in (("one.txt", 701), ("two.txt", 503), ("val.txt", 307))]
    run = nanogpt.train(files[:2], val=files[2:], steps=2, out="run", progress=False, **SMALL_RUN)
    loss = run.evaluate().loss
    monkeypatch.setenv("NANOGPT_CACHE", "another")
    assert run.evaluate().loss == loss
    monkeypatch.setenv("NANOGPT_CACHE", "third")
    Path("two.txt").write_text("9 cats")
    message = refuses(run.evaluate, *map(repr, files), "has changed")
    assert "(" not in message
