"""Several processes train one run: what they do is what one does."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from groups import together
from nanogpt.parallel.sharding import check_divisible, whole
from nanogpt.training.launch import resume_run, start_run
from tiny import SMALL_RUN, finish, metrics, refuses, tiny_config, write_text
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import nanogpt
from nanogpt.data.batches import Dataset
from nanogpt.errors import ReportedElsewhere, UserError
from nanogpt.evaluation import loss as evaluation
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import Block
from nanogpt.parallel import world as distributed
from nanogpt.parallel.world import ALONE, World
from nanogpt.training.trainer import TrainStep, build_model

EACH_WAY = pytest.mark.parametrize("parallel", ["ddp", "fsdp"])

# The record


def environment(**changes):
    place = {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"} | changes
    return {name: value for name, value in place.items() if value is not None}


def test_the_place_that_torchrun_gives():
    assert World.from_environment({}) == ALONE == World(rank=0, size=1)
    world = World.from_environment(environment())
    assert (world.rank, world.size, world.local_rank, world.local_size, world.main) == (3, 6, 1, 2, False)
    assert World.from_environment(environment(RANK="0", LOCAL_RANK="0")).main


@pytest.mark.parametrize(
    "changes",
    [{"RANK": None}, {"RANK": "6"}, {"RANK": "-1"}, {"LOCAL_RANK": "x"}, {"LOCAL_RANK": "2"}, {"WORLD_SIZE": "1"}],
)
def test_an_environment_that_does_not_say_which_process_this_is(changes):
    refuses(lambda: World.from_environment(environment(**changes)), "torchrun", "RANK, WORLD_SIZE")


def test_a_job_is_known_again_after_a_restart_and_from_no_other(monkeypatch):
    def job(**changes):
        return World.from_environment(environment(**{"TORCHELASTIC_RUN_ID": "none"} | changes)).job

    assert job() == job(RANK="4", TORCHELASTIC_RESTART_COUNT="1")
    assert job() != job(TORCHELASTIC_RUN_ID="5")
    assert World.from_environment(environment(TORCHELASTIC_RESTART_COUNT="2")).restarts == 2
    before = job()
    monkeypatch.setattr(distributed.os, "getppid", lambda: 7)
    assert job() != before


def test_one_process_does_without_any_group(monkeypatch):
    for name in ("init_process_group", "new_group", "all_reduce", "broadcast", "barrier"):
        monkeypatch.delattr(torch.distributed, name)
    write_text()
    nanogpt.train("tale.txt", steps=2, out="run", progress=False, parallel="fsdp", **SMALL_RUN)


def test_a_gpu_for_each_process(monkeypatch):
    assert ALONE.device("cpu") == World(rank=1, size=2, local_rank=1, local_size=2).device("cpu") == torch.device("cpu")
    world = World(rank=5, size=6, local_rank=1, local_size=2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert world.device("auto") == torch.device("cuda", 1)
    assert chosen == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    refuses(world.device, "2 processes on this machine", "it has 1", "--nproc-per-node", "--device cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    refuses(world.device, "'mps'", "--device cpu")


def test_a_batch_that_cannot_be_shared_is_refused_with_what_can_be():
    train = tiny_config(batch_size=6, accumulation=2).train
    for size in (1, 2, 3, 4, 6, 12):
        check_divisible(train, size)
    refuses(lambda: check_divisible(train, 5), "5 processes", "12 sequences", "1, 2, 3, 4, 6, 12", "5 or 10")
    refuses(lambda: check_divisible(train, 13), "--batch-size 13 or 26")


# What processes tell each other


def talk(world):
    told = world.share({"rank": world.rank, "text": "é", "none": None, "number": 0.1})
    votes = [world.any(False), world.any(world.rank == 1), world.any(True)]
    summed = world.sum(torch.tensor([1.0 + world.rank, 10.0], dtype=torch.float64)).tolist()
    asked = []
    led = world.lead(lambda: [world.ask("one"), world.ask(["two"]), world.rank], asked.append)
    errors = []

    def fail():
        raise UserError(f"no {world.rank}")

    for _ in range(2):  # and the next exchange is in step again
        try:
            world.lead(fail)
        except UserError as error:
            errors.append((type(error), str(error)))
    return told, votes, summed, asked, led, errors, world.share(world.rank)


def test_what_is_shared_led_and_voted():
    for rank, result in enumerate(together(2, talk)):
        told, votes, summed, asked, led, errors, last = result
        assert told == {"rank": 0, "text": "é", "none": None, "number": 0.1}
        assert votes == [False, True, True]
        assert summed == [3.0, 20.0]
        assert asked == ([] if rank == 0 else ["one", ["two"]])
        assert led == [None, None, 0]
        assert errors == [(UserError if rank == 0 else ReportedElsewhere, "no 0")] * 2
        assert last == 0


def test_an_exchange_waits_until_the_thread_that_did_it_has_let_go(monkeypatch):
    held = []

    def collective(tensor):
        tensor.add_(1)
        held.append(tensor)
        threading.Timer(0.05, held.clear).start()

    assert distributed._exchange(collective, [2, 3]) == [3, 4]
    assert held == []
    monkeypatch.setattr(distributed, "RELEASE_SECONDS", 0.01)  # and it does not wait for ever
    assert distributed._exchange(held.append, [5]) == [5]
    assert len(held) == 1


# Updates


def stepper(world=ALONE, preset="modern", **settings):
    config = tiny_config(preset, **settings)
    ids = np.random.default_rng(3).integers(0, 37, 500).astype(np.uint16)
    return TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids[:50], key=""), world)


def updates(world, preset, settings):
    """Loss and norm of three updates, the gradients of the last, and the weights after it."""
    made = stepper(world, preset, **settings)
    rows = [made.step(step, 1e-2).tolist() for step in (3, 4)]
    made.optimizer.zero_grad = lambda **kwargs: None
    rows.append(made.step(5, 1e-2).tolist())
    named = list(made.model.named_parameters())
    return rows, {n: whole(p.grad).numpy() for n, p in named}, {n: whole(p.detach()).numpy() for n, p in named}


def agrees(size, preset="modern", **settings):
    rows, gradients, weights = updates(ALONE, preset, settings)
    found = together(size, updates, preset, settings)
    for other_rows, other_gradients, other_weights in found:
        assert other_rows == found[0][0]  # to the last bit: decisions are made by them
        np.testing.assert_allclose(other_rows, rows, rtol=1e-4)
        assert other_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            np.testing.assert_allclose(other_gradients[name], gradient, err_msg=name, rtol=1e-3, atol=1e-5)
            # AdamW divides by the size of a gradient: where that is next to nothing, so is what is known of its sign.
            known = np.abs(gradient) > 1e-4
            np.testing.assert_allclose(other_weights[name][known], weights[name][known], err_msg=name, atol=1e-4)


BATCH = {"batch_size": 3, "accumulation": 4, "grad_clip": 0.25}
MUON = {"optimizer": "muon", "init": "scaled", "learning_rate": 1e-2}
DROPPING = {"dropout": 0.3, "attention_dropout": 0.2}


def test_two_processes_make_the_updates_of_one():
    agrees(2, **BATCH, **DROPPING)


@pytest.mark.slow
@EACH_WAY
@pytest.mark.parametrize(
    ("size", "preset", "settings"),
    [
        (2, "lecture", DROPPING),
        (2, "modern", DROPPING | {"tie_embeddings": True}),
        (2, "gpt2", {"tie_embeddings": True, "batch_size": 2, "accumulation": 1}),
        (4, "modern", DROPPING | {"batch_size": 5, "accumulation": 4}),
        (4, "lecture", {"grad_clip": 1e9}),
        (3, "gpt2", DROPPING | {"batch_size": 6, "accumulation": 1}),
        (2, "gpt2", MUON),
        (3, "modern", MUON | {"n_kv_head": 1}),
    ],
)
def test_several_processes_make_the_updates_of_one(parallel, size, preset, settings):
    agrees(size, preset, **BATCH | settings, parallel=parallel)


def count_exchanges(world):
    made = stepper(world, **BATCH)
    exchanges = []

    def hook(state, bucket):
        exchanges.append(bucket.buffer().numel())
        return allreduce_hook(state, bucket)

    made._module.register_comm_hook(None, hook)
    made.step(0, 1e-2)
    return exchanges, made.model.parameter_count


def test_gradients_are_exchanged_once_a_step():
    for exchanges, parameters in together(2, count_exchanges):
        assert sum(exchanges) == parameters  # and there are two micro-steps


class Detour(Block):
    """A block with a weight that no loss reaches."""

    def __init__(self, config):
        super().__init__(config)
        self.unreached = torch.nn.Parameter(torch.ones(3))


def updates_of_detours(world, parallel):
    config = tiny_config(batch_size=6, parallel=parallel)
    made = TrainStep(build_model(config, Detour), config.train, stepper().data, world)
    return [made.step(step, 1e-2).tolist() for step in range(3)]


@pytest.mark.slow
@EACH_WAY
def test_a_block_of_ones_own_may_have_weights_that_no_loss_reaches(parallel):
    expected = updates_of_detours(ALONE, parallel)
    for found in together(2, updates_of_detours, parallel):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def compiled(world):
    made = stepper(world, batch_size=2, accumulation=4, compile="on", dropout=0.1, n_layer=1)
    return made.note, [made.step(step, 1e-2).tolist() for step in range(3)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here")
def test_a_compiled_step_of_several_processes_is_that_of_one():
    made = stepper(batch_size=2, accumulation=4, dropout=0.1, n_layer=1)
    expected = [made.step(step, 1e-2).tolist() for step in range(3)]
    for note, rows in together(2, compiled):
        assert note is None
        np.testing.assert_allclose(rows, expected, rtol=1e-4)


def fails_on_one(world):
    def broken(*args, **kwargs):
        raise RuntimeError("no compiler")

    if world.rank == 1:
        torch.compile = broken
    else:
        torch.compile = lambda module, **kwargs: module
    made = stepper(world, batch_size=2, compile="on")
    return made.note, made.step(0, 1e-2).tolist()


def test_where_compilation_fails_on_one_process_none_uses_it():
    (first, rows), (second, others) = together(2, fails_on_one)
    assert "another process" in first
    assert "no compiler" in second
    assert rows == others


# Runs

RUN = SMALL_RUN | {"batch_size": 2, "accumulation": 4, "log_every": 1, "dropout": 0.2, "grad_clip": 0.5, "steps": 9}


def run(world, out, stop_at=None, **settings):
    """Start a run, or go on with it; what every process sees of it."""
    if Path(out).exists():
        trainer = resume_run(out, world=world, **settings)
    else:
        trainer = start_run("tale.txt", out=out, world=world, **RUN | settings)
    if stop_at is not None:  # asked for on the last process alone
        trainer.should_stop = lambda: world.rank == world.size - 1 and trainer.state.step >= stop_at
    events = finish(trainer)
    return [(type(event).__name__, event.step) for event in events], getattr(events[-1], "evaluation", None)


def assert_alike(out, reference):
    """Two runs that differ by rounding alone."""
    assert len(metrics(Path(out))) == len(metrics(Path(reference)))
    for line, expected in zip(metrics(Path(out)), metrics(Path(reference))):
        assert line.keys() == expected.keys()
        for name, value in line.items():
            assert value == (pytest.approx(expected[name], rel=1e-4) if isinstance(value, float) else expected[name])
    models = [nanogpt.load(path, checkpoint="last").model for path in (out, reference)]
    for (name, p), q in zip(models[0].named_parameters(), models[1].parameters()):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=2e-4, msg=name)
    files = [{file.name for file in (Path(path) / "history").iterdir()} for path in (out, reference)]
    assert files[0] == files[1]


def whole_run():
    write_text()
    run(ALONE, "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("size", "parallel"), [(2, "ddp"), (4, "fsdp")])
def test_a_run_of_several_processes_is_the_run_of_one(size, parallel):
    whole_run()
    seen = together(size, _run_with, "several", {"parallel": parallel})
    assert all(one == seen[0] for one in seen)
    assert_alike("several", "whole")


def _run_with(world, out, settings):
    return run(world, out, **settings)


@pytest.mark.slow
def test_a_run_goes_on_in_another_number_of_processes():
    whole_run()
    for size, settings in ((2, {"stop_at": 3}), (4, {"stop_at": 6, "parallel": "fsdp"})):
        for events, _ in together(size, _run_with, "parts", settings):
            assert events[-1] == ("StopEvent", settings["stop_at"])
    run(ALONE, "parts")
    assert_alike("parts", "whole")


def evaluated(world, tokens):
    evaluation.TOKENS_AT_ONCE = 100
    config = tiny_config(batch_size=6, parallel="fsdp")
    made = stepper(world, batch_size=6, parallel="fsdp")
    result = evaluate(made.model, made.data.train, CharTokens(config.model.vocab_size), tokens, world)
    return result


class CharTokens:
    """As much of a tokenizer as an evaluation needs: some tokens of one byte, some of two."""

    def __init__(self, size):
        self.size = size

    def token_bytes(self):
        return np.arange(self.size) % 2 + 1


@pytest.mark.slow
def test_an_evaluation_by_several_processes_is_that_of_one_to_the_last_bit(monkeypatch):
    monkeypatch.setattr(evaluation, "TOKENS_AT_ONCE", 100)
    for tokens in (None, 33):
        expected = evaluated(ALONE, tokens)
        for size in (
            2,
            3,
        ):  # 500 tokens are 46 windows read at once, and a shorter one: a process is left without a turn
            assert together(size, evaluated, tokens) == [expected] * size


def planned(world):
    trainer = start_run("tale.txt", minutes=0.1, out="run", world=world, sample_tokens=0)
    events = finish(trainer)
    return trainer.config, trainer.plan, [event.step for event in events]


@pytest.mark.slow
def test_minutes_are_measured_and_kept_by_all_together():
    write_text(characters=20_000)
    found = together(3, planned)  # 3 does not divide the batches of the sizes to choose from
    assert all(one == found[0] for one in found)
    config, plan, steps = found[0]
    assert config.train.batch_sequences % 3 == 0
    assert plan.minutes == 0.1
    assert steps[-1] == plan.total_steps


def refused(world, settings):
    with pytest.raises(UserError) as caught:
        run(world, "run", **settings)
    return type(caught.value), str(caught.value)


def test_what_is_refused_is_told_once():
    write_text()
    for settings, words in (
        ({"batch_size": 3, "accumulation": 1}, "choose --batch-size 2 or 4"),
        ({"n_head": 3}, "n_head 3"),
    ):
        (first, text), (second, _) = together(2, refused, settings)
        assert (first, second) == (UserError, ReportedElsewhere)
        assert words in text
        assert not Path("run").exists()


# The command, started by torchrun

PROGRAM = """
import os, signal, sys
from nanogpt.training.trainer import TrainStep

