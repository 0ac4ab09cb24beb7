"""Training that starts from another run's weights: whole or by adapters, better at once, resumed exactly."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import finish, flip_a_bit, make_run, outcome, refuses, resume_run, start_run

import nanogpt
from nanogpt.config import TrainConfig
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.hugging_face.importing import import_model
from nanogpt.planning.memory import estimate_memory
from nanogpt.runs.run import load
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer
from nanogpt.training.fine_tuning import ADAMW_LR, LORA_LR, LR_SHARE, start_settings
from nanogpt.training.options import TrainOptions
from nanogpt.training.seeds import start_seeds

SMALL = {"precision": "float32", "sample_tokens": 5, "batch_size": 3}


@pytest.fixture(autouse=True)
def text():
    """Write words that the finished run knows, in another order."""
    Path("other.txt").write_text("a red cat ran to the dog; the tree saw it there.\n" * 41, encoding="utf-8")


@pytest.fixture
def first(finished_run):
    """Return a copy of a finished run in this folder."""
    return Path(shutil.copytree(finished_run, "first"))


@pytest.fixture
def gpt2():
    """Return the folder of an imported GPT-2 with random weights and a vocabulary of bytes."""
    run = make_run("ours", "gpt2", n_embd=12, n_head=3, head_size=None, tokenizer=ByteTokenizer())
    export_hugging_face(run, "theirs")
    return import_model("theirs", "first").path


def fine_tune(out="second", start_from="first", steps=3, text="other.txt", **settings):
    return nanogpt.train(text, steps=steps, start_from=start_from, out=out, progress=False, **SMALL | settings)


def state(path, checkpoint="best"):
    return dict(load(path, checkpoint=checkpoint).model.named_parameters())


def changed(one, other):
    return {name for name in one.keys() | other.keys() if not torch.equal(one[name], other[name])}


def test_it_starts_where_the_other_run_ended(first):
    run = fine_tune(eval_every=1)
    assert changed(state("first"), state("second", checkpoint=0)) == set()
    assert run.plan.start_from == "first"
    assert run.tokenizer.to_dict() == load(first).tokenizer.to_dict()


@pytest.mark.parametrize("lora", [None, 3])
def test_an_imported_model_learns_and_is_exported_again(gpt2, lora):
    before = load(gpt2).evaluate("other.txt").loss
    run = fine_tune(steps=40, learning_rate=1e-2, lora=lora, block_size=7)
    after = run.evaluate("other.txt").loss
    assert after < before - 0.5
    export_hugging_face(run, "again")
    again = load(import_model("again", "third").path)
    assert again.evaluate("other.txt").loss == pytest.approx(after, abs=1e-6)
    assert again.config.model.block_size == 7


def test_with_adapters_the_other_weights_stay_and_are_not_saved(gpt2):
    run = fine_tune(lora=3, learning_rate=0.1)
    before, after = state(gpt2), state("second", "last")
    ends = ("qkv.weight", "proj.weight", "up.weight", "down.weight")
    assert changed(before, after) == {name for name in before if name.endswith(ends)}
    files = [*Path("second").rglob("step-*/model.safetensors"), *Path("second").glob("history/*.safetensors")]
    assert len(files) >= 3
    assert all("lora_" in name for file in files for name in load_file(file))
    assert run.model.parameter_count == load(gpt2).model.parameter_count


@pytest.mark.parametrize("lora", [None, 2])
def test_a_run_resumes_exactly_also_where_the_first_run_is_gone(first, lora):
    settings = {"lora": lora, "learning_rate": 1e-2, "block_size": 12, "steps": 8, "eval_every": 4, **SMALL}
    finish(start_run("other.txt", start_from=first, out="whole", **settings))
    stopped = start_run("other.txt", start_from=first, out="parts", **settings)
    stopped.should_stop = lambda: stopped.state.step >= 5
    finish(stopped)
    shutil.rmtree(first)
    assert finish(resume_run("parts"))[0].step == 5
    assert outcome(Path("parts")) == outcome(Path("whole"))


def test_learning_rates_along_chains_of_runs(first):
    """Adapters have their own; a run after them that of a whole model; and a chain divides the first run's once."""
    lora, after_lora = fine_tune(lora=2).config.train, fine_tune("third", "second").config.train
    assert (lora.optimizer, lora.learning_rate) == ("adamw", LORA_LR / 32)
    assert (after_lora.optimizer, after_lora.lora, after_lora.weight_decay) == ("adamw", None, 0.1)
    assert after_lora.learning_rate == pytest.approx(LR_SHARE * ADAMW_LR / 32)
    assert changed(state("third", checkpoint=0), state("second")) == set()
    assert not any("lora" in name for name in load_file("third/start.safetensors"))
    one, two = fine_tune("fourth").config.train, fine_tune("fifth", "fourth").config.train
    assert one.learning_rate == two.learning_rate == pytest.approx(LR_SHARE * load(first).config.train.learning_rate)


