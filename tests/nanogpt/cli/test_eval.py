"""`nanogpt eval`."""

import json
from pathlib import Path

import pytest

import nanogpt as library
from nanogpt.evaluation.baselines import measure_baselines
from nanogpt.evaluation.intervals import ratio_interval
from nanogpt.evaluation.loss import measure_windows
from nanogpt.evaluation.memorisation import measure_overlap
from nanogpt.evaluation.random_batches import estimate_like_nanogpt
from nanogpt.sampling.precision import lower_precision


def without_speed(text):
    return [line for line in text.splitlines() if not line.startswith("speed ")]


def test_the_runs_own_text(nanogpt, finished_run):
    result = library.load(finished_run).evaluate()
    found = nanogpt("eval", finished_run)
    assert found.code == 0
    assert without_speed(found.out) == [
        f"{finished_run}, step {library.load(finished_run).step:,}, on the validation part of cats",
        f"loss           {result.loss:.4f} nats/token",
        f"bits per byte  {result.bits_per_byte:.4f}",
        "protocol       whole split, 199 tokens in consecutive windows of 16",
        "precision      float32",
        "interval       none: it needs at least 20 windows",
    ]
    assert found.out.splitlines()[-1].endswith(" tokens/s")
    assert found.err == ""


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_lower_precision(nanogpt, finished_run, precision):
    run = library.load(finished_run)
    exact = run.evaluate().loss
    run.model = lower_precision(run.model, precision)
    found = nanogpt("eval", finished_run, "--precision", precision).out
    assert f"loss           {run.evaluate().loss:.4f} nats/token" in found
    assert f"precision      {precision}\n" in found
    assert 0 < abs(run.evaluate().loss - exact) < 0.01


def test_the_interval(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there, and the cat ran to a tree. " * 9)
    run = library.load(finished_run)
    windows = measure_windows(run.model, run.text_ids("other.txt"), run.tokenizer)
    interval = ratio_interval(windows.nats, windows.tokens)
    bits = ratio_interval(windows.nats / 0.6931471805599453, windows.text_bytes)
    found = nanogpt("eval", finished_run, "--text", "other.txt").out
    assert f" nats/token, 95 % interval {interval.low:.4f} to {interval.high:.4f}\n" in found
    assert f", 95 % interval {bits.low:.4f} to {bits.high:.4f}\n" in found
    assert f"interval       {interval.method}\n" in found


def test_json(nanogpt, finished_run):
    result = library.load(finished_run).evaluate()
    found = json.loads(nanogpt("eval", finished_run, "--json").out)
    assert found.pop("tokens_per_second") > 0
    assert found == {
        "run": str(finished_run),
        "step": library.load(finished_run).step,
        "text": "the validation part of cats",
        "precision": "float32",
        "loss": result.loss,
        "bits_per_byte": result.bits_per_byte,
        "tokens": 199,
        "protocol": result.protocol,
        "loss_interval": None,
        "bits_per_byte_interval": None,
        "interval": None,
    }


def test_nanogpts_protocol(nanogpt, finished_run):
    run = library.load(finished_run)
    result = estimate_like_nanogpt(run.model, run.text_ids(), 4, seed=7)
    found = nanogpt("eval", finished_run, "--protocol", "nanogpt", "--seed", 7).out
    assert f"loss           {result.loss:.4f} ± {result.standard_error:.4f} nats/token\n" in found
    assert f"protocol       {result.protocol}\n" in found
    as_json = json.loads(nanogpt("eval", finished_run, "--protocol", "nanogpt", "--seed", 7, "--json").out)
    assert (as_json["loss"], as_json["standard_error"]) == (result.loss, result.standard_error)


def test_another_text(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there")
    result = library.load(finished_run, checkpoint="last").evaluate("other.txt")
    found = nanogpt("eval", finished_run, "--text", "other.txt", "--checkpoint", "last")
    assert f"loss           {result.loss:.4f} nats/token" in found.out
    assert "step 30, on other.txt" in found.out


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (None, ["no file or folder 'other.txt'"]),
        (b"", ["other.txt is empty"]),
        (b"Z", ["never saw 'Z'", "--unknown skip"]),
        (b"t", ["nothing to predict", "longer text"]),
        (b"\0", ["binary"]),
    ],
)
def test_a_bad_text(refuses, finished_run, content, saying):
    if content is not None:
        Path("other.txt").write_bytes(content)
    refuses("eval", finished_run, "--text", "other.txt", saying=saying)