original = TrainStep.step

def step(self, step, rate):
    if step == 5 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[1] == "stop":
            os.kill(os.getppid(), signal.SIGTERM)
    return original(self, step, rate)

TrainStep.step = step
from nanogpt.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def torchrun(what, *words, options=()):
    """The command in two processes; at its sixth step one is killed, or torchrun is asked to end."""
    Path("program.py").write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    return subprocess.run(
        [*launcher, "program.py", what, *words], capture_output=True, text=True, timeout=200, check=False
    )


def as_flags(settings):
    return [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_the_run_goes_on():
    whole_run()
    found = torchrun("kill", "train", "tale.txt", "--out", "run", *as_flags(RUN))
    assert found.returncode != 0
    assert found.stderr.count("nanogpt: process 0 of 2 lost another one") == 1
    assert "--resume" in found.stderr
    assert nanogpt.load("run", checkpoint="last").step == 4
    run(ALONE, "run")
    assert_alike("run", "whole")


@pytest.mark.slow
def test_torchruns_own_restart_goes_on_with_the_run_of_the_job():
    whole_run()
    found = torchrun("kill", "train", "tale.txt", *as_flags(RUN), options=["--max-restarts", "1"])
    assert found.returncode == 0, found.stderr
    assert [path.name for path in Path("runs").iterdir()] == ["tale-modern-1"]
    assert "going on from step 4" in found.stderr
    assert found.stdout.count("let it write") == 1
    assert_alike("runs/tale-modern-1", "whole")


@pytest.mark.slow
def test_torchrun_asked_to_end_lets_the_run_save():
    whole_run()
    found = torchrun("stop", "train", "tale.txt", "--out", "run", *as_flags(RUN | {"steps": 30_000}))
    assert found.returncode != 0
    assert found.stderr.count("saving at the end of this step") == 1
    assert found.stdout.count("stopped at step") == 1
    step = nanogpt.load("run", checkpoint="last").step
    assert f"stopped at step {step:,} and saved" in found.stdout
    assert step >= 5


@pytest.mark.slow
def test_what_torchrun_shows_of_a_mistake():
    write_text()
    found = torchrun("", "train", "tale.txt", "--batch-size", "3", "--steps", "9")
    assert found.returncode != 0
    assert found.stderr.count("nanogpt: 2 processes cannot have equal shares") == 1
