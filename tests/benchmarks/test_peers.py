"""The clock leaves evaluations out on all sides; nanoGPT's weights are measured by our protocol."""

import sys
from pathlib import Path

import numpy as np
import pytest
from stand_ins import lecture_checkout, nanogpt_checkout
from tiny import write_text

import nanogpt
from benchmarks.ours import Ours
from benchmarks.peers import checkout as checkout_module
from benchmarks.peers.checkout import CPU_RECIPE, Checkout, summed_up
from benchmarks.peers.clock import lecture_clock, nanogpt_clock, our_clock
from benchmarks.peers.lecture import Lecture
from benchmarks.peers.whole_split import measure
from benchmarks.processes import Failed, Line, clean_environment, run
from nanogpt.evaluation.loss import measure_windows


def lines(*told: tuple[float, str]) -> list[Line]:
    return [Line(seconds=seconds, text=text) for seconds, text in told]


THEIRS = lines(
    (1.0, "Overriding config with config/train_shakespeare_char.py:"),
    (2.0, "using fused AdamW: False"),
    (5.0, "step 0: train loss 4.2874, val loss 4.2823"),
    (5.5, "iter 0: loss 4.2667, time 3500.00ms, mfu -100.00%"),
    (5.7, "iter 1: loss nan, time 200.00ms, mfu -100.00%"),
    (5.9, "iter 2: loss 4.1, time 200.00ms, mfu -100.00%"),
    (8.0, "step 3: train loss 4.2, val loss 4.2"),
    (8.1, "saving checkpoint to out"),
    (8.4, "iter 3: loss 4.0, time 2500.00ms, mfu -100.00%"),
)


def test_nanogpts_first_evaluation_is_taken_out_and_its_last_comes_after_the_clock():
    clock = nanogpt_clock(THEIRS, steps=3)
    assert clock.seconds == pytest.approx(5.9 - 3.0)
    assert clock.evaluation_seconds == pytest.approx(3.0)
    assert clock.first_step_seconds == pytest.approx(2.5)
    assert clock.step_seconds == pytest.approx(0.2)


@pytest.mark.parametrize("missing", [1, 2, 4, 5])
def test_output_that_lacks_a_line_is_refused(missing):
    with pytest.raises(Failed, match="3 steps of nanoGPT"):
        nanogpt_clock([line for number, line in enumerate(THEIRS) if number != missing], steps=3)


def test_the_lectures_evaluations_before_its_first_and_last_step_are_taken_out():
    told = lines(
        (1.0, "10.788929 M parameters"),
        (4.0, "step 0: train loss 4.2, val loss 4.2"),
        (6.0, "iter 0: done"),
        (8.0, "iter 1: done"),
        (8.0, "evaluating"),
        (13.0, "step 2: train loss 4.0, val loss 4.0"),
        (15.0, "iter 2: done"),
    )
    clock = lecture_clock(told, steps=3)
    assert (clock.seconds, clock.evaluation_seconds, clock.first_step_seconds) == (7.0, 8.0, 3.0)
    assert clock.step_seconds == 2.0
    with pytest.raises(Failed):
        lecture_clock(told[:-1], steps=3)


def test_our_clock_ends_with_the_line_of_the_last_step():
    told = lines(
        (2.0, "2,000 steps of 12 x 64 tokens"),
        (2.5, "step 0: train – val 4.2  (0 s)"),
        (9.0, "step 2,000: train 1.5  val 1.7  (7 s)"),
        (11.0, "done: validation loss 1.7"),
    )
    assert our_clock(told, 2000).seconds == 9.0
    with pytest.raises(Failed, match="1,000"):
        our_clock(told, 1000)


@pytest.mark.slow
def test_a_checkout_is_run_from_a_copy_and_stays_as_it_is(tmp_path):
    source = nanogpt_checkout(tmp_path / "source")
    before = sorted(path.name for path in source.rglob("*"))
    text = write_text("tale.txt", 2000)
    side = Checkout(source, tmp_path / "copy", str(text))
    assert side.prepare() > 0
    trained = side.train(CPU_RECIPE, steps=4)
    # Imports vary; the two evaluations of 0.4 and 0.3 s are outside.
    assert 0.3 < trained.clock.evaluation_seconds < 5  # 0.4 of sleep, and what a busy machine adds
    assert 0.02 <= trained.clock.step_seconds < 5
    assert trained.peak_megabytes > 50
    assert sorted(path.name for path in source.rglob("*")) == before
    found = side.whole_split()
    assert found["protocol"] == "whole split, 199 tokens in consecutive windows of 7"
    assert 0 < found["loss_interval"][0] < found["loss"] < found["loss_interval"][1]


