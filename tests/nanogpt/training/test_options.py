"""The entry point: from options and settings to a run, to a plan, or to an error that leaves nothing behind."""

import io
import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    PRESETS,
    SMALL_RUN,
    finish,
    outcome,
    refuses,
    resume_run,
    start,
    start_run,
    stopped_and_resumed,
    trained,
    weights,
    whole,
    write_text,
)

import nanogpt
from nanogpt.planning.budget import Speed, step_operations
from nanogpt.planning.memory import peak_bytes
from nanogpt.planning.planner import Planner
from nanogpt.runs.run import load
from nanogpt.text.corpus import Corpus
from nanogpt.training import new_run, speed
from nanogpt.training.pace import Pace

QUIET = SMALL_RUN | {"progress": False}


def contents():
    return {path: path.read_bytes() if path.is_file() else None for path in Path.cwd().rglob("*")}


def refused(*words, text="tale.txt", **settings):
    """Check that a training is refused with these words and changes no file."""
    before = contents()
    refuses(lambda: nanogpt.train(text, **{"progress": False} | settings), *words)
    assert contents() == before


# A new run


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, capsys, monkeypatch):
    monkeypatch.setattr("nanogpt.parallel.process.keep_freed_memory", lambda: pytest.fail("a call set the allocator"))
    write_text()
    run = nanogpt.train("tale.txt", steps=3, preset=preset, **QUIET)
    assert capsys.readouterr() == ("", "")
    assert run.step in range(4)
    assert run.config.preset == preset
    assert run.path == Path(f"runs/tale-{preset}-1")
    assert run.config.model.vocab_size == run.tokenizer.vocab_size


@pytest.mark.parametrize("length", [{"steps": 2}, {"minutes": 0.2}], ids=str)
def test_a_file_of_settings(machine, length):
    """Its sizes stay where minutes are planned, also where it calls itself modern, as a run's config.toml does."""
    write_text(characters=3000)
    sizes = "n_layer = 1\nn_head = 1\nn_embd = 16\nblock_size = 8\n"
    Path("mine.toml").write_text(f'preset = "modern"\n[model]\n{sizes}[train]\nseed = 5\nlora = 3\n')
    refused("--lora 3", "--from RUN", preset="mine.toml", **length)  # without weights it could never be opened
    trainer = start_run("tale.txt", preset="mine.toml", lora=None, **length)
    model, train = trainer.config.model, trainer.config.train
    assert (model.n_layer, model.n_embd, model.block_size, train.seed, train.lora) == (1, 16, 8, 5, None)
    assert trainer.folder.path == Path("runs/tale-mine-1")


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_at_its_own_size(preset):
    write_text("tale.txt", 4000)
    nanogpt.train("tale.txt", steps=1, preset=preset, progress=False, sample_tokens=0, batch_size=2)


NAMES = [("My book (2).txt", "My-book-2"), ("ქართული.txt", "ქართული"), ("...", "text"), ("a.b.txt", "a.b")]


@pytest.mark.parametrize(("name", "run"), NAMES)
def test_a_run_is_named_after_its_text_and_has_its_notes(name, run):
    Path("texts").mkdir()
    Path(f"texts/{name}").write_bytes(b"one\r\ntwo\r\n" * 50)
    for number in "12":
        trainer = start_run(f"texts/{name}", steps=1, **SMALL_RUN)
        assert trainer.folder.path.name == f"{run}-modern-{number}"
    assert "\\r\\n" in trainer.notes[0]


def test_a_text_to_validate_on():
    text = write_text()
    Path("val.txt").write_text("ÄÖÜ" * 20)
    trainer = start("run", val="val.txt")
    plan = trainer.plan
    assert (plan.text, plan.source, plan.val_source) == ("tale", str(text), str(Path("val.txt").absolute()))
    assert (plan.minutes, trainer.pace, plan.memory_bytes) == (None, None, None)  # small: memory is not estimated
    assert (len(trainer.data.train), len(trainer.data.val)) == (1001, 61)
    assert "Ä" in trainer.tokenizer.characters
    finish(trainer)
    assert load("run").evaluate().tokens == 60


