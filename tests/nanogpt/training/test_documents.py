"""Runs on lists, on tiny texts, and of either format: what is learned, what counts as the best, where a text begins."""

import json
import random
import zipfile
from pathlib import Path

import pytest
from tiny import SMALL_RUN, finish, metrics, of_kind, refuses, resume_run, start, start_run, write_text

import nanogpt
from nanogpt.reporting.events import EvalEvent, NoteEvent
from nanogpt.runs.run import load
from nanogpt.sampling.generate import encode_prompt

SYLLABLES = ("an", "bel", "cor", "dri", "fen", "gil", "hum")


def write_names(name="names.txt", count=300):
    draw = random.Random(5)
    names = sorted({"".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))).capitalize() for _ in range(count)})
    Path(name).write_text("\n".join(names) + "\n")
    return names


def small(text="names.txt", **settings):
    return start_run(text, **{"out": "run", "steps": 8} | SMALL_RUN | settings)


# Where a text begins


def test_an_empty_prompt_begins_a_document_only_where_there_are_several():
    write_names()
    write_text()
    end = {}
    for text, begins in (("names.txt", True), ("tale.txt", False)):
        finish(small(text, out=text[:-4]))
        run = load(text[:-4])
        end[text] = run.tokenizer.end_of_document
        assert run.tokenizer.bos == (end[text] if begins else None)
        first = end[text] if begins else run.tokenizer.encode("\n")[0]
        assert encode_prompt(run.tokenizer, "").tolist() == [first]
        assert run.data().train[0] == end[text]
        stored = json.loads(Path(text[:-4], "tokenizer.json").read_text())
        assert stored.get("bos") == run.tokenizer.bos
    # A run that begins with the weights of another asks its own text.
    Path("one.txt").write_text("Andri bel cor. " * 99)
    finish(start_run("one.txt", out="tuned", steps=2, start_from="names", unknown="extend", batch_size=3))
    assert load("tuned").tokenizer.bos is None


def test_what_a_stranger_wrote_as_the_first_token_is_checked():
    write_names()
    finish(small(steps=1))
    path = Path("run/tokenizer.json")
    for wrong in (-1, 99, "0", True, 1.0):
        tables = json.loads(path.read_text()) | {"bos": wrong}
        path.write_text(json.dumps(tables))
        refuses(lambda: load("run"), "tokenizer.json")


@pytest.mark.slow
def test_a_run_on_names_writes_names():
    names = write_names(count=2000)
    run = nanogpt.train("names.txt", steps=300, out="run", progress=False, n_layer=2, n_embd=64, sample_tokens=0)
    texts = run.generate_batch(samples=200, tokens=60)
    odd = [text for text in texts if not text.istitle()]
    assert len(odd) < 10, odd
    assert len(set(texts)) > 150
    assert set(texts) - set(names)


# Which part is measured, and which checkpoint is the best


def test_an_untrained_model_is_never_the_best():
    """Its first loss is lower than any later one."""
    write_text()
    events = finish(start("run", learning_rate=1e3, optimizer="adamw", warmup=0.0, eval_every=2))
    evaluations = of_kind(events, EvalEvent)
    assert min(event.evaluation.loss for event in evaluations) == evaluations[0].evaluation.loss
    assert not evaluations[0].best
    assert load("run").step > 0
    (warning,) = [event.text for event in of_kind(events, NoteEvent) if event.step]
    assert "--learning-rate" in warning
    assert "did not improve" in warning


@pytest.mark.parametrize("text", ["tale.txt", "tiny.txt"])
def test_a_start_that_training_made_worse_stays_the_best_and_is_named(text):
    write_text()
    Path("tiny.txt").write_text("7 cats ran to 3 trees. " * 9)
    finish(start("first", text=text))
    trainer = start_run(text, start_from="first", out="run", steps=6, lora=2, learning_rate=1e4, batch_size=3)
    (warning,) = [event.text for event in of_kind(finish(trainer), NoteEvent) if "did not improve" in event.text]
    assert "--learning-rate (it was 10000)" in warning
    assert load("run").step == 0


@pytest.mark.parametrize("settings", [{"text": "tiny.txt"}, {"text": "tale.txt", "val": "none"}], ids=str)
def test_without_a_validation_part_the_best_checkpoint_recites_best(settings, monkeypatch, tmp_path):
    write_text()
    Path("tiny.txt").write_text("the bees sleep in the mill. " * 7)
    trainer = small(**settings, block_size=7, eval_every=2)
    assert any("no validation part" in note for note in trainer.notes)
    trainer.should_stop = lambda: trainer.state.step >= 3
    finish(trainer)
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))  # its text is read again
    finish(resume_run("run"))
    evaluations = [line for line in metrics(Path("run")) if line["event"] == "eval"]
    best = min(evaluations[1:], key=lambda line: line["loss"])
    run = load("run")
    assert (run.step, run.data().has_validation) == (best["step"], False)
    assert [line["best"] for line in evaluations][:2] == [False, True]
    assert run.evaluate().tokens == len(run.data().train) - 1


def test_a_list_resumes_with_the_same_documents_when_the_cache_is_gone(monkeypatch, tmp_path):
    write_names()
    trainer = small(documents="lines")
    trainer.should_stop = lambda: trainer.state.step >= 3
    finish(trainer)
    ids = trainer.data.train.tolist()
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    finish(resume_run("run"))
    assert load("run").data().train.tolist() == ids


def test_a_pattern_selects_files_of_an_archive():
    write_text()
    with zipfile.ZipFile("tales.zip", "w") as archive:
        archive.write("tale.txt", "one.md")
        archive.writestr("two.txt", "ß")
    trainer = small("tales.zip", pattern="*.md")
    assert "ß" not in trainer.tokenizer.characters
    refuses(lambda: small(out="other", pattern="*.md", text="tale.txt"), "--pattern *.md")
    refuses(lambda: small("tale.txt", out="other", val="none", format=1), "--val none", "--format 1")


def test_documents_need_the_token_that_divides_them():
    write_names()
    refuses(lambda: small(preset="lecture", documents="lines"), "--documents lines", "--end-of-document True")


# Formats


def test_a_run_of_format_1_is_as_before():
    names = write_names()
    finish(small(format=1))
    run = load("run")
    assert run.config.model.format == 1
    assert (run.tokenizer.bos, run.tokenizer.decode(run.data().train)) == (
        None,
        ("\n".join(names) + "\n")[: len(run.data().train)],
    )
    assert Path("run/config.toml").read_text().startswith("format = 1\n")


def test_a_config_without_a_format_is_of_format_1():
    write_names()
    finish(small(steps=1, format=1))
    path = Path("run/config.toml")
    path.write_text(path.read_text().removeprefix("format = 1\n"))
    assert load("run").config.model.format == 1
    finish(start_run("names.txt", start_from="run", out="tuned", steps=1, batch_size=3))
    assert load("tuned").config.model.format == 2  # a new run, whatever it starts from
