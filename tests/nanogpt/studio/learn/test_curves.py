"""Metrics read as they grow."""

import json
from itertools import pairwise

import pytest

from nanogpt.studio.learn.curves import LINE_LIMIT, MOST_SAMPLES, SAMPLE_LIMIT, Metrics, Point, Points, Sample


def step(number, loss=2.0, speed=100.0):
    return {"event": "step", "step": number, "loss": loss, "seconds": number / 2, "tokens_per_second": speed}


def evaluation(number, loss=2.5):
    return {"event": "eval", "step": number, "loss": loss, "bits_per_byte": loss / 2, "seconds": number / 2}


def sample(number, text="the cat"):
    return {"event": "sample", "step": number, "text": text, "seconds": number / 2}


def write(run, *lines, mode="a"):
    run.mkdir(exist_ok=True)
    with (run / "metrics.jsonl").open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def test_only_what_was_appended_is_read(run):
    write(run, evaluation(0, 4.0), step(1, 3.5))
    metrics = Metrics(run)
    assert metrics.read()
    assert not metrics.read()
    # What was read before is overwritten with as many bytes of nonsense: whoever reads it again would notice.
    size = (run / "metrics.jsonl").stat().st_size
    with (run / "metrics.jsonl").open("r+b") as file:
        file.write(b"x" * (size - 1))
    write(run, step(2, 3.0))
    assert metrics.read()
    assert [point.loss for point in metrics.train.all] == [3.5, 3.0]
    assert metrics.val.all == [Point(0, 0.0, 4.0, 2.0)]
    assert metrics.damaged == 0


def test_a_line_that_is_half_written_is_read_when_it_is_whole(run):
    write(run, step(1))
    text = json.dumps(step(2, 1.25)) + "\n"
    metrics = Metrics(run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(text[:20])
        file.flush()
        metrics.read()
        assert metrics.step == 1
        file.write(text[20:])
    assert metrics.read()
    assert (metrics.step, metrics.train.newest.loss) == (2, 1.25)


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(run):
    write(run, *(step(number) for number in range(1, 9)))
    metrics = Metrics(run)
    metrics.read()
    beside = run / "beside"
    beside.write_text("".join(json.dumps(step(number)) + "\n" for number in range(1, 5)))
    beside.replace(run / "metrics.jsonl")
    assert metrics.read()
    assert metrics.step == 4
    assert len(metrics.train.all) == 4


def test_nonsense_is_left_out(run):
    write(run, step(1), [1], {"event": "step"}, step(2) | {"step": "two"}, step(3, float("nan")), step(4))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\xff{\n" + b"[" * 100_000 + b"\n")
    metrics = Metrics(run)
    metrics.read()
    assert [point.step for point in metrics.train.all] == [1, 4]
    assert metrics.damaged == 6


def test_a_line_without_end_is_skipped(run):
    write(run, step(1))
    metrics = Metrics(run)
    metrics.read()
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"x" * (LINE_LIMIT + 10))
    metrics.read()
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"yy\n")
    write(run, step(2))
    metrics.read()
    assert metrics.step == 2
    assert metrics.damaged == 1


def test_no_metrics_and_links_out_of_the_run(run, tmp_path):
    assert not Metrics(run).read()
    run.mkdir()
    (tmp_path / "other").write_text(json.dumps(step(1)) + "\n")
    (run / "metrics.jsonl").symlink_to(tmp_path / "other")
    metrics = Metrics(run)
    assert not metrics.read()
    assert metrics.step == 0


def test_few_points_are_kept_and_the_newest_always():
    points = Points(most=10)
    for number in range(1000):
        points.add(Point(number, 0.0, float(number)))
        assert len(points.all) <= 11
        assert points.all[-1].step == number
    steps = [point.step for point in points.all]
    gaps = {b - a for a, b in pairwise(steps[:-1])}
    assert steps[0] == 0
    assert len(gaps) == 1


def test_the_newest_samples_are_kept(run):
    write(run, evaluation(0), sample(0, "qx"), step(1), evaluation(1), sample(1))
    metrics = Metrics(run)
    assert metrics.samples == []
    metrics.read()
    assert metrics.samples == [Sample(0, "qx"), Sample(1, "the cat")]
    write(run, *(sample(number) for number in range(2, 50)))
    metrics.read()
    assert [one.step for one in metrics.samples] == [*range(50 - MOST_SAMPLES, 50)]
    write(run, sample(3, "again"), mode="w")  # a resumed run
    metrics.read()
    assert metrics.samples == [Sample(3, "again")]
    assert metrics.damaged == 0


def test_a_sample_is_read_without_trust(run):
    write(run, sample(1, "x" * 900_000), sample(2, "\n\nhalf \ud83d of a cat\n\n"))
    write(run, sample(3, ["a"]), sample(True), sample(4) | {"step": "4"}, {"event": "sample", "step": 5})
    metrics = Metrics(run)
    metrics.read()
    assert metrics.samples == [Sample(1, "x" * SAMPLE_LIMIT), Sample(2, "half ? of a cat")]
    assert metrics.damaged == 4


def test_time_left(run):
    write(run, step(10), step(20), step(30))  # half a second a step
    metrics = Metrics(run)
    metrics.read()
    assert metrics.seconds_left(50) == pytest.approx(10.0)
    assert metrics.seconds_left(30) == 0
    write(run, {"event": "done", "step": 30, "loss": 2.0, "seconds": 15.0})
    metrics.read()
    assert metrics.seconds_left(50) is None
    assert metrics.done["loss"] == 2.0
