"""A trained model, opened: generate, stream, evaluate, find."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from tiny import make_run, refuses, start, trained

import nanogpt
from nanogpt.config import SampleConfig
from nanogpt.errors import UserError, shell_quote
from nanogpt.evaluation.loss import evaluate
from nanogpt.runs.find import list_runs, newest_run
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import _last_change, load
from nanogpt.sampling.generate import generate_text


@pytest.fixture
def run(finished_run):
    return nanogpt.load(finished_run)


def test_what_a_run_knows(run, finished_run):
    assert run.path == finished_run
    assert run.step in range(31)
    assert (run.config.preset, run.plan.text, run.plan.steps) == ("modern", "cats", 30)
    assert run.model.config == run.config.model
    assert not run.model.training
    assert run.tokenizer.encode("cat").tolist() == [run.tokenizer.characters.index(c) for c in "cat"]


def test_generate_is_the_prompt_and_its_continuation(run):
    text = run.generate("the cat", tokens=9, seed=5)
    assert text == "the cat" + generate_text(run.model, run.tokenizer, "the cat", SampleConfig(tokens=9, seed=5))[0]
    assert text == "the cat" + "".join(run.stream("the cat", tokens=9, seed=5))
    assert text == run.generate("the cat", config=SampleConfig(tokens=9, seed=5))
    assert text == run.generate("the cat", config=SampleConfig(tokens=9), seed=5)


def test_an_empty_prompt(run):
    assert 0 < len(run.generate(tokens=9)) <= 9


def test_a_text_longer_than_the_context(run):
    assert run.config.model.block_size == 16
    text = run.generate("the cat sat on the mat, and the dog", tokens=100, temperature=0)
    assert len(text) == 35 + 100


def test_several_at_once(run):
    texts = run.generate_batch("the", tokens=12, samples=3)
    assert len(set(texts)) == 3
    assert all(text.startswith("the") for text in texts)
    assert texts[0] == run.generate("the", tokens=12)


def test_the_seed(run):
    assert run.generate("the", tokens=20, seed=1) == run.generate("the", tokens=20, seed=1)
    assert run.generate("the", tokens=20, seed=1) != run.generate("the", tokens=20, seed=2)
    assert run.generate("the", tokens=20, temperature=0, seed=1) == run.generate(
        "the", tokens=20, temperature=0, seed=2
    )


def test_stop(run):
    text = run.generate("the", tokens=300, stop=(" ",))
    assert " " not in text


@pytest.mark.parametrize("call", ["generate", "generate_batch", "stream"])
def test_an_unknown_character_is_named(run, call):
    with pytest.raises(UserError, match=r"never saw 'Z' 'é'.*--unknown skip"):
        list(getattr(run, call)("Zé the", tokens=3))
    assert list(getattr(run, call)("Zé the", "skip", tokens=3))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temprature": 1}, "unknown setting 'temprature'; did you mean 'temperature'"),
        ({"temperature": -1}, "temperature is -1"),
        ({"samples": 2}, "samples is 2; for several texts at once call generate_batch"),
        ({"tokens": 0}, "tokens is 0"),
        ({"tokens": "5"}, "tokens is '5'"),
        ({"tokens": 2.5}, "tokens is 2.5"),
        ({"stop": "end"}, "stop is 'end'"),
    ],
    ids=str,
)
def test_settings_that_are_wrong(run, settings, words):
    with pytest.raises(UserError) as caught:
        run.generate("the", **settings)
    assert words in str(caught.value)


def test_evaluate_is_the_whole_validation_part(run):
    found = run.evaluate()
    assert (found.tokens, found.protocol) == (199, "whole split, 199 tokens in consecutive windows of 16")


def test_evaluate_another_text(run):
    Path("other.txt").write_text("the cat sat there\r\n")
    found = run.evaluate("other.txt")
    assert found.tokens == len("the cat sat there\n") - 1
    assert found == evaluate(run.model, run.tokenizer.encode("the cat sat there\n"), run.tokenizer)


def test_evaluate_a_text_with_unknown_characters(run):
    Path("other.txt").write_text("the Zoo sat")
    with pytest.raises(UserError, match="never saw 'Z'"):
        run.evaluate("other.txt")
    assert run.evaluate("other.txt", unknown="skip").tokens == len("the oo sat") - 1


def test_evaluate_a_text_of_one_character(run):
    Path("other.txt").write_text("t")
    with pytest.raises(UserError, match="nothing to predict"):
        run.evaluate("other.txt")


def test_the_best_or_the_last(finished_run):
    own = Path(shutil.copytree(finished_run, "own"))
    steps = sorted(int(path.name[5:]) for path in own.glob("checkpoints/step-*"))
    (own / "checkpoints/best").write_text(f"step-{steps[0]}\n")
    assert load(own).step == steps[0]
    assert load(own, checkpoint="last").step == steps[-1] == 30
    states = [dict(load(own, checkpoint=which).model.named_parameters()) for which in ("best", "last")]
    assert not torch.equal(states[0]["lm_head.weight"], states[1]["lm_head.weight"])


def test_a_device_that_is_not_there(finished_run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device 'cuda'"):
        load(finished_run, device="cuda")


def test_a_command_to_type_quotes_the_folder():
    start("a young run")
    refuses(lambda: load("a young run"), "no checkpoint yet", f"--resume {shell_quote('a young run')}")
    imported = make_run("an imported run")
    imported.folder.write_plan(Plan(text="elsewhere", steps=0))
    refuses(imported.data, f"--from {shell_quote('an imported run')}`")


def test_runs_in_the_order_of_their_training():
    for number, name in enumerate(("b", "c", "a")):
        trained(f"runs/{name}", steps=1)
        os.utime(f"runs/{name}/checkpoints/last", (number, number))
    Path("runs/not-a-run").mkdir()
    Path("runs/file").write_text("")
    assert [run.path.name for run in list_runs()] == ["b", "c", "a"]
    assert newest_run() == Path("runs/a")
    assert load().path == Path("runs/a")
    start("runs/young", steps=1)
    assert newest_run() == Path("runs/young")  # also before its first checkpoint


def test_a_run_that_vanishes_while_all_are_listed_is_the_oldest():
    assert _last_change(RunFolder("gone")) == 0.0


def test_no_runs():
    assert list_runs() == []
    with pytest.raises(UserError, match="no run below 'runs': train one with `nanogpt train`"):
        load()


def test_several_prompts_are_each_continued_as_if_alone(finished_run):
    run = nanogpt.load(finished_run)
    prompts, settings = ["the c", "", "the dog sat on the tree, and ", "a"], {"tokens": 30, "samples": 2, "seed": 3}
    each = [text for prompt in prompts for text in run.generate_batch(prompt, **settings)]
    assert run.generate_batch(prompts, **settings) == each
    with pytest.raises(UserError, match="no prompt to continue"):
        run.generate_batch([])


def test_the_names_of_the_package():
    assert set(nanogpt.__all__) == {"Run", "UserError", "__version__", "load", "plan", "train"}
    assert all(getattr(nanogpt, name) is not None for name in nanogpt.__all__)
    assert set(nanogpt.__all__) <= set(dir(nanogpt))  # what a prompt completes
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = nanogpt.tarin
