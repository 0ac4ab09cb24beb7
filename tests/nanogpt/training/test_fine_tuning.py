"""Training that begins with another run's weights: whole or by adapters, lower at once, resumed exactly, kept apart."""

import shutil
from pathlib import Path

import pytest
import torch
from nanogpt.training.launch import resume_run
from safetensors.torch import load_file
from tiny import finish, make_run, refuses, start, write_text

import nanogpt
from nanogpt.config import TrainConfig
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.hugging_face.importing import import_model
from nanogpt.runs.run import load
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.training.fine_tuning import ADAMW_RATE, LORA_RATE, RATE, begin_with

QUIET = {"progress": False, "precision": "float32", "sample_tokens": 5, "batch_size": 3}


@pytest.fixture
def first(finished_run):
    """A finished run in this folder."""
    return Path(shutil.copytree(finished_run, "first"))


def other_text(name="other.txt"):
    """Words that the finished run knows, in another order."""
    Path(name).write_text("a red cat ran to the dog; the tree saw it there.\n" * 41, encoding="utf-8")
    return name


@pytest.fixture
def gpt2():
    """An imported model of GPT-2's form, with weights that were drawn and a vocabulary of bytes."""
    run = make_run("ours", "gpt2", n_embd=12, n_head=3, head_size=None, tokenizer=ByteTokenizer())
    export_hugging_face(run, "theirs")
    return import_model("theirs", "first").path


def first_loss(run):
    return next(line["loss"] for line in run.folder.metrics() if line["event"] == "eval" and line["step"] == 0)


def test_it_begins_where_the_other_ended(first):
    run = nanogpt.train(other_text(), steps=4, start_from=first, out="second", eval_every=1, **QUIET)
    whole = load(first).model.state_dict()
    begun = load("second", checkpoint=0).model.state_dict()
    assert all(torch.equal(whole[name], begun[name]) for name in whole)
    assert run.plan.start_from == str(first)
    assert run.config.train.learning_rate == pytest.approx(RATE * load(first).config.train.learning_rate)
    assert run.tokenizer.to_dict() == load(first).tokenizer.to_dict()


@pytest.mark.parametrize("lora", [None, 3])
def test_an_imported_model_learns_and_is_exported_again(gpt2, lora):
    text = other_text()
    before = load(gpt2).evaluate(text).loss
    settings = {"steps": 40, "learning_rate": 1e-2, "lora": lora, "block_size": 7}
    run = nanogpt.train(text, start_from=gpt2, out="second", **QUIET | settings)
    after = run.evaluate(text).loss
    assert after < before - 0.5
    export_hugging_face(run, "again")
    again = load(import_model("again", "third").path)
    assert again.evaluate(text).loss == pytest.approx(after, abs=1e-6)
    assert again.config.model.block_size == 7


def test_with_adapters_the_other_weights_stay(gpt2):
    nanogpt.train(other_text(), steps=5, start_from=gpt2, out="second", lora=3, learning_rate=0.1, **QUIET)
    before, after = load(gpt2).model.state_dict(), load("second", checkpoint="last").model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        name for name in before if name.endswith(("qkv.weight", "proj.weight", "up.weight", "down.weight"))
    }


@pytest.mark.parametrize("lora", [None, 2])
def test_a_resumed_training_ends_with_the_same_bytes_also_where_the_other_run_is_gone(first, lora):
    settings = {"start_from": first, "lora": lora, "learning_rate": 1e-2} | ({"optimizer": "adamw"} if lora else {})
    text = write_known_text()
    shapes = {"n_layer": None, "n_head": None, "n_embd": None, "block_size": 12}
    whole = begin("whole", text, settings, shapes)
    finish(whole)
    stopped = begin("parts", text, settings, shapes, stop_at=5)
    finish(stopped)
    shutil.rmtree(first)
    again = resume_run("parts")
    assert again is not None
    assert again.state.step == 5
    finish(again)
    one, other = (Path(out, "checkpoints/step-8/model.safetensors").read_bytes() for out in ("whole", "parts"))
    assert one == other


