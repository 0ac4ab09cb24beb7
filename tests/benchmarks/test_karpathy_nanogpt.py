"""Pairs with nanoGPT: its clock leaves evaluations out, its weights are measured by our protocol, ratios are exact."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fake_nanogpt import nanogpt_checkout
from tiny import write_text

import nanogpt
from benchmarks import karpathy_nanogpt, loss_in_minutes, processes
from benchmarks.karpathy_nanogpt import CPU_RECIPE, GPU_RECIPE, Checkout, measure_pairs, read_times, summary
from benchmarks.karpathy_script import window_losses
from benchmarks.processes import Failed, Line, Workspace, clean_environment, last_step_seconds, run
from benchmarks.record import Parts
from benchmarks.throughput import SIZES, add_rates, our_words
from benchmarks.time_to_loss import GOALS, extrapolated
from nanogpt.cli.train import parse_train
from nanogpt.config import load_preset
from nanogpt.evaluation.loss import measure_windows

TINY = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}
THEIRS = [
    Line(seconds=seconds, text=text)
    for seconds, text in (
        (1.0, "Overriding config with config/train_shakespeare_char.py:"),
        (2.0, "using fused AdamW: False"),
        (5.0, "step 0: train loss 4.2874, val loss 4.2823"),
        (5.5, "iter 0: loss 4.2667, time 3500.00ms, mfu -100.00%"),
        (5.7, "iter 1: loss nan, time 200.00ms, mfu -100.00%"),
        (5.9, "iter 2: loss 4.1, time 200.00ms, mfu -100.00%"),
        (8.0, "step 3: train loss 4.2, val loss 4.2"),
        (8.4, "iter 3: loss 4.0, time 2500.00ms, mfu -100.00%"),
    )
]


def row(seconds: float, **more) -> dict:
    return {"seconds": seconds, "import_seconds": 2.0, "step_seconds": 0.5, "peak_megabytes": 100.0} | more


def test_nanogpts_first_evaluation_is_subtracted_and_its_last_comes_after_the_clock():
    found = read_times(THEIRS, steps=3, peak_megabytes=7.0)
    assert found.seconds == pytest.approx(5.9 - 3.0)
    assert found.step_seconds == pytest.approx(0.2)
    for missing in (1, 2, 4, 5):
        with pytest.raises(Failed, match="3 steps"):
            read_times([line for number, line in enumerate(THEIRS) if number != missing], 3, 7.0)


def test_our_clock_ends_with_the_line_of_the_last_step():
    texts = {2.5: "step 0: train – val 4.2  (0 s)", 9.0: "step 2,000: train 1.5  val 1.7  (7 s)", 11.0: "done"}
    lines = [Line(seconds=seconds, text=text) for seconds, text in texts.items()]
    assert last_step_seconds(lines, 2000) == 9.0
    with pytest.raises(Failed, match="1,000"):
        last_step_seconds(lines, 1000)


def test_the_whole_split_loss_of_their_script_is_that_of_nanogpt_eval():
    write_text("tale.txt", 3000)
    run_ = nanogpt.train("tale.txt", steps=5, out="run", progress=False, dropout=0.3, **TINY)
    ids = np.asarray(run_.data().val)
    expected = measure_windows(run_.model, ids, run_.tokenizer)
    run_.model.train()  # the script has to switch dropout off
    found = window_losses(lambda x, y: run_.model(x), run_.model, ids.astype(np.int64), 11)
    assert found["nats"] == pytest.approx(expected.nats.tolist(), abs=1e-4)
    assert found["tokens"] == expected.tokens.tolist()


@pytest.mark.slow
def test_a_checkout_runs_from_a_copy_and_stays_as_it_is(tmp_path):
    source = nanogpt_checkout(tmp_path / "source")
    before = sorted(path.name for path in source.rglob("*"))
    work = Checkout(source, tmp_path / "copy", str(write_text("tale.txt", 2000)))
    assert work.prepare() > 0
    trained = work.train(CPU_RECIPE, steps=4)
    assert 0.02 <= trained.step_seconds < 5
    assert trained.peak_megabytes > 50
    assert sorted(path.name for path in source.rglob("*")) == before
    found = work.evaluate()
    assert found["protocol"] == "whole split, 199 tokens in consecutive windows of 7"
    assert 0 < found["loss_interval"][0] < found["loss"] < found["loss_interval"][1]


def test_a_checkout_is_checked_and_has_a_version(tmp_path):
    with pytest.raises(SystemExit, match=r"no train\.py"):
        Checkout(tmp_path, tmp_path / "copy")
    write_text("tale.txt")
    source = nanogpt_checkout(tmp_path / "source")
    one = Checkout(source, tmp_path / "one", "tale.txt").version()
    (source / "model.py").write_text((source / "model.py").read_text() + "\n")
    assert Checkout(source, tmp_path / "other", "tale.txt").version() != one


@pytest.mark.slow
def test_our_side_is_timed_and_evaluated(tmp_path):
    """With the real command, whose output is read."""
    work = Workspace(tmp_path / "ours", threads=1)
    trained = work.train([str(write_text("tale.txt", 3000)), *processes.flags(TINY)], 6, "--log-every", "1")
    assert 0.5 < trained.seconds < 60
    assert trained.peak_megabytes > 100
    assert 0 < trained.step_seconds < 60
    assert work.parameters() > 1000
    found = work.evaluate()
    assert (found["step"], found["protocol"]) == (6, "whole split, 299 tokens in consecutive windows of 11")
    assert found["loss"] == pytest.approx(nanogpt.load(work.run_folder, checkpoint="last").evaluate().loss, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("module", [karpathy_nanogpt, processes])
def test_what_is_timed_as_imports_can_be_imported(module, tmp_path):
    where = f"{nanogpt_checkout(tmp_path / 'source')}:{Path(nanogpt.__file__).parent.parent}"
    run([sys.executable, "-c", module.IMPORTS], tmp_path, clean_environment(PYTHONPATH=where))


def test_the_order_of_a_pair_alternates_and_its_rows_do_not():
    order = []

    def side(name):
        def measure(folder: Path, number: int) -> dict:
            assert not folder.exists()
            order.append(name + str(number))
            return row(10.0 if name == "a" else 40.0)

        return measure

    rows = measure_pairs(Parts("pairs", trial=True), {"x": 1}, 3, side("a"), side("b"))
    assert order == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert [one["key"] for one in rows] == [{"x": 1, "number": number} for number in range(3)]
    assert all((one["ours"]["seconds"], one["theirs"]["seconds"]) == (10.0, 40.0) for one in rows)


def test_a_summary_has_both_sides_and_the_ratio_of_each_pair():
    losses = {"loss": 1.9, "loss_interval": [1.8, 2.0], "protocol": "whole split"}
    seconds = ((6.0, 42.0), (12.0, 22.0), (7.0, 42.0))
    found = summary([{"ours": row(one, **losses), "theirs": row(other, **losses)} for one, other in seconds])
    assert found["ours"]["seconds"] == {"median": 7.0, "low": 6.0, "high": 12.0, "n": 3}
    assert found["ratios"]["seconds"]["median"] == pytest.approx(1 / 6)
    assert found["ratios"]["seconds"]["high"] == pytest.approx(12 / 22)
    assert found["ratios"]["without_imports"]["low"] == pytest.approx(4 / 40)
    assert found["theirs"]["loss"]["median"] == 1.9


def test_a_summary_leaves_out_what_a_side_lacks_or_cannot_have():
    found = summary([{"ours": row(6.0, step_seconds=None), "theirs": {"seconds": 3.0, "peak_megabytes": 200.0}}])
    assert sorted(found["ratios"]) == ["peak_megabytes", "seconds"]
    assert found["ratios"]["peak_megabytes"]["median"] == 0.5
    assert "loss" not in found["ours"]
    found = summary([{"ours": row(1.5), "theirs": row(6.0)}])  # imports take 2 s
    assert "without_imports" not in found["ratios"]


def test_extrapolation_and_rates_by_hand():
    side = extrapolated(lambda folder, number: row(20.0, step_seconds=8.5), GPU_RECIPE, measured_steps=6)
    found = side(Path("nowhere"), 0)
    assert found["seconds"] == 20.0 + 4994 * 8.5
    assert (found["extrapolated"], found["measured_steps"], found["measured_seconds"]) == (True, 6, 20.0)
    found = summary([{"ours": row(6.0, step_seconds=0.5), "theirs": row(6.0, step_seconds=2.0)}])
    add_rates(found, tokens=768)
    assert [found[side]["tokens_per_second"]["median"] for side in ("ours", "theirs")] == [1536, 384]
    assert found["ratios"]["tokens_per_second"]["median"] == 4.0


def test_the_commands_are_understood_and_fair():
    for name, goal in GOALS.items():
        _, settings = parse_train(["shakespeare", *goal.words.split()])
        assert load_preset("modern").override(**settings).model.block_size <= (256 if "gpu" in name else 64)
    for size in SIZES.values():
        _, settings = parse_train(["shakespeare", *our_words(size)])
        config = load_preset("gpt2").override(**settings)
        assert (config.model.activation, config.model.bias, config.train.optimizer) == ("gelu", False, "adamw")
        assert (config.model.n_embd, config.train.batch_size) == (size["n_embd"], size["batch_size"])


@pytest.mark.slow
def test_their_data_preparation_counts(tmp_path, monkeypatch):
    text = str(write_text("tale.txt", 2000))
    fake = lambda source, folder, threads: Checkout(source, folder, text, threads)  # noqa: E731
    monkeypatch.setattr(karpathy_nanogpt, "Checkout", fake)
    side = karpathy_nanogpt.their_side(nanogpt_checkout(tmp_path / "source"), GPU_RECIPE, 3, threads=None, device="cpu")
    found = side(tmp_path / "copy", 0)
    assert found["seconds"] > found["prepare_seconds"] > 0.05
    assert found["loss"] > 0


@pytest.mark.slow
def test_a_run_of_minutes_is_measured_from_enter_to_its_end():
    """With the shortest time that the planner can keep."""
    found = loss_in_minutes.measure(str(write_text("tale.txt", 20_000)), 0.2, seed=5, threads=1)
    assert 6 < found["seconds"] < 60
    assert min(found["loss"], found["best_loss"]) > 0
    assert "minutes = 0.2" in found["plan"]
    assert loss_in_minutes.summary(0.2, [found])["share_of_time"]["median"] == pytest.approx(found["seconds"] / 12)
