"""From a request to a run."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from nanogpt.training.launch import resume_run, start_run, train
from tiny import PRESETS, SMALL_RUN, finish, metrics, outcome, start, stopped_and_resumed, trained, weights, write_text

import nanogpt
from nanogpt.config import SampleConfig, load_preset
from nanogpt.data.batches import windows_per_epoch
from nanogpt.errors import UserError
from nanogpt.evaluation.loss import evaluate
from nanogpt.planning.memory import peak_bytes
from nanogpt.planning.planner import Planner
from nanogpt.runs.run import load
from nanogpt.sampling.generate import generate_ids
from nanogpt.training.pace import Pace

QUIET = SMALL_RUN | {"progress": False}


def files():
    return sorted(path.relative_to(Path.cwd()).as_posix() for path in Path.cwd().rglob("*"))


def refuses(*words, text="tale.txt", call=train, **settings):
    """Fails with these words, and leaves nothing behind."""
    before = files()
    with pytest.raises(UserError) as caught:
        call(text, **settings)
    for word in words:
        assert word in str(caught.value), caught.value
    assert files() == before


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset):
    write_text()
    run = train("tale.txt", steps=3, preset=preset, **QUIET)
    assert (run.step, run.config.preset) in {(step, preset) for step in range(4)}
    assert run.path == Path(f"runs/tale-{preset}-1")
    assert run.config.model.vocab_size == run.tokenizer.vocab_size


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_at_its_own_size(preset):
    write_text("tale.txt", 4000)
    assert (
        train("tale.txt", steps=1, preset=preset, progress=False, sample_tokens=0, batch_size=2).config.preset == preset
    )


def test_a_run_of_ones_own_settings():
    write_text()
    Path("mine.toml").write_text("[model]\nn_layer = 1\nn_head = 1\nn_embd = 16\nblock_size = 8\n[train]\nseed = 5\n")
    run = train("tale.txt", steps=2, preset="mine.toml", progress=False, n_embd=18)
    assert (run.config.model.n_layer, run.config.model.n_embd, run.config.train.seed) == (1, 18, 5)
    assert run.path == Path("runs/tale-mine-1")


def test_runs_are_numbered_and_never_overwritten():
    write_text()
    names = [train("tale.txt", steps=1, **QUIET).path.name for _ in range(3)]
    assert names == ["tale-modern-1", "tale-modern-2", "tale-modern-3"]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("My book (2).txt", "My-book-2-modern-1"),
        ("ქართული.txt", "ქართული-modern-1"),
        ("...", "text-modern-1"),
        ("a.b.txt", "a.b-modern-1"),
    ],
)
def test_a_run_is_named_after_its_text(name, run):
    write_text(f"texts/{name}")
    assert start_run(f"texts/{name}", steps=1, **SMALL_RUN).folder.path.name == run


def test_a_pattern_without_a_folder_is_refused():
    for text in (write_text(), "python", None, [write_text(), "python"]):
        with pytest.raises(UserError, match=r"pattern '\*\.md' chooses files of a folder.*leave it out"):
            start_run(text, steps=1, pattern="*.md")


def test_the_plan_names_the_text_by_its_absolute_path():
    path, other = write_text(), write_text("val.txt", 300)
    plan = start("run", val="val.txt").plan
    assert (plan.text, plan.source, plan.val_source, plan.minutes) == ("tale", str(path), str(other), None)


def test_a_text_to_validate_on():
    write_text()
    Path("val.txt").write_text("ÄÖÜ" * 20)
    trainer = start("run", val="val.txt")
    assert (len(trainer.data.train), len(trainer.data.val)) == (1000, 60)
    assert "Ä" in trainer.tokenizer.characters
    assert isinstance(finish(trainer), list)
    assert load("run").evaluate().tokens == 59


def test_the_lectures_alphabet_is_bare():
    assert start("lecture", preset="lecture").tokenizer.end_of_document is None
    assert start("modern").tokenizer.end_of_document is not None


def test_merges_are_learned_from_the_training_part_alone():
    Path("tale.txt").write_text("ab " * 300 + "xy " * 33)
    tokens = start("run", tokenizer="bpe", vocab_size=300).tokenizer.tokens
    assert "Ġab" in tokens
    assert "xy" not in tokens
    Path("val.txt").write_text("uv " * 300)
    tokens = start("other", tokenizer="bpe", val="val.txt").tokenizer.tokens
    assert "xy" in tokens
    assert "uv" not in tokens


def test_a_vocabulary_of_ones_own_size():
    write_text("tale.txt", 4000)
    trainer = start("run", tokenizer="bpe", vocab_size=277)
    assert (trainer.config.model.vocab_size, trainer.tokenizer.vocab_size) == (277, 277)
    assert not any("the text fills" in note for note in trainer.notes)
    assert trainer.model.token_embedding.num_embeddings == 277
    finish(trainer)
    run = load("run")
    assert run.tokenizer.to_dict() == trainer.tokenizer.to_dict()
    assert run.generate("7 cats", tokens=3).startswith("7 cats")
    assert "the text fills" in start("whole", tokenizer="bpe").notes[0]
    assert "of 4,096 tokens" in start("default", tokenizer="bpe").notes[0]


def test_a_run_of_merges_resumes_as_if_never_stopped():
    settings = {"tokenizer": "bpe", "vocab_size": 263}
    assert outcome(stopped_and_resumed("stopped", 3, **settings)) == outcome(trained("whole", **settings))


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_vocabulary_that_the_text_does_not_give(tokenizer):
    write_text()
    refuses("vocab_size 300", f"{tokenizer}s", "--tokenizer bpe", steps=1, tokenizer=tokenizer, vocab_size=300)
    found = start("run", tokenizer=tokenizer).config.model.vocab_size
    assert start("same", tokenizer=tokenizer, vocab_size=found).config.model.vocab_size == found
    # Another run's settings as a preset name the size that its own text gave.
    write_text("other.txt", 50)
    assert start("of", text="other.txt", preset="run/config.toml", block_size=5).config.model.vocab_size > 0


def test_a_tokenizer_from_elsewhere():
    write_text()
    trained("first", tokenizer="bpe", vocab_size=270)
    settings = {"tokenizer": "bpe", "tokenizer_from": "first"}
    again = start("again", **settings)
    assert again.tokenizer.to_dict() == load("first").tokenizer.to_dict()
    refuses("vocab_size 300", "first has 270", steps=1, vocab_size=300, **settings)
    refuses("add --tokenizer bpe", steps=1, tokenizer_from="first")
    refuses("no tokenizer at 'nowhere'", steps=1, tokenizer="bpe", tokenizer_from="nowhere")


def test_a_folder_of_documents_has_ends_between_them():
    write_text("books/a.txt", 400)
    write_text("books/b.txt", 400)
    trainer = start("run", text="books")
    assert (trainer.data.train == trainer.tokenizer.end_of_document).sum() == 1
    assert trainer.plan.text == "books"


def write_documents():
    for number in range(29):
        write_text(f"tales/{number}.txt", 17 + number)


@pytest.mark.parametrize("tokenizer", [{"tokenizer": "char"}, {"tokenizer": "bpe", "vocab_size": 263}], ids=str)
def test_documents_are_kept_apart_in_training_evaluation_and_sampling(tokenizer):
    write_documents()
    masked = start("masked", text="tales", mask_documents=True, **tokenizer)
    assert masked.config.model.document_token == masked.tokenizer.end_of_document
    finish(masked)
    finish(start("plain", text="tales", **tokenizer))
    assert metrics(Path("masked")) != metrics(Path("plain"))
    run, ids = load("masked"), masked.data.train
    ends = np.flatnonzero(ids == masked.tokenizer.end_of_document)
    loss = evaluate(run.model, ids, run.tokenizer).loss
    assert loss != evaluate(load("plain").model, ids, run.tokenizer).loss
    # What stands before the end of a document is nothing to what comes after it.
    window = torch.from_numpy(ids[ends[0] - 5 : ends[0] + 6].astype(np.int64))[None]
    other = window.clone()
    other[0, :5] = (other[0, :5] + 1) % (run.tokenizer.vocab_size - 1)
    torch.testing.assert_close(run.model(window)[:, 5:], run.model(other)[:, 5:])
    assert run.generate("0 cats", tokens=30).startswith("0 cats")
    config = SampleConfig(tokens=30, samples=2)
    texts = [list(generate_ids(run.model, window[0], config, cached=cached)) for cached in (True, False)]
    assert texts[0] == texts[1]


def test_a_run_that_keeps_documents_apart_resumes_as_if_never_stopped():
    write_documents()
    settings = {"text": "tales", "mask_documents": True, "dropout": 0.1}
    assert outcome(stopped_and_resumed("stopped", 3, **settings)) == outcome(trained("whole", **settings))


def test_documents_without_their_token_cannot_be_kept_apart():
    write_text()
    refuses("mask_documents", "--end-of-document True", steps=1, preset="lecture", mask_documents=True)
    assert start("run", preset="lecture", mask_documents=True, end_of_document=True).config.model.document_token
    # As a preset for a text with another alphabet.
    write_text("other.txt", 300)
    assert start("other", text="other.txt", preset="run/config.toml").tokenizer.end_of_document > 0


def test_notes_are_passed_on():
    Path("crlf.txt").write_bytes(b"one\r\ntwo\r\n" * 50)
    assert start("run", text="crlf.txt").notes[0] == "line ends \\r\\n are read as \\n"


def test_from_python_as_from_the_command_line():
    write_text()
    run = nanogpt.train("tale.txt", steps=8, out="python", **QUIET)
    assert outcome(run.path) == outcome(trained("events"))


def test_progress_goes_to_standard_error(capsys):
    write_text()
    train("tale.txt", steps=2, **SMALL_RUN)
    quiet = capsys.readouterr()
    assert quiet.out == ""
    assert "validation loss" in quiet.err
    train("tale.txt", steps=2, **QUIET)
    assert capsys.readouterr() == ("", "")


def test_resumed_from_python():
    whole = trained("whole")
    finish(start("stopped", stop_at=3))
    assert nanogpt.train(resume="stopped", progress=False).step == load("whole").step
    assert outcome(Path("stopped")) == outcome(whole)
    assert nanogpt.train(resume="stopped", progress=False).path == Path("stopped")  # nothing left to do
    assert outcome(Path("stopped")) == outcome(whole)


def test_a_finished_run_is_opened_on_the_device_that_was_asked_for(monkeypatch):
    trained("run")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refuses("device 'cuda' is not on this machine", text=None, resume="run", device="cuda")
    assert nanogpt.train(resume="run", device="cpu").step > 0


def test_the_last_run_is_resumed():
    finish(start("runs/a", stop_at=3))
    finish(start("runs/b", stop_at=3))
    assert resume_run("last").folder.path == Path("runs/b")


# Short texts

NARROW = {"n_layer": 1, "n_head": 2, "n_embd": 16, "batch_size": 3, "sample_tokens": 5}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe"])
def test_a_hundred_characters_train_with_a_fitting_block(preset, tokenizer):
    write_text("tale.txt", 100)
    trainer = start_run("tale.txt", steps=2, preset=preset, tokenizer=tokenizer, **NARROW)
    tokens, block = len(trainer.data.train), trainer.config.model.block_size
    assert block == (tokens - 1) // 5
    assert windows_per_epoch(tokens, block) >= 4
    short, heart = trainer.notes[-2:]
    assert f"--block-size is {block}, not {load_preset(preset).model.block_size}" in short
    assert heart.startswith(f"{tokens} tokens are soon memorized")
    assert "--patience 3" in heart
    finish(trainer)
    assert load(trainer.folder.path).generate("7 ", "skip", tokens=40)


def test_a_hundred_characters_in_minutes():
    write_text("tale.txt", 100)
    trainer = start_run("tale.txt", minutes=0.06, batch_size=3)  # a size was named: the preset's others stay
    assert (trainer.config.model.n_layer, trainer.config.model.block_size) == (4, 17)
    trainer = start_run("tale.txt", minutes=0.06)  # the planner's smallest
    assert (trainer.config.model.n_layer, trainer.config.model.block_size) == (2, 17)
    assert "block_size is 17, not 32" in trainer.notes[0]


def test_a_named_block_stays():
    write_text("tale.txt", 100)
    trainer = start_run("tale.txt", steps=1, block_size=64, **NARROW)
    assert trainer.config.model.block_size == 64
    assert len(trainer.notes) == 1


def test_a_text_long_enough_is_told_nothing():
    write_text("tale.txt", 23_000)
    trainer = start_run("tale.txt", steps=1, **NARROW)
    assert (trainer.config.model.block_size, trainer.notes) == (64, ())


# What goes wrong leaves nothing behind


def test_no_such_file():
    refuses("no file or folder 'tale.txt'", steps=3)


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"caf\xe9 ole"])
def test_a_text_that_is_none(content):
    Path("tale.txt").write_bytes(content)
    refuses("tale.txt", steps=3)


@pytest.mark.parametrize("length", [{"steps": 3}, {"minutes": 0.05}, {}], ids=str)
def test_a_text_shorter_than_a_block_that_was_named(length):
    write_text("tale.txt", 30)
    refuses("training part", "has 27 tokens, but a block of 40 needs 41", "longer text", block_size=40, **length)


def test_the_advice_on_a_short_text_can_be_followed():
    write_text("tale.txt", 30)
    refuses("--block-size 26", steps=3, block_size=64)
    assert train("tale.txt", steps=1, **QUIET | {"block_size": 26}).config.model.block_size == 26


@pytest.mark.parametrize("characters", [1, 2, 3, 9])
@pytest.mark.parametrize("length", [{"steps": 1}, {"minutes": 0.05}], ids=str)
def test_a_text_of_next_to_nothing(characters, length):
    Path("tale.txt").write_text("abcdefghi"[:characters])
    refuses("part of the text has", "longer text", progress=False, **length)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_embd": 30, "n_head": 4}, ["n_embd 30", "n_head 4"]),
        ({"n_layers": 3}, ["'n_layers'", "'n_layer'"]),
        ({"preset": "modren"}, ["'modren'", "'modern'"]),
        ({"tokenizer": "word"}, ["'word'", "byte, char"]),
        ({"device": "tpu"}, ["'tpu'"]),
        ({"minutes": 1.0}, ["--minutes 1", "--steps 3"]),
        ({"encoding": "utf-9"}, ["'utf-9'"]),
        ({"val": "nowhere.txt"}, ["'nowhere.txt'"]),
        ({"block_size": 5000}, ["5000", "900 tokens"]),
        ({"vocab_size": -1}, ["vocab_size"]),
    ],
    ids=str,
)
def test_settings_that_are_wrong(settings, words):
    write_text()
    refuses(*words, **{"steps": 3} | settings)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "3"])
def test_steps_that_are_none(steps):
    write_text()
    refuses(f"steps is {steps!r}", "whole number from 1", steps=steps)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_minutes_that_are_none(minutes):
    write_text()
    refuses(f"minutes is {minutes}", "above 0", minutes=minutes)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there(monkeypatch, name):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    write_text()
    refuses(f"device '{name}'", "choose cpu", steps=3, device=name)


def test_an_existing_folder_is_left_as_it_is(monkeypatch):
    write_text()
    Path("run").mkdir()
    Path("run/mine.txt").write_text("mine")
    monkeypatch.setattr(Planner, "propose", None)  # not measured first
    refuses("'run' exists already", "--resume run", out="run", minutes=1)
    trained("finished")
    before = {
        path: hashlib.sha256(path.read_bytes()).digest() for path in Path("finished").rglob("*") if path.is_file()
    }
    refuses("'finished' exists already", out="finished", steps=3)
    assert before == {path: hashlib.sha256(path.read_bytes()).digest() for path in before}


def test_resuming_takes_no_settings():
    write_text()
    finish(start("stopped", stop_at=3))
    for settings in (
        {"steps": 9},
        {"minutes": 1.0},
        {"n_layer": 3},
        {"val": "tale.txt"},
        {"out": "new"},
        {"preset": "gpt2"},
    ):
        refuses("a resumed run goes on by its own plan", text=None, resume="stopped", **settings)
    refuses("a resumed run goes on by its own plan", "--from RUN", text="tale.txt", resume="stopped")


def test_resuming_nothing():
    refuses("no run folder 'nowhere'", text=None, resume="nowhere")
    refuses("no run below 'runs'", text=None, resume="last")


def test_a_run_from_standard_input_whose_cache_is_gone(monkeypatch, tmp_path):
    import io
    import sys

    text = write_text().read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    trainer = start_run("-", steps=8, out="stopped", should_stop=lambda: trainer.state.step >= 3, **SMALL_RUN)
    finish(trainer)
    finish(resume_run("stopped"))
    assert weights(Path("stopped")) == weights(trained("whole"))
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    with pytest.raises(UserError, match="standard input"):
        load("stopped").evaluate()


# Minutes


def test_minutes_are_planned_and_the_plan_is_kept(monkeypatch):
    seen = []

    def propose(self, minutes, seconds):
        seen.append((seconds, set(self.named)))
        return self.describe(self.config, 4, minutes)

    monkeypatch.setattr(Planner, "propose", propose)
    write_text()
    trainer = start_run("tale.txt", minutes=0.5, out="run", **SMALL_RUN)
    ((seconds, named),) = seen
    assert 20 < seconds < 30
    assert named == set(SMALL_RUN)
    assert (trainer.plan.steps, trainer.plan.minutes) == (4, 0.5)
    assert 0 < trainer.plan.expected_low < trainer.plan.expected_loss <= trainer.plan.expected_high
    assert trainer.plan.memory_bytes == peak_bytes(trainer.config, torch.device("cpu"))
    assert isinstance(trainer.new_length, Pace)
    assert trainer.folder.read_plan() == trainer.plan


def test_with_neither_it_is_one_minute(monkeypatch):
    monkeypatch.setattr(Planner, "propose", lambda self, minutes, seconds: self.describe(self.config, 4, minutes))
    write_text()
    assert start_run("tale.txt", **SMALL_RUN).plan.minutes == 1.0


def test_with_steps_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(Planner, "__init__", None)
    trainer = start("run")
    assert trainer.new_length is None


def test_sizes_in_a_presets_file_are_kept_when_minutes_are_planned(monkeypatch):
    """Also in a file that calls itself modern, as every run's config.toml does."""
    write_text(characters=3000)
    Path("modern.toml").write_text('preset = "modern"\n[model]\nn_layer = 1\nn_head = 1\nn_embd = 18\nblock_size = 9\n')
    trainer = start_run("tale.txt", minutes=0.2, preset="modern.toml", out="run")
    assert (trainer.config.model.n_embd, trainer.config.model.block_size) == (18, 9)
