import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest

import nanogpt as library
from nanogpt.evaluation.baselines import measure_baselines
from nanogpt.evaluation.intervals import ratio_interval
from nanogpt.evaluation.loss import measure_windows
from nanogpt.evaluation.memorisation import measure_overlap
from nanogpt.evaluation.random_batches import estimate_like_nanogpt
from nanogpt.sampling.precision import lower_precision


def as_json(nanogpt, *words):
    return json.loads(nanogpt("eval", *words, "--json").out)


def test_the_runs_own_text(nanogpt, finished_run):
    run = library.load(finished_run)
    result = run.evaluate()
    printed = nanogpt("eval", finished_run)
    assert (printed.code, printed.err) == (0, "")
    assert f"{result.loss:.4f} nats/token\n" in printed.out
    found = as_json(nanogpt, finished_run)
    assert found.pop("tokens_per_second") > 0
    assert found == {
        **{"run": str(finished_run), "step": run.step, "text": "the validation part of cats", "precision": "float32"},
        **{"loss": result.loss, "bits_per_byte": result.bits_per_byte, "tokens": 199, "protocol": result.protocol},
        **{"loss_interval": None, "bits_per_byte_interval": None, "interval": None},
    }


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_lower_precision(nanogpt, finished_run, precision):
    run = library.load(finished_run)
    exact = run.evaluate().loss
    run.model = lower_precision(run.model, precision)
    found = as_json(nanogpt, finished_run, "--precision", precision)
    assert (found["loss"], found["precision"]) == (run.evaluate().loss, precision)
    assert 0 < abs(found["loss"] - exact) < 0.01


def test_the_interval(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there, and the cat ran to a tree. " * 9)
    run = library.load(finished_run)
    windows = measure_windows(run.model, run.text_ids("other.txt"), run.tokenizer)
    interval = ratio_interval(windows.nats, windows.tokens)
    bits = ratio_interval(windows.nats / math.log(2), windows.text_bytes)
    found = as_json(nanogpt, finished_run, "--text", "other.txt")
    assert found["loss_interval"] == pytest.approx([interval.low, interval.high])
    assert found["bits_per_byte_interval"] == pytest.approx([bits.low, bits.high])
    assert found["interval"] == interval.method
    printed = nanogpt("eval", finished_run, "--text", "other.txt").out
    assert f"95 % interval {interval.low:.4f} to {interval.high:.4f}\n" in printed


def test_nanogpts_protocol(nanogpt, finished_run):
    run = library.load(finished_run)
    result = estimate_like_nanogpt(run.model, run.text_ids(), 4, seed=7)
    words = [finished_run, "--protocol", "nanogpt", "--seed", 7]
    assert f"{result.loss:.4f} ± {result.standard_error:.4f} nats/token\n" in nanogpt("eval", *words).out
    found = as_json(nanogpt, *words)
    assert (found["loss"], found["standard_error"]) == (result.loss, result.standard_error)
    assert found["protocol"] == result.protocol


def test_another_text(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there")
    result = library.load(finished_run, checkpoint="last").evaluate("other.txt")
    found = as_json(nanogpt, finished_run, "--text", "other.txt", "--checkpoint", "last")
    assert (found["loss"], found["step"], found["text"]) == (result.loss, 30, "other.txt")
    Path("other.txt").write_text("the Zoo")
    assert as_json(nanogpt, finished_run, "--text", "other.txt", "--unknown", "skip")["tokens"] == 6


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--floors", "--protocol", "nanogpt"], ["--floors", "--protocol nanogpt"]),
        (["--memorised", "--protocol", "nanogpt"], ["--memorised", "--protocol nanogpt"]),
        (["--memorised", "--samples", 0], ["--samples is 0"]),
    ],
)
def test_what_cannot_be_measured(refuses, finished_run, words, saying):
    refuses("eval", finished_run, *words, saying=saying)


def test_the_floors(nanogpt, finished_run, monkeypatch):
    run = library.load(finished_run)
    expected = [asdict(one) for one in measure_baselines(run.data().train, run.data().val, run.tokenizer)]
    assert as_json(nanogpt, finished_run, "--floors")["floors"] == expected
    table = nanogpt("eval", finished_run, "--floors").out.split("\n\n")[1].splitlines()[1:]
    assert len(table) == len(expected) + 1
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'nanogpt[data]'" in nanogpt("eval", finished_run, "--floors").out


def test_what_is_memorised(nanogpt, finished_run):
    run = library.load(finished_run)
    train, tokenizer = run.data().train, run.tokenizer
    texts = run.generate_batch(tokens=23, samples=3, seed=7, temperature=1.0)
    generated = measure_overlap(train, [tokenizer.encode(text) for text in texts], tokenizer)
    real = measure_overlap(train, [run.data().val[start : start + 23] for start in (0, 88, 177)], tokenizer)
    words = [finished_run, "--memorised", "--samples", 3, "--tokens", 23, "--seed", 7]
    printed = nanogpt("eval", *words).out
    assert re.search(rf"longest run, tokens +{generated.longest} +{real.longest}\n", printed)
    assert generated.longest_text in tokenizer.decode(train.tolist())
    found = as_json(nanogpt, *words)["memorised"]
    for name, overlap in (("generated", generated), ("real", real)):
        assert found[name] == json.loads(json.dumps(asdict(overlap)))
