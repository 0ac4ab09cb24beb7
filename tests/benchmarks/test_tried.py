"""Ideas are paired with the recipe, which is the library's own, and nothing is trained twice."""

import argparse
import json
import sys

import pytest
from tiny import write_text

from benchmarks import record, tried
from benchmarks.ideas import IDEAS, Idea
from benchmarks.record import Parts
from benchmarks.trials import hold_out, run_trial
from benchmarks.tried import effect, is_free, is_recipe, measure, verdict

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}
OPTIONS = argparse.Namespace(seeds=[5, 6], rounds=2, equal_steps_only=False)
FREE_IDEA = Idea(name="slow", in_qwen3=True, settings={"momentum": 0.5})
COSTLY_IDEA = Idea(name="dear", in_qwen3=False, change=lambda trainer: None)


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder for records, and a recipe of tiny sizes."""
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    monkeypatch.setitem(tried.SIZES, "small", TINY)
    write_text("tale.txt", 3000)
    return tried.BASE | TINY | {"steps": 6, "threads": 1}


class Made:
    """Replaces `Parts`: losses by idea and steps, and a cost of two."""

    def __init__(self) -> None:
        self.keys = []

    def measure(self, key, measure):
        self.keys.append(key)
        if "cost of" in key:
            return {"ratio": 2.0}
        loss = {"the recipe": 2.0, "slow": 2.2, "dear": 1.9}[key["trial of"]]
        loss += 0.001 * key["settings"]["seed"] * len(key["trial of"])
        return {"loss": loss + (0.3 if key["settings"]["steps"] == 3 else 0.0)}


def rows_of(base, ideas, **changed):
    parts, text = Made(), type("Text", (), {"name": "tale"})()
    return parts, measure(parts, [text], base, ideas, argparse.Namespace(**vars(OPTIONS) | changed))


def test_ideas_are_paired_at_equal_steps_and_at_equal_time(base):
    parts, (slow, dear) = rows_of(base, [FREE_IDEA, COSTLY_IDEA])
    assert dear["step_cost"] == 2.0
    assert sum("cost of" in key for key in parts.keys) == 1, "once for both seeds"
    # of the seeds 5 and 6: 1.9 - 2.0 and the names' lengths, 4 and 10 letters, in thousandths
    assert dear["equal_steps"]["differences"] == pytest.approx([-0.1 - 0.03, -0.1 - 0.036])
    assert dear["equal_time"]["differences"] == pytest.approx([0.2 - 0.03, 0.2 - 0.036])
    half = 12.706 * 0.003
    assert dear["equal_time"]["interval"] == pytest.approx([0.167 - half, 0.167 + half], abs=1e-4)
    assert (dear["verdict"], slow["verdict"]) == ("hurts", "hurts")
    assert (slow["step_cost"], slow["equal_time"]) == (1.0, slow["equal_steps"])


def test_without_timing_there_are_only_equal_steps(base):
    _, (dear,) = rows_of(base, [COSTLY_IDEA], equal_steps_only=True)
    assert (dear["step_cost"], dear["equal_time"]["pairs"], dear["verdict"]) == (None, 0, "helps")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(1.9, 2.0), (1.8, 1.9), (1.7, 1.81)], "helps"),
        ([(2.1, 2.0), (2.0, 1.9), (1.9, 1.79)], "hurts"),
        ([(2.1, 2.0), (1.8, 1.9), (1.9, 1.91)], "no difference"),
        ([(2.1, 2.0)], "one pair has no interval"),
        ([(None, 2.0), (1.8, 1.9)], "diverges"),
        ([], "one pair has no interval"),
    ],
)
def test_the_interval_decides(losses, expected):
    assert verdict(effect(losses)) == expected


def test_the_recipe_is_the_librarys_training_and_nothing_is_trained_twice(base, monkeypatch):
    """By the command, with an idea that changes nothing: bit for bit the recipe."""
    monkeypatch.setattr(
        "benchmarks.ideas.IDEAS", {"nothing": Idea(name="nothing", in_qwen3=True, change=lambda t: None)}
    )
    words = ["--texts", "tale.txt", "--steps", "6", "--seeds", "5", "6", "--threads", "1", "--equal-steps-only"]
    monkeypatch.setattr(sys, "argv", ["tried", *words])
    tried.main()
    first = Parts("tried").file.rows()
    tried.main()
    assert Parts("tried").file.rows() == first
    losses = {(row["key"]["trial of"], row["key"]["settings"]["seed"]): row["loss"] for row in first}
    alone = run_trial(hold_out("tale.txt", record.RECORDS / "alone"), base | {"seed": 5})
    assert losses["the recipe", 5] == losses["nothing", 5] == alone["loss"] != losses["the recipe", 6]
    (group,) = json.loads((record.RECORDS / "tried.json").read_text())["groups"]
    assert group["rows"][0]["equal_steps"]["mean"] == 0
    assert (group["size"], group["steps"], group["texts"], group["seeds"]) == ("small", 6, ["tale"], [5, 6])


def test_what_is_not_timed_and_what_is_the_recipe_already(base):
    free = {name for name, idea in IDEAS.items() if is_free(idea)}
    assert free == {"momentum 0.9", "no weight decay", "weight decay 0.3"}
    assert is_recipe(IDEAS["no dropout"], base)
    assert not is_recipe(IDEAS["no dropout"], base | {"dropout": 0.1})
    assert not is_recipe(IDEAS["z-loss"], base)


def test_an_unknown_idea_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tried", "z-los"])
    with pytest.raises(SystemExit):
        tried.main()
    assert "'z-los'" in capsys.readouterr().err
