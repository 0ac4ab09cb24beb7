"""Runs with several seeds: each is the run it would be alone, an interruption loses nothing, and statistics are true."""

import json
import shutil
from pathlib import Path

import pytest
from tiny import SMALL_RUN, ScriptedPace, finish, metrics, outcome, refuses, start, trained, weights, write_text

from nanogpt.evaluation.significance import compare, spread
from nanogpt.reporting.events import StopEvent
from nanogpt.runs.find import list_runs, newest_run
from nanogpt.runs.folder import RunFolder
from nanogpt.training import seeds
from nanogpt.training.options import TrainOptions, has_seeds, split_options

ASKED = {"steps": 3, **SMALL_RUN, "eval_every": 2, "n_layer": 1}


def begin(count=3, out="set", should_stop=lambda: False, **settings):
    if not Path("tale.txt").exists():
        write_text()
    options, settings = split_options("tale.txt", ASKED | {"out": out} | settings)
    options = TrainOptions(**vars(options) | {"seeds": count})
    return seeds.start_seeds(options, settings, should_stop=should_stop)


def train_all(trainers):
    return [trainer.config.train.seed for trainer in trainers if finish(trainer)]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return a folder with a finished set of three."""
    home = tmp_path_factory.mktemp("seeds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGPT_CACHE", str(home / "cache"))
        patch.chdir(home)
        train_all(begin()[1])
    return home


@pytest.fixture
def runs(original, monkeypatch):
    """Return a copy of it, in `set`."""
    shutil.copytree(original / "set", "set")
    monkeypatch.setenv("NANOGPT_CACHE", str(original / "cache"))
    return seeds.SeedRuns.open("set")


def test_each_run_is_what_it_would_be_alone(runs):
    assert runs.seeds == (1337, 1338, 1339)
    results = []
    for seed in runs.seeds:
        alone = trained(f"alone-{seed}", **ASKED, seed=seed)
        results.append(outcome(runs.run(seed)))
        assert results[-1] == outcome(alone)
        one, other = (RunFolder(path).read_plan().to_dict() | {"source": ""} for path in (runs.run(seed), alone))
        assert one == other
    assert results[0] != results[1] != results[2]


@pytest.mark.parametrize("way", ["resume", "the same command"])
def test_an_interrupted_set_continues(runs, way):
    expected = [outcome(run.path) for run in runs.runs()]
    shutil.rmtree("set")
    stop = []
    _, trainers = begin(should_stop=lambda: bool(stop))
    finish(next(trainers))
    second = next(trainers)
    stop.append(True)
    assert isinstance(finish(second)[-1], StopEvent)
    rest = seeds.resume_seeds(seeds.SeedRuns.open("set")) if way == "resume" else begin()[1]
    assert train_all(rest) == [1338, 1339]
    assert [outcome(run.path) for run in runs.runs()] == expected
    assert train_all(begin()[1]) == []  # nothing is left to do


def test_a_kill_while_a_run_is_made_loses_nothing(runs):
    last = runs.run(1339)
    expected = weights(last)
    for name in ("plan.toml", "metrics.jsonl"):
        (last / name).unlink()
    shutil.rmtree(last / "checkpoints")
    assert train_all(seeds.resume_seeds(runs)) == [1339]
    assert weights(last) == expected


def test_a_run_whose_length_changed_is_repeated_with_its_last_length():
    runs, trainers = begin(2, steps=9, seed=7)
    first = next(trainers)
    first.pace = ScriptedPace({2: 5})
    finish(first)
    assert train_all(trainers) == [8]
    plan = RunFolder(runs.run(8)).read_plan()
    assert (runs.seeds, plan.total_steps, plan.changes) == ((7, 8), 5, ())


def test_a_set_without_a_name_gets_the_next_number():
    for number in (1, 2):
        runs, trainers = begin(2, out=None)
        assert runs.path == Path(f"runs/seeds-{number}")
        finish(next(trainers))
    assert newest_run() == Path("runs/seeds-2/seed-1337")
    assert [run.path.name for run in list_runs()] == ["seed-1337", "seed-1337"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        *(({"count": count}, [f"--seeds {count}", "2 to 1000", "no spread"]) for count in (-1, 0, 1, 1001)),
        ({"out": "tale.txt"}, ["'tale.txt'", "exists"]),
        ({"n_embd": 17}, ["--n-embd 17"]),
    ],
    ids=str,
)
def test_a_mistake_leaves_nothing_behind(asked, words):
    write_text()
    refuses(lambda: begin(**asked), *words)
    assert [path.name for path in Path().iterdir()] == ["tale.txt"]


def test_another_command_is_not_continued(runs):
    for asked in ({"n_embd": 18}, {"count": 2}):
        refuses(lambda asked=asked: begin(**asked), "'set'", "--resume set")


def test_several_processes_share_one_run():
    seeds.refuse_processes(1)
    refuses(lambda: seeds.refuse_processes(2), "2 processes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, ["names no seeds"]) for text in ("format = 1", "seeds = []", 'seeds = ["x"]', "seeds = [-3]")),
        ("seeds = [true]", ["names no seeds"]),
        ("format = 9\nseeds = [1, 2]", ["newer nanogpt"]),
    ],
)
def test_a_damaged_set(text, words):
    Path("bad").mkdir()
    Path("bad/seeds.toml").write_text(text)
    assert has_seeds("bad")
    refuses(lambda: seeds.SeedRuns.open("bad"), *words)


# Statistics


def losses(runs):
    return [line["loss"] for seed in runs.seeds for line in metrics(runs.run(seed)) if line["event"] == "done"]


def edit_done(run, **values):
    path = Path(run) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line | values if line["event"] == "done" else line for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_mean_and_spread(runs):
    found, expected = seeds.outcomes(["set"]), spread(losses(runs))
    assert [one.loss for one in found] == losses(runs)
    text = "\n".join(seeds.spread_lines(found))
    values = (*losses(runs), expected.mean, expected.low, expected.high, expected.deviation)
    assert all(f"{value:.4f}" in text for value in values)
    assert [one.seed for one in seeds.outcomes([runs.run(1339), runs.run(1337)])] == [1339, 1337]


def test_the_difference_of_two_sets(runs):
    shutil.copytree("set", "other")

    def difference(shift, **values):
        for seed, loss in zip(runs.seeds, losses(runs)):
            edit_done(f"other/seed-{seed}", loss=loss + shift, bits_per_byte=2.5 + seed / 1e4, **values)
        return list(seeds.comparison_lines(*(seeds.outcomes([one]) for one in ("set", "other"))))

    def edit_plans(old, new):
        for path in Path("other").glob("*/plan.toml"):
            path.write_text(path.read_text().replace(old, new))

    for shift, verdict in ((0.5, ": significant"), (1e-5, "not significant")):
        result = compare(losses(runs), [loss + shift for loss in losses(runs)])
        first, _, last, test = difference(shift)
        assert f"{spread(losses(runs)).mean:.4f} nats/token" in first
        assert f"{-shift:+.4f}" in last
        assert f"t = {result.t:.2f}, 4.0 degrees of freedom, p = {result.p:.2g}" in test
        assert verdict in test
    edit_plans('data_key = "', 'data_key = "f')  # another tokenizer
    assert "2.6338 bits per byte" in difference(0.0)[1]
    edit_plans("tale", "other")
    refuses(lambda: difference(0.0), "tale", "other")
    refuses(lambda: difference(0.0, protocol="3 of 9 windows of 12"), "other/seed-1337", "3 of 9 windows")
    refuses(lambda: list(seeds.comparison_lines(seeds.outcomes(["set"]), seeds.outcomes(["set"]))), "both sides")


def test_runs_that_are_no_set(runs):
    refuses(lambda: seeds.outcomes(["set", "set/seed-1337"]), "seed 1337")
    wider = start("wider", **ASKED | {"seed": 5, "n_embd": 20}).folder
    wider.append_metrics({"event": "done", "step": 3, "loss": 1.0, "bits_per_byte": 1.0, "protocol": "whole split"})
    refuses(lambda: seeds.outcomes(["set", "wider"]), "set/seed-1337", "wider", "n_embd")
    config = Path("set/seed-1338/config.toml")
    config.write_text(config.read_text().replace('device = "auto"', 'device = "cpu"'))
    assert len(seeds.outcomes(["set"])) == 3  # where a run was trained is no difference
    path = Path("set/seed-1338/metrics.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    refuses(lambda: seeds.outcomes(["set"]), "'set/seed-1338' is not finished", "--resume set/seed-1338")