def test_unknown_characters_can_be_skipped(nanogpt, finished_run):
    Path("other.txt").write_text("the Zoo")
    assert "5 tokens" in nanogpt("eval", finished_run, "--text", "other.txt", "--unknown", "skip").out


def test_the_floors(nanogpt, finished_run):
    run = library.load(finished_run)
    result = run.evaluate()
    found = nanogpt("eval", finished_run, "--floors").out.splitlines()
    table = found[found.index("") + 1 :]
    assert table[0] == "on the same text        nats/token  bits/byte"
    expected = list(measure_baselines(run.data().train, run.data().val, run.tokenizer))
    rows = [(floor.name, floor.loss, floor.bits_per_byte) for floor in expected]
    rows.append(("this model", result.loss, result.bits_per_byte))
    for line, (name, loss, bits) in zip(table[1:], rows, strict=True):
        assert line.startswith(name)
        assert line.removeprefix(name).split() == ["–" if loss is None else f"{loss:.4f}", f"{bits:.4f}"]
    as_json = json.loads(nanogpt("eval", finished_run, "--floors", "--json").out)["floors"]
    assert [(one["name"], one["loss"], one["bits_per_byte"]) for one in as_json] == rows[:-1]


def test_the_floors_of_another_text(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there")
    run = library.load(finished_run)
    expected = list(measure_baselines(run.data().train, run.text_ids("other.txt"), run.tokenizer))
    found = nanogpt("eval", finished_run, "--floors", "--text", "other.txt").out
    assert f"{expected[4].loss:.4f}" in found


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--floors", "--protocol", "nanogpt"], ["--floors", "--protocol nanogpt"]),
        (["--memorised", "--protocol", "nanogpt"], ["--memorised", "--protocol nanogpt"]),
        (["--memorised", "--samples", 0], ["--samples is 0"]),
        (["--memorised", "--tokens", 0], ["--tokens is 0"]),
    ],
)
def test_what_cannot_be_measured(refuses, finished_run, words, saying):
    refuses("eval", finished_run, *words, saying=saying)


def test_a_floor_that_could_not_be_measured_says_why(nanogpt, finished_run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = nanogpt("eval", finished_run, "--floors").out
    assert "zstd                             –          –  not installed: pip install 'nanogpt[data]'\n" in found


def test_what_is_memorised(nanogpt, finished_run):
    run = library.load(finished_run)
    train, tokenizer = run.data().train, run.tokenizer
    texts = run.generate_batch(tokens=23, samples=3, seed=7, temperature=1.0)
    written = measure_overlap(train, [tokenizer.encode(text) for text in texts], tokenizer)
    real = measure_overlap(train, [run.data().val[start : start + 23] for start in (0, 88, 177)], tokenizer)
    words = ["--memorised", "--samples", 3, "--tokens", 23, "--seed", 7]
    found = nanogpt("eval", finished_run, *words).out.splitlines()
    table = [line.split() for line in found[found.index("") + 1 :]]
    assert " ".join(table[0]) == "word for word in the training text generated real"
    assert table[1][-2:] == [str(written.longest), str(real.longest)]
    assert table[2][-2:] == [f"{written.mean_longest:.1f}", f"{real.mean_longest:.1f}"]
    assert table[3][-2:] == [f"{written.novel[4]:.1%}", f"{real.novel[4]:.1%}"]
    assert " ".join(table[6]) == "runs of 32 tokens that are not in it – –"
    assert found[-3:] == [
        "generated: 3 texts of up to 23 tokens, no prompt, temperature 1, seed 7",
        "real: 3 stretches of the measured text, 69 tokens, evenly spaced",
        f"the longest run: {written.longest_text!r}",
    ]
    assert written.longest_text in run.tokenizer.decode(train.tolist())
    as_json = json.loads(nanogpt("eval", finished_run, *words, "--json").out)["memorised"]
    assert as_json["generated"]["longest"] == written.longest
    assert as_json["real"]["novel"]["4"] == real.novel[4]