def test_the_whole_split_of_another_models_logits_is_that_of_nanogpt_eval(monkeypatch):
    write_text("tale.txt", 3000)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 12, "block_size": 11, "batch_size": 3}
    run_ = nanogpt.train("tale.txt", steps=5, out="run", progress=False, dropout=0.3, **sizes)
    ids = np.asarray(run_.data().val)
    expected = measure_windows(run_.model, ids, run_.tokenizer)
    run_.model.train()  # dropout is switched off by who measures
    found = measure(lambda x, y: run_.model(x), run_.model, ids.astype(np.int64), 11)
    assert found["nats"] == pytest.approx(expected.nats.tolist(), abs=1e-4)
    assert found["tokens"] == expected.tokens.tolist()
    flat = measure(lambda x, y: run_.model(x).flatten(0, 1), run_.model, ids.astype(np.int64), 11)
    assert flat == found
    assert summed_up(found)["loss"] == pytest.approx(expected.evaluation().loss, abs=1e-6)
    assert summed_up(found)["protocol"] == expected.protocol


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"no train\.py"):
        Checkout(tmp_path, tmp_path / "copy")
    with pytest.raises(SystemExit, match=r"no gpt\.py"):
        Lecture(tmp_path, tmp_path / "copy")


def test_the_version_is_of_what_is_run(tmp_path):
    write_text("tale.txt")
    source = nanogpt_checkout(tmp_path / "source")
    one = Checkout(source, tmp_path / "one", "tale.txt").version()
    (source / "model.py").write_text((source / "model.py").read_text() + "\n")
    assert Checkout(source, tmp_path / "other", "tale.txt").version() != one


@pytest.mark.slow
def test_the_lecture_makes_its_steps_and_writes_nothing_after(tmp_path, monkeypatch):
    data = write_text("data/shakespeare.txt", 1000)
    monkeypatch.setattr("benchmarks.peers.lecture.load_corpus", lambda name: nanogpt.text.corpus.load_corpus(data))
    trained = Lecture(lecture_checkout(tmp_path / "source"), tmp_path / "copy").train(steps=3)
    assert 0.3 < trained.clock.evaluation_seconds < 5  # 0.4 of sleep, and what a busy machine adds
    assert 0.05 <= trained.clock.step_seconds < 5


@pytest.mark.slow
def test_our_side_is_timed_evaluated_and_measured(tmp_path):
    """The real command, so that a change of what it prints is noticed."""
    text = str(write_text("tale.txt", 3000))
    side = Ours(tmp_path / "ours", threads=1)
    words = ["--n-layer", "1", "--n-head", "2", "--n-embd", "12", "--block-size", "11", "--batch-size", "3"]
    trained = side.train([text, *words], 6, "--log-every", "1")
    assert 0.5 < trained.clock.seconds < 60
    assert trained.peak_megabytes > 100
    assert 0 < side.step_seconds() < 60
    assert side.parameters() > 1000
    found = side.whole_split()
    assert found["step"] == 6
    assert found["loss"] == pytest.approx(nanogpt.load(side.run_folder, checkpoint="last").evaluate().loss, abs=1e-5)
    assert found["protocol"] == "whole split, 299 tokens in consecutive windows of 11"


@pytest.mark.slow
@pytest.mark.parametrize("module", [checkout_module, sys.modules["benchmarks.ours"]])
def test_what_is_timed_as_imports_can_be_imported(module, tmp_path):
    source = nanogpt_checkout(tmp_path / "source")
    where = f"{source}:{Path(nanogpt.__file__).parent.parent}"
    run([sys.executable, "-c", module.IMPORTS], tmp_path, clean_environment(PYTHONPATH=where))
