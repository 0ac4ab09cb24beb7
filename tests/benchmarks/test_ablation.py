"""Equal time, paired differences, and correct intervals."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import write_text

from benchmarks import ablation
from benchmarks.ablation import BASE, FREE, STRETCHES, VARIANTS, measure, step_costs, text_interval
from benchmarks.trials import hold_out, resolve, run_trial
from nanogpt.config import part_of

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}
TEXT = SimpleNamespace(name="tale")


class Made:
    """Replaces `Parts`: results by key, without training."""

    def __init__(self, losses: dict, cost: float = 2.0) -> None:
        self.losses, self.cost, self.asked = losses, cost, []

    def measure(self, key, measure):
        self.asked.append(key)
        if "cost of" in key:
            return {"ratio": self.cost}
        named = key["settings"]
        loss = self.losses[named.get("n_layer", 1), named["seed"]]
        return {"loss": loss, "seconds": 1.0, "parameters": 7, "stretches": [[20.0 * (loss or 0)] * 30, [20.0] * 30]}


def test_a_variant_that_costs_twice_makes_half_the_steps_and_is_compared_seed_by_seed(monkeypatch):
    parts = Made({(1, 5): 2.0, (1, 6): 3.0, (3, 5): 2.2, (3, 6): 3.1})
    monkeypatch.setitem(VARIANTS, "deeper", {"n_layer": 3})
    rows = measure(parts, TEXT, {"steps": 100}, ["deeper"], seeds=[5, 6], rounds=3)
    deeper = next(row for row in rows if row["name"] == "deeper")
    assert [key["settings"]["steps"] for key in parts.asked if "settings" in key] == [100, 100, 50, 50]
    assert deeper["effect"] == pytest.approx(0.15)
    assert deeper["seeds"] == pytest.approx([0.15 - 12.706 * 0.05, 0.15 + 12.706 * 0.05], abs=1e-3)
    assert deeper["text"] == pytest.approx([0.15, 0.15])
    assert [row["name"] for row in rows] == ["deeper", "the recipe"]


def test_what_changes_no_steps_time_is_not_timed_and_a_divergence_has_no_effect(monkeypatch):
    parts = Made({(1, 5): 2.0, (2, 5): None})
    monkeypatch.setitem(VARIANTS, "hot", {"learning_rate": 9.0})
    monkeypatch.setitem(VARIANTS, "lost", {"n_layer": 2})
    rows = measure(parts, TEXT, {"steps": 10}, ["hot", "lost"], seeds=[5], rounds=3)
    assert [key["cost of"] for key in parts.asked if "cost of" in key] == [{"n_layer": 2}]
    assert rows[0]["name"] == "lost"
    assert rows[0]["effect"] is None
    assert next(row for row in rows if row["name"] == "hot")["seeds"] is None


def test_stretches_of_another_length_have_no_interval():
    one = {"stretches": [[1.0] * 30, [20.0] * 30]}
    other = {"stretches": [[1.0] * 30, [20.0] * 29 + [21.0]]}
    assert text_interval([one], [one]) == [0.0, 0.0]
    assert text_interval([one], [other]) is None


def test_the_interval_over_text_holds_a_true_difference():
    generator = np.random.default_rng(5)
    tokens = [50.0] * STRETCHES
    hard = generator.normal(2.0, 0.5, STRETCHES)  # what is hard is hard for both
    trials = [{"stretches": [(50 * (hard + 0.1 + generator.normal(0, 0.05, STRETCHES))).tolist(), tokens]}]
    reference = [{"stretches": [(50 * hard).tolist(), tokens]}]
    low, high = text_interval(trials, reference)
    assert low < 0.1 < high
    assert high - low < 0.05


def test_the_stretches_of_a_trial_add_up_to_its_loss():
    write_text("tale.txt", 4000)
    row = run_trial(hold_out("tale.txt", Path("work")), {"steps": 2, **TINY}, stretches=7)
    nats, tokens = row["stretches"]
    assert (len(nats), sum(tokens)) == (7, row["measured_tokens"])
    assert sum(nats) / sum(tokens) == pytest.approx(row["loss"], abs=1e-4)


def test_costs_are_the_ratio_of_turns(monkeypatch):
    """With a fake clock: the variant's turn takes 3, the base's 2, except for a round in which the machine was slow."""
    write_text("tale.txt", 3000)
    took = itertools.chain([50.0, 70.0], [2.0, 3.0], [20.0, 30.0], [2.0, 3.0])
    now = [0.0]

    def clock():
        now[0] += next(took) if clock.asked % 2 else 0.0
        clock.asked += 1
        return now[0]

    clock.asked = 0
    monkeypatch.setattr(ablation.time, "perf_counter", clock)
    found = step_costs(hold_out("tale.txt", Path("work")), {"steps": 3, **TINY}, {"steps": 3, **TINY}, rounds=3)
    assert found["ratio"] == pytest.approx(1.5)
    assert found["ratios"] == pytest.approx([1.5, 1.5, 1.5])


def test_every_variant_can_be_trained_and_every_free_setting_exists():
    for changes in VARIANTS.values():
        assert resolve(BASE | changes | {"steps": 5}) != resolve(BASE | {"steps": 5})
    assert {part_of(name) for name in FREE} == {"train", "model"}