def write_known_text():
    return other_text("known.txt")


def begin(out, text, settings, shapes, stop_at=None):
    from nanogpt.training.launch import start_run

    quiet = {name: value for name, value in QUIET.items() if name != "progress"}
    trainer = start_run(text, steps=8, out=out, eval_every=4, block_size=shapes["block_size"], **quiet | settings)
    if stop_at is not None:
        trainer.should_stop = lambda: trainer.state.step >= stop_at
    return trainer


def test_a_fine_tuned_run_can_be_fine_tuned(first):
    nanogpt.train(other_text(), steps=3, start_from=first, out="second", lora=2, **QUIET)
    third = nanogpt.train(other_text(), steps=3, start_from="second", out="third", **QUIET)
    assert third.config.train.lora is None
    begun, ended = load("third", checkpoint=0).model.state_dict(), load("second").model.state_dict()
    assert all(torch.equal(begun[name], ended[name]) for name in ended)
    assert not any("lora" in name for name in load_file("third/start.safetensors"))


def test_rates(first):
    """Adapters have one of their own; after them a whole model's; and a chain of trainings divides once."""
    own = load(first).config.train
    second = nanogpt.train(other_text(), steps=1, start_from=first, out="second", lora=2, **QUIET).config.train
    assert (second.optimizer, second.learning_rate) == ("adamw", LORA_RATE / 32)
    third = nanogpt.train(other_text(), steps=1, start_from="second", out="third", **QUIET).config.train
    assert (third.optimizer, third.lora, third.weight_decay) == ("adamw", None, 0.1)
    assert third.learning_rate == pytest.approx(RATE * ADAMW_RATE / 32)
    fourth = nanogpt.train(other_text(), steps=1, start_from=first, out="fourth", **QUIET).config.train
    fifth = nanogpt.train(other_text(), steps=1, start_from="fourth", out="fifth", **QUIET).config.train
    assert fourth.learning_rate == fifth.learning_rate == pytest.approx(RATE * own.learning_rate)


def test_how_the_first_text_was_read_says_nothing_of_the_second():
    Path("notes").mkdir()
    text = Path(write_text()).read_text()
    Path("notes/a.md").write_text(text)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 12}
    nanogpt.train("notes", pattern="*.md", steps=1, out="first", **QUIET | sizes)
    run = nanogpt.train("tale.txt", steps=1, start_from="first", out="second", **QUIET)
    assert run.config.data.pattern is None


def test_what_the_planner_fitted_to_the_first_training_says_nothing_of_the_second():
    fitted = {"eval_tokens": 2048, "final_eval_tokens": 4096, "sample_tokens": 3, "compile": "off"}
    run = make_run("first", **fitted)
    begun, fresh = begin_with(run, {"sample_tokens": 5}).train, TrainConfig()
    assert run.config.train.final_eval_tokens == 4096
    assert (begun.eval_tokens, begun.final_eval_tokens, begun.compile) == (fresh.eval_tokens, None, "auto")
    assert begun.sample_tokens == 5


def test_a_training_that_cannot_begin_leaves_no_run(first, monkeypatch):
    monkeypatch.setattr("nanogpt.model.lora.find_spec", lambda name: None)
    refuses(lambda: nanogpt.train(other_text(), steps=1, start_from=first, out="second", lora=2, **QUIET), "peft")
    assert not Path("second").exists()


def test_memory_is_that_of_the_adapters_and_the_advice_can_be_followed(gpt2):
    from nanogpt.planning.memory import estimate_memory

    config = load(gpt2).config
    whole, adapters = (estimate_memory(config.override(optimizer="adamw", lora=rank)) for rank in (None, 2))
    assert adapters.gradients + adapters.optimizer < (whole.gradients + whole.optimizer) / 2
    message = refuses(
        lambda: nanogpt.train(other_text(), steps=1, start_from=gpt2, out="second", memory=1e-6, **QUIET), "0.00 GB"
    )
    assert "--n-layer" not in message
    assert "--n-embd" not in message


