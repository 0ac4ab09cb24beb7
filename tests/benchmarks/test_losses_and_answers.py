"""The trainings behind docs/losses.md and docs/from-gpt-to-chatgpt.md, with a tiny model and a made-up text."""

import pytest

import nanogpt
from benchmarks import answers, losses

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 16, "batch_size": 8}
TALE = "the king is old and the queen is wise, and all is well in the land. " * 60


def test_a_sample_is_taken_before_training_and_as_each_level_is_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "TOKENS", 60)
    monkeypatch.setattr(losses, "SAMPLES", 3)
    (tmp_path / "tale.txt").write_text(TALE)
    settings = TINY | {"eval_every": 2, "sample_tokens": 0, "history": "off"}
    rows = list(losses.measure(str(tmp_path / "tale.txt"), 80, (2.5, 1.0, 0.001), tmp_path, settings))
    first, middle, last = rows  # the third level is never passed
    assert (first["level"], first["step"]) == (None, 0)
    assert first["loss"] == pytest.approx(2.94, abs=0.1)  # ln 19: zeros in the output layer
    assert 1.0 < middle["loss"] <= 2.5
    assert last["loss"] <= 1.0
    assert 0 < middle["step"] < last["step"] <= 80
    assert first["known_words"] < middle["known_words"] < last["known_words"]


def test_the_questions_can_be_written_in_the_alphabet_of_shakespeare():
    alphabet = set("\n !$&',-.3:;?" + "abcdefghijklmnopqrstuvwxyz" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    pairs = answers.read_pairs(answers.QUESTIONS)
    assert len(pairs) == 48
    others = answers.OTHERS["reworded"] | answers.OTHERS["new"]
    for question, answer in [*pairs.items(), *others.items()]:
        assert set(question + answer) <= alphabet, question
    assert not others.keys() & pairs.keys(), "these are not trained on"
    learned = answers.trained_on(answers.QUESTIONS)
    assert 0 < len(learned) < len(pairs)
    assert learned.items() <= pairs.items()


def test_an_answer_that_ends_differs_from_one_that_is_cut_off(tmp_path, monkeypatch):
    text = tmp_path / "pairs.jsonl"
    text.write_text('{"text": "Q: who?\\nA: ab"}\n' * 200)
    run = nanogpt.train(text, steps=60, out=tmp_path / "run", progress=False, sample_tokens=0, **TINY)
    (one,) = answers.ask(run, ["who?"])
    assert one == {"question": "who?", "answer": "ab", "ended": True}
    monkeypatch.setattr(answers, "TOKENS", 2)
    (one,) = answers.ask(run, ["who?"])
    assert one == {"question": "who?", "answer": "a", "ended": False}  # a blank, an a
    monkeypatch.setattr(answers, "OTHERS", {})
    found = answers.ask_all(run, {"who?": "a"})["learned"]
    assert (found["asked"], found["right"], found["ended"]) == (1, 1, 0)
