"""What is made of the pairs: ratios, reckoned times, rates; and that the stated commands are understood."""

from pathlib import Path

import pytest
from stand_ins import nanogpt_checkout
from tiny import write_text

from benchmarks import loss_in_minutes, sides
from benchmarks.peers.checkout import GPU_RECIPE, Checkout
from benchmarks.recipes import GOALS
from benchmarks.sides import measure_pairs, nanogpt_side, summary
from benchmarks.throughput import SIZES, add_rates, our_words
from benchmarks.time_to_loss import reckoned
from nanogpt.cli.train import parse_train
from nanogpt.config import load_preset


class Remembered:
    """Stands in for `Parts`: keeps nothing."""

    def measure(self, key, measure):
        return {"key": key, **measure()}


def row(seconds: float, **more) -> dict:
    return {"seconds": seconds, "import_seconds": 2.0, "step_seconds": 0.5, "peak_megabytes": 100.0} | more


def test_the_order_of_a_pair_changes_and_its_rows_do_not():
    order = []

    def side(name):
        def measure(place: Path, number: int) -> dict:
            assert not place.exists()
            order.append(name + str(number))
            return row(10.0 if name == "a" else 40.0)

        return measure

    rows = measure_pairs(Remembered(), {"x": 1}, 3, side("a"), side("b"))
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert [one["key"] for one in rows] == [{"x": 1, "pair": number} for number in range(3)]
    assert all((one["ours"]["seconds"], one["theirs"]["seconds"]) == (10.0, 40.0) for one in rows)


def test_a_summary_has_both_sides_and_the_ratio_of_each_pair():
    losses = {"loss": 1.9, "loss_interval": [1.8, 2.0], "protocol": "whole split"}
    rows = [
        {"ours": row(6.0, **losses), "theirs": row(42.0, **losses)},
        {"ours": row(12.0, **losses), "theirs": row(22.0, **losses)},
        {"ours": row(7.0, **losses), "theirs": row(42.0, **losses)},
    ]
    found = summary(rows)
    assert found["ours"]["seconds"] == {"median": 7.0, "low": 6.0, "high": 12.0, "n": 3}
    assert found["ratios"]["seconds"]["median"] == pytest.approx(1 / 6)
    assert found["ratios"]["seconds"]["high"] == pytest.approx(12 / 22)
    assert found["ratios"]["without_imports"]["low"] == pytest.approx(4 / 40)
    assert found["theirs"]["loss"]["median"] == 1.9
    assert found["rows"] == rows


def test_figures_that_a_side_lacks_are_left_out():
    found = summary([{"ours": row(6.0, step_seconds=None), "theirs": {"seconds": 3.0, "peak_megabytes": 200.0}}])
    assert sorted(found["ratios"]) == ["peak_megabytes", "seconds"]
    assert found["ratios"]["peak_megabytes"]["median"] == 0.5
    assert "loss" not in found["ours"]


def test_a_training_that_takes_less_than_its_imports_has_no_time_without_them():
    found = summary([{"ours": row(1.5), "theirs": row(6.0)}])  # imports take 2 s
    assert "seconds" in found["ratios"]
    assert "without_imports" not in found["ratios"]


def test_a_time_reckoned_from_a_few_steps_says_so():
    side = reckoned(lambda place, number: row(20.0, step_seconds=8.5), GPU_RECIPE, measured_steps=6)
    found = side(Path("nowhere"), 0)
    assert found["seconds"] == 20.0 + 4994 * 8.5
    assert (found["extrapolated"], found["measured_steps"], found["measured_seconds"]) == (True, 6, 20.0)


def test_rates_are_the_tokens_of_a_step_by_its_seconds():
    found = summary([{"ours": row(6.0, step_seconds=0.5), "theirs": row(6.0, step_seconds=2.0)}])
    add_rates(found, tokens=768)
    assert (found["ours"]["tokens_per_second"]["median"], found["theirs"]["tokens_per_second"]["median"]) == (1536, 384)
    assert found["ratios"]["tokens_per_second"]["median"] == 4.0


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_the_command_of_a_goal_is_understood_and_its_context_is_no_longer_than_allowed(goal):
    _, settings = parse_train(["shakespeare", *goal.words])
    block_size = load_preset("modern").override(**settings).model.block_size
    assert block_size <= goal.theirs.block_size


@pytest.mark.parametrize("size", SIZES)
def test_the_command_of_a_size_is_understood(size):
    _, settings = parse_train(["shakespeare", *our_words(SIZES[size])])
    config = load_preset("gpt2").override(**settings)
    assert (config.model.activation, config.model.bias, config.train.optimizer) == ("gelu", False, "adamw")
    assert (config.model.n_embd, config.train.batch_size) == (SIZES[size]["n_embd"], SIZES[size]["batch_size"])


@pytest.mark.slow
def test_the_data_preparation_of_theirs_is_counted(tmp_path, monkeypatch):
    text = str(write_text("tale.txt", 2000))
    monkeypatch.setattr(sides, "Checkout", lambda source, place, threads: Checkout(source, place, text, threads))
    found = nanogpt_side(nanogpt_checkout(tmp_path / "source"), GPU_RECIPE, 3)(tmp_path / "place", 0)
    assert found["seconds"] > found["prepare_seconds"] > 0.05
    assert found["first_step_seconds"] > found["prepare_seconds"]
    assert found["loss"] > 0


@pytest.mark.slow
def test_a_run_of_minutes_is_measured_from_enter_to_its_end():
    """The real command: the shortest time that the planner can keep."""
    text = str(write_text("tale.txt", 20_000))
    found = loss_in_minutes.measure(text, 0.2, seed=5, threads=1)
    row = loss_in_minutes.summed_up(0.2, [found])
    assert 6 < found["seconds"] < 60
    assert found["loss"] > 0
    assert found["best_loss"] > 0
    assert row["share_of_time"]["median"] == pytest.approx(found["seconds"] / 12)
    assert "minutes = 0.2" in found["plan"]
    assert "0.2 min  loss" in loss_in_minutes.line(row)