@pytest.mark.parametrize("kind", ["memory", "standard input"])
def test_a_text_that_no_file_holds(monkeypatch, tmp_path, kind):
    content, text = write_text().read_bytes(), "-"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    if kind == "memory":
        text = Corpus.of_texts(content.decode())
        assert len(start("validated", val=Corpus.of_texts("7 cats ran.\n")).data.val) == 13
    trainer = start_run(text, steps=8, out="run", should_stop=lambda: trainer.state.step >= 3, **SMALL_RUN)
    finish(trainer)
    finish(resume_run("run"))
    assert weights(Path("run")) == whole()[0]
    assert load("run").evaluate("tale.txt").tokens == 1000
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    refuses(load("run").evaluate, "standard input or memory", "nanogpt train TEXT --from run")


# Tokenizers and documents


def test_bpe_learns_from_the_training_part_alone():
    Path("tale.txt").write_text("ab " * 400 + "xy " * 44)
    Path("val.txt").write_text("uv " * 300)
    own = start("run", tokenizer="bpe", vocab_size=300).tokenizer.tokens
    other = start("other", tokenizer="bpe", val="val.txt").tokenizer.tokens
    assert ["Ġab" in own, "xy" in own, "xy" in other, "uv" in other] == [True, False, True, False]


def test_the_size_of_a_bpe_vocabulary():
    write_text("tale.txt", 4000)
    trainer = start("run", tokenizer="bpe", vocab_size=277)
    assert (trainer.config.model.vocab_size, trainer.tokenizer.vocab_size) == (277, 277)
    assert trainer.model.token_embedding.num_embeddings == 277
    assert not any("tokens: no other pair" in note for note in trainer.notes)
    finish(trainer)
    run = load("run")
    assert run.tokenizer.to_dict() == trainer.tokenizer.to_dict()
    assert run.generate("7 cats", tokens=3).startswith("7 cats")
    assert "of 4,096 tokens" in start("default", tokenizer="bpe").notes[0]
    again = {"tokenizer": "bpe", "tokenizer_from": "run"}
    assert start("again", **again).tokenizer.to_dict() == run.tokenizer.to_dict()
    refused("--vocab-size 300", "277", steps=1, vocab_size=300, **again)
    refused("--tokenizer bpe", steps=1, tokenizer_from="run")
    refused("'nowhere'", steps=1, tokenizer="bpe", tokenizer_from="nowhere")


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_vocabulary_that_the_text_does_not_give(tokenizer):
    write_text()
    refused("--vocab-size 300", "--tokenizer bpe", steps=1, tokenizer=tokenizer, vocab_size=300)
    found = start("run", tokenizer=tokenizer).config.model.vocab_size
    assert start("same", tokenizer=tokenizer, vocab_size=found).config.model.vocab_size == found
    # Another run's settings as a preset name the size that its own text gave.
    write_text("other.txt", 50)
    assert start("of", text="other.txt", preset="run/config.toml", block_size=5).config.model.vocab_size > 0


def write_documents():
    for number in range(29):
        write_text(f"tales/{number}.txt", 17 + number)


@pytest.mark.parametrize("tokenizer", [{"tokenizer": "char"}, {"tokenizer": "bpe", "vocab_size": 263}], ids=str)
def test_masked_documents_do_not_attend_to_each_other(tokenizer):
    write_documents()
    trainer = start("run", text="tales", mask_documents=True, **tokenizer)
    token, ids = trainer.tokenizer.end_of_document, trainer.data.train
    assert trainer.config.model.document_token == token
    finish(trainer)
    model = load("run").model
    end = np.flatnonzero(ids == token)[1]
    window = torch.from_numpy(ids[end - 5 : end + 6].astype(np.int64))[None]
    other = window.clone()
    other[0, :5] = (other[0, :5] + 1) % (model.config.vocab_size - 1)
    torch.testing.assert_close(model(window)[:, 5:], model(other)[:, 5:])
    assert not torch.equal(model(window)[:, :5], model(other)[:, :5])


