"""The recipe in this room is the library's, ideas are paired with it, and what is known is not run again."""

import argparse
import itertools
import json
import sys

import pytest
from tiny import write_text

from benchmarks import record, tried
from benchmarks.ideas.all_ideas import IDEAS
from benchmarks.ideas.idea import Idea
from benchmarks.record import Parts
from benchmarks.trials import hold_out, run_trial
from benchmarks.tried import RECIPE, effect, in_order, is_free, is_recipe, measure, sum_up, table, trial_key, verdict

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}
OPTIONS = argparse.Namespace(size="small", seeds=[5, 6], rounds=2, equal_steps_only=False)
FREE_IDEA = Idea(name="slow", in_qwen3=True, settings={"momentum": 0.5})
DEAR_IDEA = Idea(name="dear", in_qwen3=False, change=lambda trainer: None)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder for records, and a recipe of tiny sizes."""
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    (tmp_path / "records").mkdir()
    monkeypatch.setitem(tried.SIZES, "small", TINY)
    write_text("tale.txt", 3000)
    return tried.BASE | TINY | {"steps": 6, "threads": 1}


class Made:
    """Stands in for `Parts`: losses by idea and steps, and a cost of two."""

    def __init__(self) -> None:
        self.asked = []

    def measure(self, key, measure):
        self.asked.append(key)
        if "cost of" in key:
            return {"key": key, "ratio": 2.0}
        loss = {RECIPE: 2.0, "slow": 2.2, "dear": 1.9}[key["trial of"]] + 0.001 * key["seed"] * len(key["trial of"])
        return {"key": key, "loss": loss + (0.3 if key["settings"]["steps"] == 3 else 0.0)}


def test_ideas_are_paired_at_equal_steps_and_at_equal_time(tiny):
    parts = Made()
    text = type("Text", (), {"name": "tale"})()
    rows = list(measure(parts, text, tiny, [FREE_IDEA, DEAR_IDEA], OPTIONS))
    (group,) = sum_up(rows, {idea.name: idea for idea in (FREE_IDEA, DEAR_IDEA)})
    assert (group["size"], group["steps"], group["texts"], group["seeds"]) == ("small", 6, ["tale"], [5, 6])
    slow, dear = group["rows"]
    assert dear["step_cost"] == 2.0
    assert sum("cost of" in key for key in parts.asked) == 1, "once for both seeds"
    # of the seeds 5 and 6: 1.9 - 2.0 and the names' lengths, 4 and 10 letters, in thousandths
    assert dear["equal_steps"]["differences"] == pytest.approx([-0.1 - 0.03, -0.1 - 0.036])
    assert dear["equal_time"]["differences"] == pytest.approx([0.2 - 0.03, 0.2 - 0.036])
    half = 12.706 * 0.003
    assert dear["equal_time"]["interval"] == pytest.approx([0.167 - half, 0.167 + half], abs=1e-4)
    assert (dear["verdict"], slow["verdict"]) == ("hurts", "hurts")
    assert (slow["step_cost"], slow["equal_time"]) == (1.0, slow["equal_steps"])
    assert [row["idea"] for row in in_order(group["rows"])] == ["slow", "dear"]
    assert "hurts" in "\n".join(table(group))


def test_what_was_measured_with_other_defaults_is_left_out(tiny, monkeypatch):
    rows = list(measure(Made(), type("Text", (), {"name": "tale"})(), tiny, [FREE_IDEA], OPTIONS))
    monkeypatch.setitem(tried.SIZES, "small", TINY | {"learning_rate": 0.5})
    assert sum_up(rows, {"slow": FREE_IDEA}) == []


def test_without_times_there_are_equal_steps_alone(tiny):
    parts = Made()
    options = argparse.Namespace(**vars(OPTIONS) | {"equal_steps_only": True})
    rows = list(measure(parts, type("Text", (), {"name": "tale"})(), tiny, [DEAR_IDEA], options))
    (group,) = sum_up(rows, {"dear": DEAR_IDEA})
    assert group["rows"][0]["equal_time"]["pairs"] == 0
    assert group["rows"][0]["verdict"] == "helps"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([(1.9, 2.0), (1.8, 1.9), (1.7, 1.81)], "helps"),
        ([(2.1, 2.0), (2.0, 1.9), (1.9, 1.79)], "hurts"),
        ([(2.1, 2.0), (1.8, 1.9), (1.9, 1.91)], "no difference"),
        ([(2.1, 2.0)], "one run tells nothing"),
        ([(None, 2.0), (1.8, 1.9)], "diverges"),
        ([], "one run tells nothing"),
    ],
)
def test_the_interval_decides(losses, expected):
    assert verdict(effect(losses)) == expected


def test_the_recipe_here_is_the_librarys_run_and_nothing_is_run_twice(tiny, capsys, monkeypatch):
    """By the command itself, with an idea that changes nothing: bit for bit the recipe."""
    monkeypatch.setitem(IDEAS, "nothing", Idea(name="nothing", in_qwen3=True, change=lambda trainer: None))
    words = ["nothing", "--texts", "tale.txt", "--steps", "6", "--seeds", "5", "6", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["tried", *words, "--equal-steps-only"])
    tried.main()
    first = Parts("tried").file.rows()
    tried.main()
    assert Parts("tried").file.rows() == first
    alone = run_trial(hold_out("tale.txt", tiny_folder(tiny)), tiny | {"seed": 5})
    losses = {(row["key"]["trial of"], row["key"]["seed"]): row["loss"] for row in first}
    assert losses[RECIPE, 5] == losses["nothing", 5] == alone["loss"] != losses[RECIPE, 6]
    written = json.loads((record.RECORDS / "tried.json").read_text())
    assert written["groups"][0]["rows"][0]["equal_steps"]["mean"] == 0
    assert "no difference" in capsys.readouterr().out


def tiny_folder(tiny):
    return record.RECORDS / f"alone-{tiny['steps']}"


def test_what_costs_nothing_is_not_timed():
    free = {name for name, idea in IDEAS.items() if is_free(idea)}
    assert free == {"momentum 0.9", "no weight decay", "weight decay 0.3"}


def test_an_idea_that_is_the_base_already_is_left_out(tiny):
    assert is_recipe(IDEAS["no dropout"], tiny)
    assert not is_recipe(IDEAS["no dropout"], tiny | {"dropout": 0.1})
    assert not is_recipe(IDEAS["z-loss"], tiny)


def test_threads_make_no_other_trial(tiny):
    keys = [trial_key("dear", "tale", "small", tiny | {"seed": 5, "threads": n}) for n in (1, 2)]
    assert all(one == other for one, other in itertools.pairwise(keys))


def test_an_unknown_idea_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tried", "z-los"])
    with pytest.raises(SystemExit):
        tried.main()
    assert "'z-los' is no idea here" in capsys.readouterr().err