GROWN = [{"preset": "modern"}, {"preset": "gpt2", "tie_embeddings": True}, {"preset": "lecture", "optimizer": "adamw"}]
NEW = "the dé, the ñd☃é. " * 61
"""A text of which a vocabulary of OLD lacks three characters"""
OLD = "the bird, the end. "


def first_of(preset="modern", tokenizer=None, **settings):
    Path("new.txt").write_text(NEW, encoding="utf-8")
    return make_run("first", preset, tokenizer=tokenizer or CharTokenizer.train([OLD], preset != "lecture"), **settings)


@pytest.mark.parametrize("settings", GROWN, ids=lambda one: one["preset"])
def test_new_characters_are_added_and_old_tokens_keep_their_logits(settings):
    first = first_of(**settings)
    trainer = start_run("new.txt", start_from="first", out="second", steps=3, unknown="extend", **SMALL)
    (note,) = [one for one in trainer.notes if "vocabulary" in one]
    size = first.tokenizer.vocab_size
    assert all(word in note for word in ("3 characters", "'é' 'ñ' '☃'", f"{size + 3}"))
    grown = trainer.tokenizer
    assert grown.encode(OLD).tolist() == first.tokenizer.encode(OLD).tolist()
    assert grown.encode("éñ☃").tolist() == [size, size + 1, size + 2]
    assert (grown.end_of_document, grown.vocab_size) == (first.tokenizer.end_of_document, size + 3)
    idx = torch.from_numpy(first.tokenizer.encode(OLD)[None, :7]).long()
    before, after = first.model(idx), trainer.model(idx)
    torch.testing.assert_close(after[..., :size], before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(after[..., size:], before.mean(-1, keepdim=True).expand(-1, -1, 3), atol=1e-5, rtol=1e-5)
    assert (after.softmax(-1)[..., size:] <= 1 / (size + 3) + 1e-6).all()
    finish(trainer)
    start, end = load_file("second/start.safetensors"), state("second", "last")
    assert len(start["token_embedding.weight"]) == size + 3
    assert (end["token_embedding.weight"][size:] != start["token_embedding.weight"][size:]).any(1).all()
    assert load("second").generate("ñé", tokens=5)[:2] == "ñé"


@pytest.mark.parametrize("unknown", ["extend", "skip"])
def test_a_text_with_new_characters_resumes_exactly_from_the_text(unknown, monkeypatch, tmp_path):
    first_of()
    settings = {"start_from": "first", "val": "other.txt", "steps": 6, "eval_every": 3, "unknown": unknown, **SMALL}
    Path("other.txt").write_text("the bñrd ☃" * 19, encoding="utf-8")
    finish(start_run("new.txt", out="whole", **settings))
    stopped = start_run("new.txt", out="parts", **settings)
    stopped.should_stop = lambda: stopped.state.step >= 2
    finish(stopped)
    shutil.rmtree("first")
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    assert finish(resume_run("parts"))[0].step == 2
    assert outcome(Path("parts")) == outcome(Path("whole"))


def test_unknown_characters_are_left_out_and_counted():
    first = first_of()
    trainer = start_run("new.txt", start_from="first", out="second", steps=2, unknown="skip", **SMALL)
    assert any(f"{4 * 61} characters" in note and "'é' 'ñ' '☃'" in note for note in trainer.notes)
    assert trainer.tokenizer.to_dict() == first.tokenizer.to_dict()
    ids = [*trainer.data.train, *trainer.data.val]
    assert ids[1:] == first.tokenizer.encode(NEW, "skip").tolist()
    finish(trainer)
    refuses(lambda: fine_tune("third", "second", text="new.txt"), "never saw 'é' 'ñ' '☃'")  # no run inherits the option


def test_a_chain_of_texts_with_adapters_at_its_end():
    size = first_of().tokenizer.vocab_size
    fine_tune(text="new.txt", unknown="extend")
    Path("more.txt").write_text("the é, ¿then? " * 61, encoding="utf-8")
    fine_tune("third", "second", text="more.txt", unknown="extend")
    run = fine_tune("fourth", "third", text="more.txt", unknown="skip", lora=2)
    assert run.tokenizer.encode("é☃?¿").tolist() == [size, size + 2, size + 3, size + 4]
    assert changed(state("third"), state("fourth", 0)) == set()
    assert run.config.model.vocab_size == size + 5


@pytest.mark.parametrize("unknown", ["error", "extend", "skip"])
def test_bytes_know_every_character(gpt2, unknown):
    Path("new.txt").write_text(NEW, encoding="utf-8")
    trainer = start_run("new.txt", start_from=gpt2, out="second", steps=2, unknown=unknown, **SMALL)
    assert trainer.tokenizer.vocab_size == 257
    assert len(trainer.data.train) + len(trainer.data.val) == len(NEW.encode()) + 1
    assert not any("vocabulary" in note for note in trainer.notes)


def test_settings_of_the_first_text_and_machine_are_reset():
    fitted = {"eval_tokens": 2048, "final_eval_tokens": 4096, "sample_tokens": 3, "compile": "off", "pattern": "*.md"}
    config = start_settings(make_run("first", **fitted), {"sample_tokens": 5})
    train, default = config.train, TrainConfig()
    assert (train.eval_tokens, train.final_eval_tokens, train.compile) == (default.eval_tokens, None, "auto")
    assert (train.sample_tokens, config.data.pattern) == (5, None)


def test_minutes_choose_steps_and_no_size(first):
    run = fine_tune(steps=None, minutes=0.05)
    assert run.config.model == load(first).config.model
    assert run.plan.steps > 1
    assert run.plan.expected_loss is None


def test_several_seeds_start_from_the_same_weights(first):
    options = TrainOptions(text="other.txt", steps=2, start_from=first, out="set", seeds=2)
    for trainer in start_seeds(options, SMALL)[1]:
        finish(trainer)
    one, other = (f"set/seed-{seed}" for seed in (1337, 1338))
    assert changed(state(one, 0), state(other, 0)) == set()
    assert "lm_head.weight" in changed(state(one, "last"), state(other, "last"))


def test_adapters_take_less_memory(gpt2):
    config = load(gpt2).config
    full, adapters = (estimate_memory(config.override(optimizer="adamw", lora=rank)) for rank in (None, 2))
    assert adapters.gradients + adapters.optimizer < (full.gradients + full.optimizer) / 2
    message = refuses(lambda: fine_tune(memory=1e-6), "GB")
    assert not any(flag in message for flag in ("--n-layer", "--n-embd"))  # the weights decide these


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *(({name: value}, [f"--{name.replace('_', '-')} is fixed", "'first'"]) for name, value in (
            ("n_layer", 3), ("position", "learned"), ("tokenizer", "byte"), ("vocab_size", 99),
        )),
        ({"block_size": 17}, ["--block-size 17", "at most 16"]),
        ({"preset": "gpt2"}, ["gpt2", "--from"]),
        ({"lora": 2, "optimizer": "muon"}, ["--lora 2", "--optimizer muon"]),
        ({"lora": 2, "parallel": "fsdp"}, ["--lora 2", "--parallel fsdp"]),
        ({"lora": 0}, ["--lora"]),
        ({"text": "new.txt"}, ["never saw 'b' 'f' 'l'", "byte or bpe", "--unknown extend", "--unknown skip"]),
        ({"text": "new.txt", "unknown": "extend", "lora": 2}, ["--unknown extend", "--lora 2", "'b' 'f' 'l'"]),
        ({"start_from": None, "unknown": "skip"}, ["--unknown skip", "--from RUN"]),
        ({"start_from": "nowhere"}, ["'nowhere'"]),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes(first, settings, words):
    Path("new.txt").write_text("the café über alles " * 40, encoding="utf-8")
    refuses(lambda: fine_tune(**settings), *words)
    assert not Path("second").exists()


def test_a_missing_package_is_reported_before_anything_is_written(first, monkeypatch):
    monkeypatch.setattr("nanogpt.model.lora.find_spec", lambda name: None)
    refuses(lambda: fine_tune(lora=2), "peft")
    assert not Path("second").exists()


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink])
def test_damaged_start_weights(first, damage):
    fine_tune(lora=2)
    damage(Path("second/start.safetensors"))
    Path("second/metrics.jsonl").unlink()
    for call in (load, resume_run):
        refuses(lambda call=call: call("second"), "start.safetensors", "SHA-256" if damage is flip_a_bit else "no such")