def test_masked_documents_need_their_token():
    write_text()
    refused("--mask-documents", "--end-of-document True", steps=1, preset="lecture", mask_documents=True)
    assert start("run", preset="lecture", mask_documents=True, end_of_document=True).config.model.document_token
    # As a preset for a text with another alphabet.
    write_text("other.txt", 300)
    assert start("other", text="other.txt", preset="run/config.toml").tokenizer.end_of_document > 0


@pytest.mark.parametrize(
    "settings",
    [{"tokenizer": "bpe", "vocab_size": 263}, {"text": "tales", "mask_documents": True, "dropout": 0.1}],
    ids=str,
)
def test_such_runs_resume_exactly(settings):
    write_documents()
    assert outcome(stopped_and_resumed("stopped", 3, **settings)) == outcome(trained("whole", **settings))


# Resuming from Python


def test_a_run_is_resumed_from_python_until_it_is_finished(monkeypatch):
    assert outcome(trained("events")) == outcome(nanogpt.train("tale.txt", steps=8, out="python", **QUIET).path)
    finish(start("stopped", stop_at=3))
    for _ in ("resumed", "nothing left to do"):
        run = nanogpt.train(resume="stopped", progress=False, device="cpu")
        assert (run.path, run.step) == (Path("stopped"), load("events").step)
        assert outcome(Path("stopped")) == outcome(Path("events"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused("--device cuda", text=None, resume="stopped", device="cuda")


def test_the_newest_run_is_resumed():
    refused("'nowhere'", text=None, resume="nowhere")
    refused("no run below 'runs'", text=None, resume="last")
    for name in "ab":
        finish(start(f"runs/{name}", stop_at=3))
    assert resume_run("last").folder.path == Path("runs/b")


@pytest.mark.parametrize(
    "settings",
    [
        *({"steps": 9}, {"minutes": 1.0}, {"n_layer": 3}, {"val": "tale.txt"}, {"out": "new"}, {"preset": "gpt2"}),
        *({"text": "tale.txt"}, {"start_from": "other"}),
    ],
    ids=str,
)
def test_a_resumed_run_takes_no_settings(settings):
    start("young")
    (name,) = settings
    flag = {"text": "text", "start_from": "--from"}.get(name, "--" + name.replace("_", "-"))
    refused(f"leave out {flag},", **{"text": None, "resume": "young"} | settings)


# Short texts

NARROW = {"n_layer": 1, "n_head": 2, "n_embd": 16, "batch_size": 3, "sample_tokens": 5}


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_hundred_characters_train_with_a_shorter_context(tokenizer):
    write_text("tale.txt", 100)
    trainer = start_run("tale.txt", steps=2, tokenizer=tokenizer, out="run", **NARROW)
    tokens, block = len(trainer.data.train), trainer.config.model.block_size
    assert block == (tokens - 1) // 5
    short, tiny = trainer.notes[-2:]
    assert f"--block-size is {block}, not 64" in short
    assert "no validation part" in tiny
    finish(trainer)
    run = load("run")
    assert run.step == 2  # the one that recites best
    assert run.data().has_validation is False
    assert load(trainer.folder.path).generate("7 ", "skip", tokens=40)
    write_text("long.txt", 23_000)
    assert start_run("long.txt", steps=1, **NARROW).notes == []


def test_a_hundred_characters_in_minutes(machine):
    write_text("tale.txt", 100)
    model = start_run("tale.txt", minutes=0.06, batch_size=3).config.model  # a size was named: the preset's others stay
    assert (model.n_layer, model.block_size) == (4, 20)
    trainer = start_run("tale.txt", minutes=0.06)  # the planner's smallest
    assert (trainer.config.model.n_layer, trainer.config.model.block_size) == (2, 20)
    assert "is 20, not 32" in trainer.notes[0]


@pytest.mark.parametrize("length", [{"steps": 3}, {"minutes": 0.05}, {}], ids=str)
def test_a_text_shorter_than_the_named_context(length):
    write_text("tale.txt", 30)
    refused("31 tokens", "40", "41", "--block-size 30", block_size=40, **length)
    assert start_run("tale.txt", steps=1, **SMALL_RUN | {"block_size": 30}).config.model.block_size == 30


@pytest.mark.parametrize("length", [{"steps": 1}, {"minutes": 0.05}], ids=str)
def test_a_text_of_next_to_nothing(length):
    Path("tale.txt").write_text("a")
    refused("part of the text has", "longer text", preset="lecture", **length)  # no end-of-document token either


# What is wrong is said before anything is written


@pytest.mark.parametrize("content", [None, b"", b"\0\1\2", b"caf\xe9 ole"])
def test_a_file_without_text(content):
    if content is not None:
        Path("tale.txt").write_bytes(content)
    refused("tale.txt", steps=3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_embd": 30, "n_head": 4}, ["--n-embd 30", "--n-head 4"]),
        ({"n_layers": 3}, ["'n_layers'", "'n_layer'"]),
        ({"preset": "modren"}, ["'modren'", "'modern'"]),
        ({"preset": "gone.toml"}, ["--preset gone.toml"]),
        ({"tokenizer": "word"}, ["'word'", "byte, char"]),
        ({"device": "tpu"}, ["'tpu'"]),
        ({"device": "cuda"}, ["--device cuda", "choose cpu"]),
        ({"device": "mps"}, ["--device mps", "choose cpu"]),
        ({"minutes": 1.0}, ["--minutes 1", "--steps 3", "both"]),
        ({"encoding": "utf-9"}, ["'utf-9'"]),
        ({"val": "nowhere.txt"}, ["'nowhere.txt'"]),
        ({"block_size": 5000}, ["5000", "901 tokens"]),
        ({"vocab_size": -1}, ["--vocab-size"]),
        *(({"steps": steps}, [f"--steps {steps!r}", "from 1"]) for steps in (0, -1, 1.5, True, "3")),
        *(({"steps": None, "minutes": one}, [f"--minutes {one}", "0"]) for one in (0, -1, math.nan, math.inf)),
        *(({"pattern": "*.md", "text": text}, ["--pattern *.md"]) for text in ("tale.txt", "python", None)),
        ({"pattern": "*.md", "text": ["tale.txt", "python"]}, ["--pattern *.md"]),
        pytest.param({"pattern": "*.md", "text": Corpus.of_texts("one")}, ["--pattern *.md"], id="in memory"),
        ({"lora": 3}, ["--lora 3", "--from RUN"]),
    ],
    ids=str,
)
def test_wrong_settings(monkeypatch, settings, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    write_text()
    refused(*words, **{"steps": 3} | settings)


def test_an_existing_folder_is_left_as_it_is(monkeypatch):
    write_text()
    Path("folder").mkdir()
    Path("folder/mine.txt").write_text("mine")
    trained("finished")
    monkeypatch.setattr(Planner, "propose", None)  # the machine is not measured first
    for name in ("folder", "finished", "tale.txt"):
        refused(f"'{name}' already exists", f"--resume {name}", out=name, minutes=1)
    refused("'tale.txt/run'", "--out", out="tale.txt/run", steps=1)


# Minutes, memory, plans


@pytest.fixture
def machine(monkeypatch):
    """Pretend 10^11 operations a second; return the sizes that were measured."""
    measured = []

    def measure(config, data, block, world):
        measured.append((config.model.n_embd, config.model.block_size))
        return Speed(step_operations(config) / 1e11, 1e-5, 1e-3)

    monkeypatch.setattr(speed, "measure_speed", measure)
    return measured


@pytest.mark.parametrize(("minutes", "expected"), [(0.5, 0.5), (None, 1.0)])
def test_minutes_are_planned_and_the_plan_is_kept(monkeypatch, minutes, expected):
    seen = []

    def propose(self, minutes, seconds):
        seen.append((minutes, set(self.named)))
        assert 60 * minutes - 10 < seconds < 60 * minutes
        return self.describe(self.config, 4, minutes)

    monkeypatch.setattr(Planner, "propose", propose)
    write_text()
    trainer = start_run("tale.txt", minutes=minutes, out="run", **SMALL_RUN)
    assert seen == [(expected, set(SMALL_RUN))]
    plan = trainer.plan
    assert (plan.steps, plan.minutes) == (4, expected)
    assert 0 < plan.expected_low < plan.expected_loss <= plan.expected_high
    assert plan.memory_bytes == peak_bytes(trainer.config, torch.device("cpu"))
    assert isinstance(trainer.pace, Pace)
    assert trainer.folder.read_plan() == plan


@pytest.mark.parametrize("small", [True, False])
def test_memory_is_estimated_for_a_large_training(monkeypatch, small):
    """With steps nothing is measured either."""
    monkeypatch.setattr(Planner, "__init__", None)
    monkeypatch.setattr(new_run, "SMALL_BYTES", 1e9 if small else 1e4)
    trainer = start("run")
    assert trainer.plan.memory_bytes == (None if small else peak_bytes(trainer.config, torch.device("cpu")))
    refused("--memory 1e-06", steps=1, memory=1e-6, **SMALL_RUN)


def test_a_plan_for_each_of_some_minutes(machine):
    write_text("tale.txt", 50_000)
    proposals = nanogpt.plan("tale.txt", minutes=[0.5, 20, 3], progress=False)
    assert [one.minutes for one in proposals] == [0.5, 20, 3]
    tokens = {one.minutes: one.tokens for one in proposals}
    assert tokens[0.5] < tokens[3] < tokens[20]
    assert len(machine) == len(set(machine))  # each size once
    assert not Path("runs").exists()
    memory = Corpus.of_texts(Path("tale.txt").read_text(encoding="utf-8"))
    (other,) = nanogpt.plan(memory, minutes=[0.5], progress=False)
    assert (other.config.model, other.train_tokens) == (proposals[0].config.model, proposals[0].train_tokens)


def test_a_plan_is_what_a_training_would_do(machine, monkeypatch):
    write_text("tale.txt", 50_000)
    (proposed,) = nanogpt.plan("tale.txt", minutes=[2], progress=False, dropout=0.1)
    propose, chosen = Planner.propose, []
    monkeypatch.setattr(Planner, "propose", lambda self, *given: chosen.append(propose(self, *given)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        nanogpt.train("tale.txt", minutes=2, progress=False, dropout=0.1)
    assert chosen[0].config == proposed.config
    assert chosen[0].steps == pytest.approx(proposed.steps, rel=0.05)


def test_a_plan_respects_time_already_spent_settings_and_memory(machine):
    write_text("tale.txt", 50_000)
    now = time.monotonic()
    soon, late = (nanogpt.plan("tale.txt", minutes=[1], progress=False, started=now - gone)[0] for gone in (0, 40))
    assert late.steps < 0.5 * soon.steps
    limited = nanogpt.plan("tale.txt", minutes=[1, 60], memory=0.5, n_layer=1, progress=False)
    assert {one.config.model.n_layer for one in limited} == {1}
    assert all(one.memory_bytes < 0.5e9 for one in limited)
    refuses(lambda: nanogpt.plan("tale.txt", memory=0.1, progress=False), "--memory 0.1")


@pytest.mark.parametrize("minutes", [[1, 0], [-1], [1, math.inf]])
def test_a_plan_for_minutes_that_are_none(minutes):
    write_text()
    refuses(lambda: nanogpt.plan("tale.txt", minutes=minutes), "--minutes", "above 0")
    refuses(lambda: nanogpt.plan("tale.txt", minutes=[]), "no minutes")
