"""A run with several seeds: each is the run it would have been alone, and an interruption loses nothing."""

import json
import shutil
from pathlib import Path

import pytest
from nanogpt.training.launch import is_done
from tiny import SMALL_RUN, finish, metrics, outcome, trained, write_text

from nanogpt.errors import UserError
from nanogpt.evaluation.significance import compare, spread
from nanogpt.reporting.events import StopEvent
from nanogpt.runs.find import list_runs, newest_run
from nanogpt.runs.folder import RunFolder
from nanogpt.training.seeds import (
    Series,
    comparison_lines,
    is_series,
    outcomes,
    refuse_several_processes,
    resume_series,
    spread_lines,
    start_series,
)

REQUEST = {"text": "tale.txt", "steps": 3, **SMALL_RUN, "eval_every": 2, "n_layer": 1}


def begin(count=3, out="five", **settings):
    if not Path("tale.txt").exists():
        write_text()
    return start_series(count, out=out, **REQUEST | settings)


def train_all(trainers):
    return [trainer.config.train.seed for trainer in trainers if finish(trainer)]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A finished series of three."""
    home = tmp_path_factory.mktemp("series")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGPT_CACHE", str(home / "cache"))
        patch.chdir(home)
        train_all(begin()[1])
    return home


@pytest.fixture
def series(original, monkeypatch):
    """A copy of it."""
    shutil.copytree(original / "five", "five")
    monkeypatch.setenv("NANOGPT_CACHE", str(original / "cache"))
    return Series.open("five")


def test_each_run_is_what_it_would_have_been_alone(series):
    assert series.seeds == (1337, 1338, 1339)
    for seed in series.seeds:
        alone = trained(f"alone-{seed}", **{**REQUEST, "seed": seed})
        assert outcome(series.run(seed)) == outcome(alone)
        plans = [RunFolder(path).read_plan().to_dict() | {"source": ""} for path in (series.run(seed), alone)]
        assert plans[0] == plans[1]


def test_seeds_begin_at_the_runs_own():
    series, trainers = begin(2, seed=7)
    assert series.seeds == (7, 8)
    assert train_all(trainers) == [7, 8]
    assert len({json.dumps(metrics(series.run(seed))) for seed in (7, 8)}) == 2


def test_a_run_whose_length_changed_on_the_way_is_repeated_as_it_became():
    series, trainers = begin(2, steps=9)
    first = next(trainers)
    first.new_length = lambda trainer: 5 if trainer.state.step == 2 else None
    finish(first)
    finish(next(trainers))
    assert RunFolder(series.run(1338)).read_plan().total_steps == 5
    assert RunFolder(series.run(1338)).read_plan().changes == ()


@pytest.mark.parametrize("way", ["resume", "the same command"])
def test_an_interrupted_series_goes_on(series, way):
    shutil.rmtree("five")
    stop = [False]
    series, trainers = begin(should_stop=lambda: stop[0])
    assert finish(next(trainers))
    second = next(trainers)
    stop[0] = True
    assert isinstance(finish(second)[-1], StopEvent)
    stop[0] = False
    rest = resume_series(Series.open("five")) if way == "resume" else begin()[1]
    assert train_all(rest) == [1338, 1339]
    assert all(is_done(run) for run in series.runs())
    assert outcome(series.run(1338)) == outcome(trained("alone", **{**REQUEST, "seed": 1338}))
    assert train_all(begin()[1]) == []  # nothing is left to do


def test_a_kill_while_a_run_is_made_loses_nothing(series):
    (series.run(1339) / "plan.toml").unlink()
    shutil.rmtree(series.run(1339) / "checkpoints")
    (series.run(1339) / "metrics.jsonl").unlink()
    assert train_all(resume_series(series)) == [1339]


def test_another_command_is_not_the_same(series):
    with pytest.raises(UserError, match=r"'five' has runs with other seeds or settings.*--resume five"):
        begin(n_embd=18)
    with pytest.raises(UserError, match="other seeds or settings"):
        begin(count=2)


def test_without_a_name_it_gets_the_next_number():
    write_text()
    for number in (1, 2):
        series, trainers = start_series(2, **REQUEST)
        assert series.path == Path(f"runs/seeds-{number}")
        finish(next(trainers))
    assert newest_run() == Path("runs/seeds-2/seed-1337")
    assert [run.path.name for run in list_runs()] == ["seed-1337", "seed-1337"]


@pytest.mark.parametrize("count", [-1, 0, 1, 1001])
def test_too_few_or_too_many(count):
    with pytest.raises(UserError, match=f"seeds is {count}; choose from 2 to 1000"):
        begin(count)


def test_several_processes_share_one_run():
    refuse_several_processes(1)
    with pytest.raises(UserError, match=r"2 processes share one run.*each seed by itself"):
        refuse_several_processes(2)


def test_what_is_wrong_costs_nothing():
    Path("there").mkdir()
    with pytest.raises(UserError, match="'there' exists already"):
        begin(out="there")
    with pytest.raises(UserError, match="n_embd"):
        begin(n_embd=17)
    assert not Path("five").exists()


@pytest.mark.parametrize(
    "text", ["format = 1\n", "seeds = []\n", 'seeds = ["x"]\n', "seeds = [-3]\n", "seeds = [true]\n"]
)
def test_a_damaged_series(text):
    Path("bad").mkdir()
    Path("bad/seeds.toml").write_text(text)
    assert is_series("bad")
    with pytest.raises(UserError, match="names no seeds"):
        Series.open("bad")


def test_a_series_from_a_newer_version():
    Path("bad").mkdir()
    Path("bad/seeds.toml").write_text("format = 9\nseeds = [1, 2]\n")
    with pytest.raises(UserError, match="newer nanogpt"):
        Series.open("bad")


# What they reached


def losses(series):
    return [line["loss"] for seed in series.seeds for line in metrics(series.run(seed)) if line["event"] == "done"]


def test_mean_and_spread(series):
    found = outcomes(["five"])
    assert [one.loss for one in found] == losses(series)
    together = spread(losses(series))
    lines = list(spread_lines(found))
    assert lines[0] == f"seed 1337       {losses(series)[0]:.4f} nats/token  five/seed-1337"
    assert lines[3] == (
        f"mean            {together.mean:.4f}, 95 % interval {together.low:.4f} to {together.high:.4f} (Student's t)"
    )
    assert lines[4] == (
        f"spread          standard deviation {together.deviation:.4f}, from {min(losses(series)):.4f} to "
        f"{max(losses(series)):.4f}"
    )
    assert lines[5].startswith("protocol        whole split")


def test_named_one_by_one(series):
    assert [one.seed for one in outcomes([series.run(1339), series.run(1337)])] == [1339, 1337]


def edit_done(run, **values):
    path = Path(run) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line | values if line["event"] == "done" else line for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def other_set(series, shift, **values):
    """The same runs elsewhere, their losses shifted."""
    shutil.copytree("five", "other")
    for seed, loss in zip(series.seeds, losses(series)):
        edit_done(f"other/seed-{seed}", loss=loss + shift, **values)


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.5, "significant"), (1e-5, "not significant: chance alone does as much")]
)
def test_the_difference_of_two_sets(series, shift, verdict):
    other_set(series, shift)
    result = compare(losses(series), [loss + shift for loss in losses(series)])
    lines = list(comparison_lines(outcomes(["five"]), outcomes(["other"])))
    assert lines[0].startswith(f"first        3 runs, mean {spread(losses(series)).mean:.4f} nats/token, standard dev")
    assert lines[2].startswith(f"difference   {-shift:+.4f}, 95 % interval ")
    assert lines[3].startswith(f"Welch's t    t = {result.t:.2f}, 4.0 degrees of freedom, p = {result.p:.2g}: ")
    assert lines[3].endswith(f": {verdict}")


def test_other_tokenizers_are_compared_in_bits_per_byte(series):
    other_set(series, 0.0)
    for seed in series.seeds:
        plan = Path(f"other/seed-{seed}/plan.toml")
        plan.write_text(plan.read_text().replace('data_key = "', 'data_key = "f'))
        edit_done(f"other/seed-{seed}", bits_per_byte=2.5 + seed / 1e4)
    assert "mean 2.6338 bits per byte" in list(comparison_lines(outcomes(["five"]), outcomes(["other"])))[1]


def test_what_does_not_compare(series):
    other_set(series, 0.1)
    for seed in series.seeds:
        plan = Path(f"other/seed-{seed}/plan.toml")
        changed = plan.read_text().replace('data_key = "', 'data_key = "f').replace("tale.txt", "other.txt")
        plan.write_text(changed.replace('text = "tale"', 'text = "other"'))
    with pytest.raises(UserError, match="different texts, tale and other"):
        list(comparison_lines(outcomes(["five"]), outcomes(["other"])))
    with pytest.raises(UserError, match="on both sides"):
        list(comparison_lines(outcomes(["five"]), outcomes(["five"])))
    edit_done("five/seed-1338", protocol="3 of 9 windows of 12, evenly spaced")
    with pytest.raises(UserError, match=r"five/seed-1338 was measured on 3 of 9 windows.*whole split"):
        list(comparison_lines(outcomes(["five"]), outcomes(["other"])))


def test_what_is_no_set_of_repeats(series):
    with pytest.raises(UserError, match="seed 1337 is there twice"):
        outcomes(["five", "five/seed-1337"])
    wider = trained("wider", **{**REQUEST, "seed": 5, "n_embd": 20})
    with pytest.raises(UserError, match="five/seed-1337 and wider differ in n_embd: a set is one run"):
        outcomes(["five", wider])
    config = Path("five/seed-1338/config.toml")
    config.write_text(config.read_text().replace('device = "auto"', 'device = "cpu"'))
    assert len(outcomes(["five"])) == 3  # where it was trained is no difference


def test_a_run_that_is_not_finished(series):
    path = Path("five/seed-1338/metrics.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(
        UserError, match="'five/seed-1338' is not finished: go on with it by nanogpt train --resume five"
    ):
        outcomes(["five"])
