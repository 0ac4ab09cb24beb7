import json
from itertools import pairwise

import pytest

from nanogpt.studio.run_metrics import MAX_SAMPLES, SAMPLE_LIMIT, Metrics, Point, Points, Sample


def step(number, loss=2.0, speed=100.0):
    return {"event": "step", "step": number, "loss": loss, "seconds": number / 2, "tokens_per_second": speed}


def evaluation(number, loss=2.5):
    return {"event": "eval", "step": number, "loss": loss, "bits_per_byte": loss / 2, "seconds": number / 2}


def sample(number, text="the cat"):
    return {"event": "sample", "step": number, "text": text, "seconds": number / 2}


def write(run, *lines, mode="a"):
    """Append lines: dictionaries as JSON, bytes as they are."""
    with (run / "metrics.jsonl").open(f"{mode}b") as file:
        file.writelines(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def metrics(run):
    return Metrics(run)


def test_only_what_was_appended_is_read(run, metrics):
    write(run, evaluation(0, 4.0), step(1, 3.5))
    assert metrics.read()
    assert not metrics.read()
    # Overwrite what was read before with as many invalid bytes, which a second reading would notice.
    size = (run / "metrics.jsonl").stat().st_size
    with (run / "metrics.jsonl").open("r+b") as file:
        file.write(b"x" * (size - 1))
    write(run, step(2, 3.0))
    assert metrics.read()
    assert [point.loss for point in metrics.train.all] == [3.5, 3.0]
    assert metrics.val.all == [Point(0, 0.0, 4.0, 2.0)]


def test_a_half_written_line_is_read_when_it_is_complete(run, metrics):
    line = json.dumps(step(2, 1.25)).encode() + b"\n"
    write(run, step(1), line[:20])
    metrics.read()
    assert metrics.step == 1
    write(run, line[20:])
    assert metrics.read()
    assert (metrics.step, metrics.train.newest.loss) == (2, 1.25)


def test_a_resumed_run_drops_what_came_after_its_checkpoint(run, metrics):
    write(run, *(step(number) for number in range(1, 9)))
    metrics.read()
    new = run / "new"
    new.write_text("".join(json.dumps(step(number)) + "\n" for number in range(1, 5)))
    new.replace(run / "metrics.jsonl")
    assert metrics.read()
    assert metrics.step == len(metrics.train.all) == 4


def test_invalid_lines_are_left_out(run, metrics):
    write(run, step(1), [1], {"event": "step"}, step(2) | {"step": "two"}, step(3, float("nan")), step(4))
    write(run, b"\xff{\n" + b"[" * 100_000 + b"\n")
    metrics.read()
    assert [point.step for point in metrics.train.all] == [1, 4]


def test_no_metrics_and_links_out_of_the_run(run, metrics, tmp_path):
    assert not metrics.read()
    (tmp_path / "other").write_text(json.dumps(step(1)) + "\n")
    (run / "metrics.jsonl").symlink_to(tmp_path / "other")
    assert not metrics.read()
    assert metrics.step == 0


def test_few_points_are_kept_and_always_the_newest():
    points = Points(most=10)
    for number in range(1000):
        points.add(Point(number, 0.0, float(number)))
        assert len(points.all) <= 11
        assert points.all[-1].step == number
    steps = [point.step for point in points.all]
    assert steps[0] == 0
    assert len({b - a for a, b in pairwise(steps[:-1])}) == 1


def test_the_newest_samples_are_kept(run, metrics):
    write(run, evaluation(0), sample(0, "qx"), step(1), evaluation(1), sample(1))
    metrics.read()
    assert metrics.samples == [Sample(0, "qx"), Sample(1, "the cat")]
    write(run, *(sample(number) for number in range(2, 50)))
    metrics.read()
    assert [one.step for one in metrics.samples] == [*range(50 - MAX_SAMPLES, 50)]
    write(run, sample(3, "again"), mode="w")  # a resumed run
    metrics.read()
    assert metrics.samples == [Sample(3, "again")]


def test_a_sample_is_read_without_trust(run, metrics):
    write(run, sample(1, "x" * 900_000), sample(2, "\n\nhalf \ud83d of a cat\n\n"))
    write(run, sample(3, ["a"]), sample(True), sample(4) | {"step": "4"}, {"event": "sample", "step": 5})
    metrics.read()
    assert metrics.samples == [Sample(1, "x" * SAMPLE_LIMIT), Sample(2, "half ? of a cat")]


def test_time_left(run, metrics):
    write(run, step(10), step(20), step(30))  # half a second a step
    metrics.read()
    assert metrics.seconds_left(50) == pytest.approx(10.0)
    assert metrics.seconds_left(30) == 0
    write(run, {"event": "done", "step": 30, "loss": 2.0, "seconds": 15.0})
    metrics.read()
    assert metrics.seconds_left(50) is None
    assert metrics.done["loss"] == 2.0
