"""What a trial learns from and is measured on, and which trials are the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import refuses, write_text

import nanogpt
from benchmarks.trials import TrialFile, hold_out, resolve, run_trial

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}


def texts_of(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("source", "first"), [("tale.txt", 0), ("tale.txt@123", 810 - 123), ("tale.txt@810", 0)])
def test_the_validation_part_is_in_neither_part(source, first):
    text = write_text("tale.txt", 1000).read_text()
    parts = hold_out(source, Path("work"))
    assert (texts_of(parts.learn), texts_of(parts.measure)) == ([text[first:810]], [text[810:900]])
    assert parts.name == source.replace(".txt", "")
    with pytest.raises(SystemExit, match="only 810 characters"):
        hold_out("tale.txt@811", Path("other"))


def test_documents_stay_apart_and_the_one_with_the_cut_is_divided():
    Path("many.jsonl").write_text("".join(json.dumps({"text": letter * 100}) + "\n" for letter in "abcdefghijkl"))
    parts = hold_out("many.jsonl", Path("work"))
    assert texts_of(parts.learn) == [letter * 100 for letter in "abcdefghi"] + ["j" * 72]
    assert texts_of(parts.measure) == ["j" * 28, "k" * 80]
    assert parts.name == "many"


def test_the_loss_is_the_last_checkpoints_on_the_whole_of_the_held_out_part():
    write_text("tale.txt", 3000)
    parts = hold_out("tale.txt", Path("work"))
    row = run_trial(parts, {"steps": 5, "seed": 2, **TINY})
    run = nanogpt.train(
        parts.learn, val=parts.measure, steps=5, seed=2, out="by-hand", progress=False, sample_tokens=0, **TINY
    )
    assert run.step == 5
    expected = nanogpt.load("by-hand", checkpoint="last").evaluate()
    assert row["loss"] == pytest.approx(expected.loss, abs=1e-9)
    assert (row["tokens"], row["measured_tokens"], row["train_tokens"]) == (5 * 3 * 11, 270, 2431)
    assert row["seconds"] > 0
    assert row["parameters"] == run.model.parameter_count


def test_a_training_that_diverges_has_no_loss():
    write_text("tale.txt", 3000)
    row = run_trial(hold_out("tale.txt", Path("work")), {"steps": 5, "learning_rate": 1e9, "grad_clip": np.inf, **TINY})
    assert row["loss"] is None
    assert "became" in row["diverged"]


def test_a_trial_is_known_by_its_text_and_its_settings():
    file = TrialFile(Path("some/trials.jsonl"))
    named = {"steps": 7, "n_layer": 2, "seed": 3}
    file.append({"text": "tale", "named": named, "settings": resolve(named)})
    assert file.has("tale", named)
    assert file.has("tale", named | {"n_head": 4, "threads": 1})  # the default, named; and what changes no weight
    for other in ({"steps": 8}, {"n_layer": 3}, {"seed": 4}, {"n_head": 2}, {"preset": "gpt2"}):
        assert not file.has("tale", named | other), other
    assert not file.has("tail", named)


def test_new_settings_and_other_defaults():
    file, later, named = TrialFile(Path("one.jsonl")), TrialFile(Path("other.jsonl")), {"steps": 7}
    before = resolve(named)
    del before["qk_norm"]  # a setting that did not exist yet counts only if it is named
    file.append({"text": "tale", "settings": before})
    assert file.has("tale", named)
    assert not file.has("tale", named | {"qk_norm": True})
    later.append({"text": "tale", "settings": resolve(named) | {"learning_rate": 0.5}})
    assert not later.has("tale", named)
    assert later.has("tale", named | {"learning_rate": 0.5})
    refuses(lambda: resolve({"steps": 3, "n_layers": 2}), "n_layers", "n_layer")