def test_minutes_choose_steps_and_no_size(first):
    run = nanogpt.train(other_text(), minutes=0.05, start_from=first, out="second", **QUIET)
    assert run.config.model == load(first).config.model
    assert run.plan.steps > 1
    assert run.plan.expected_loss is None


def test_several_seeds_begin_with_the_same_weights(first):
    from nanogpt.training.seeds import start_series

    quiet = {name: value for name, value in QUIET.items() if name != "progress"}
    _, trainers = start_series(2, text=other_text(), steps=2, start_from=first, out="series", **quiet)
    for trainer in trainers:
        finish(trainer)
    one, other = (load_file(f"series/seed-{seed}/history/step-0.safetensors") for seed in (1337, 1338))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(*(load(f"series/seed-{seed}").model.lm_head.weight for seed in (1337, 1338)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_layer": 3}, ["n_layer is what 'first' was made with"]),
        ({"position": "learned"}, ["position is what"]),
        ({"tokenizer": "byte"}, ["tokenizer is what"]),
        ({"vocab_size": 99}, ["vocab_size is what"]),
        ({"block_size": 17}, ["block_size 17 is longer", "at most 16"]),
        ({"preset": "gpt2"}, ["preset 'gpt2'", "leave one of the two out"]),
        ({"lora": 2, "optimizer": "muon"}, ["lora 2 does not go with optimizer muon"]),
        ({"lora": 2, "parallel": "fsdp"}, ["lora 2 does not go with parallel fsdp"]),
        ({"lora": 0}, ["lora is 0"]),
    ],
)
def test_what_the_weights_decide_cannot_be_asked_for(first, settings, words):
    refuses(lambda: nanogpt.train(other_text(), steps=2, start_from=first, out="second", **QUIET | settings), *words)
    assert not Path("second").exists()


def test_adapters_need_weights_to_learn_beside():
    refuses(lambda: nanogpt.train(write_text(), steps=2, lora=3, progress=False), "lora 3", "--from RUN")


def test_a_text_with_unknown_characters(first):
    Path("new.txt").write_text("the café über alles " * 40, encoding="utf-8")
    refuses(
        lambda: nanogpt.train("new.txt", steps=2, start_from=first, **QUIET), "never saw 'b' 'f' 'l'", "bytes or bpe"
    )


def test_with_adapters_a_checkpoint_holds_these_alone(first):
    run = nanogpt.train(other_text(), steps=2, start_from=first, out="second", lora=2, **QUIET)
    files = [*Path("second").rglob("step-*/model.safetensors"), *Path("second").glob("history/*.safetensors")]
    assert len(files) >= 3
    assert all("lora_" in name for file in files for name in load_file(file))
    assert run.model.parameter_count == load(first).model.parameter_count


def test_a_start_that_is_damaged_is_told(first):
    nanogpt.train(other_text(), steps=2, start_from=first, out="second", lora=2, **QUIET)
    path = Path("second/start.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    refuses(lambda: load("second"), "start.safetensors is damaged", "SHA-256")


def test_no_such_run():
    refuses(lambda: nanogpt.train(write_text(), steps=2, start_from="nowhere", **QUIET), "no run folder 'nowhere'")


def test_a_start_that_is_lost_is_told(first):
    trainer = start("second", text=other_text())  # a run of its own
    finish(trainer)
    nanogpt.train(other_text(), steps=3, start_from=first, out="third", **QUIET)
    Path("third/start.safetensors").unlink()
    Path("third/metrics.jsonl").unlink()
    refuses(lambda: resume_run("third"), "start.safetensors", "no such file")
