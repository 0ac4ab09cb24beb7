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
from tiny import SMALL_RUN, finish, metrics, refuses, resume_run, start_run, tiny_config, write_text
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import nanogpt
from nanogpt.data.tokenize import Dataset
from nanogpt.errors import ReportedElsewhere, UserError
from nanogpt.evaluation import loss as evaluation
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import Block
from nanogpt.parallel import distributed
from nanogpt.parallel.distributed import ProcessGroup, check_divisible
from nanogpt.parallel.world import ALONE, full_tensor
from nanogpt.training.trainer import TrainStep, build_model

EACH_WAY = pytest.mark.parametrize("parallel", ["ddp", "fsdp"])

# The environment


def group(**changes):
    """The process group of torchrun's variables, changed."""
    variables = {"RANK": "3", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"} | changes
    return ProcessGroup.from_environment({name: value for name, value in variables.items() if value is not None})


def test_a_process_reads_torchruns_variables(monkeypatch):
    world, restarted = (
        group(TORCHELASTIC_RUN_ID="none"),
        group(TORCHELASTIC_RUN_ID="none", TORCHELASTIC_RESTART_COUNT="2"),
    )
    assert (world.rank, world.size, world.local_rank, world.local_size, world.main) == (3, 6, 1, 2, False)
    assert group(RANK="0", LOCAL_RANK="0").main
    assert (restarted.job, restarted.restarts) == (world.job, 2)
    assert world.job != group(TORCHELASTIC_RUN_ID="5").job
    monkeypatch.setattr(distributed.os, "getppid", lambda: 7)  # another torchrun
    assert world.job != group(TORCHELASTIC_RUN_ID="none").job


@pytest.mark.parametrize(
    "changes",
    [{"RANK": None}, {"RANK": "6"}, {"RANK": "-1"}, {"LOCAL_RANK": "x"}, {"LOCAL_RANK": "2"}, {"WORLD_SIZE": "1"}],
)
def test_variables_that_no_process_has(changes):
    refuses(lambda: group(**changes), "torchrun", "RANK, WORLD_SIZE")


def test_one_process_does_without_a_group(monkeypatch):
    for name in ("init_process_group", "new_group", "all_reduce", "broadcast", "barrier"):
        monkeypatch.delattr(torch.distributed, name)
    nanogpt.train(write_text(), steps=2, out="run", progress=False, parallel="fsdp", **SMALL_RUN)


def test_a_gpu_for_each_process(monkeypatch):
    world, chosen = ProcessGroup(rank=5, size=6, local_rank=1, local_size=2), []
    assert ALONE.device("cpu") == world.device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert world.device("auto") == torch.device("cuda", 1)
    assert chosen == [1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    refuses(world.device, "2 processes", "it has 1", "--nproc-per-node", "--device cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    refuses(world.device, "mps", "--device cpu")


def test_a_batch_that_cannot_be_divided_is_refused_with_what_can_be():
    train = tiny_config(batch_size=6, accumulation=2).train
    for size in (1, 2, 3, 4, 6, 12):
        check_divisible(train, size)
    refuses(lambda: check_divisible(train, 5), "5 processes", "12 sequences", "1, 2, 3, 4, 6, 12", "5 or 10")
    refuses(lambda: check_divisible(train, 13), "--batch-size 13 or 26")


def call_several(world):
    several = [communicate(world), updates(world, "modern", BATCH | DROPOUT), count_exchanges(world)]
    return [*several, compile_on_one(world)]  # last: it replaces torch.compile


def test_two_processes():
    """Started once for four checks, as starting them takes longest."""
    communication, updated, exchanges, compiled = zip(*together(2, call_several))
    check_communication(communication)
    check_updates(updated, "modern", BATCH | DROPOUT)
    assert all(exchanged == parameters for exchanged, parameters in exchanges)  # once, and there are two micro-steps
    check_compilation(compiled)


# Communication


def communicate(world):
    value = world.broadcast({"rank": world.rank, "text": "é", "none": None, "number": 0.1})
    votes = [world.any(False), world.any(world.rank == 1), world.any(True)]
    total = world.sum(torch.tensor([1.0 + world.rank, 10.0], dtype=torch.float64)).tolist()
    asked, errors = [], []
    result = world.on_main(lambda: [world.ask("one"), world.ask(["two"]), world.rank], asked.append)

    def fail():
        raise UserError(f"no {world.rank}")

    for _ in range(2):  # the next exchange is in step again
        try:
            world.on_main(fail)
        except UserError as error:
            errors.append((type(error), str(error)))
    return value, votes, total, result, world.broadcast(world.rank), asked, errors


def check_communication(results):
    """Values, votes, sums and errors reach all processes."""
    for rank, (*found, asked, errors) in enumerate(results):
        value = {"rank": 0, "text": "é", "none": None, "number": 0.1}
        assert found == [value, [False, True, True], [3.0, 20.0], [None, None, 0], 0]
        assert asked == ([] if rank == 0 else ["one", ["two"]])
        assert errors == [(UserError if rank == 0 else ReportedElsewhere, "no 0")] * 2


def test_an_exchange_waits_until_gloos_thread_has_released_the_tensor(monkeypatch):
    held = []

    def collective(tensor):
        tensor.add_(1)
        held.append(tensor)
        threading.Timer(0.05, held.clear).start()

    assert distributed._exchange(collective, [2, 3]) == [3, 4]
    assert held == []
    monkeypatch.setattr(distributed, "RELEASE_SECONDS", 0.01)  # it does not wait for ever
    assert distributed._exchange(held.append, [5]) == [5]
    assert len(held) == 1


# Updates


def train_step(world=ALONE, preset="modern", block=Block, **settings):
    config = tiny_config(preset, **settings)
    ids = np.random.default_rng(3).integers(0, 37, 500).astype(np.uint16)
    return TrainStep(build_model(config, block), config.train, Dataset(train=ids, val=ids[:50], key=""), world)


def updates(world, preset, settings):
    """Loss and norm of three updates, the gradients of the last, and the weights after it."""
    made = train_step(world, preset, **settings)
    rows = [made(step, 1e-2).tolist() for step in (3, 4)]
    made.model.zero_grad = lambda: None
    rows.append(made(5, 1e-2).tolist())
    named = list(made.model.named_parameters())
    return rows, *(
        {n: full_tensor(part(p)).numpy() for n, p in named} for part in (lambda p: p.grad, torch.Tensor.detach)
    )


def check_updates(found, preset, settings):
    rows, gradients, weights = updates(ALONE, preset, settings)
    for other_rows, other_gradients, other_weights in found:
        assert other_rows == found[0][0]  # to the last bit: decisions are made by them
        np.testing.assert_allclose(other_rows, rows, rtol=1e-4)
        assert other_gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            np.testing.assert_allclose(other_gradients[name], gradient, err_msg=name, rtol=1e-3, atol=1e-5)
            # AdamW divides by the size of a gradient: where that is nearly 0, its sign is not known.
            known = np.abs(gradient) > 1e-4
            np.testing.assert_allclose(other_weights[name][known], weights[name][known], err_msg=name, atol=1e-4)


BATCH = {"batch_size": 3, "accumulation": 4, "grad_clip": 0.25}
MUON = {"optimizer": "muon", "init": "scaled", "learning_rate": 1e-2}
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.2}


@pytest.mark.slow
@EACH_WAY
@pytest.mark.parametrize(
    ("size", "preset", "settings"),
    [
        (2, "lecture", DROPOUT),
        (2, "modern", DROPOUT | {"tie_embeddings": True}),
        (2, "gpt2", {"tie_embeddings": True, "batch_size": 2, "accumulation": 1}),
        (4, "modern", DROPOUT | {"batch_size": 5, "accumulation": 4}),
        (4, "lecture", {"grad_clip": 1e9}),
        (3, "gpt2", DROPOUT | {"batch_size": 6, "accumulation": 1}),
        (2, "gpt2", MUON),
        (3, "modern", MUON | {"n_kv_head": 1}),
    ],
)
def test_several_processes_make_the_updates_of_one(parallel, size, preset, settings):
    settings = BATCH | settings | {"parallel": parallel}
    check_updates(together(size, updates, preset, settings), preset, settings)


def count_exchanges(world):
    made, exchanges = train_step(world, **BATCH), []

    def hook(state, bucket):
        exchanges.append(bucket.buffer().numel())
        return allreduce_hook(state, bucket)

    made.module.register_comm_hook(None, hook)
    made(0, 1e-2)
    return sum(exchanges), made.model.parameter_count


class Detour(Block):
    """A block with a weight that no loss reaches."""

    def __init__(self, config):
        super().__init__(config)
        self.unreached = torch.nn.Parameter(torch.ones(3))


def losses(world, settings):
    made = train_step(world, **settings)
    return made.note, [made(step, 1e-2).tolist() for step in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 6, "block": Detour, "parallel": "ddp"},
        {"batch_size": 6, "block": Detour, "parallel": "fsdp"},
        pytest.param(
            {"batch_size": 2, "accumulation": 4, "compile": "on", "dropout": 0.1, "n_layer": 1},
            marks=pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here"),
        ),
    ],
    ids=["own block, ddp", "own block, fsdp", "compiled"],
)
def test_a_block_of_ones_own_and_a_compiled_step(settings):
    _, expected = losses(ALONE, settings | {"compile": "off"})
    for note, rows in together(2, losses, settings):
        assert note is None
        np.testing.assert_allclose(rows, expected, rtol=1e-4)


def compile_on_one(world):
    def fail(*args, **options):
        raise RuntimeError("no compiler")

    torch.compile = fail if world.rank else lambda module, **options: module
    return losses(world, {"batch_size": 2, "compile": "on"})


def check_compilation(results):
    """Where it fails on one process, none uses it."""
    (first, rows), (second, others) = results
    assert "another process" in first
    assert "no compiler" in second
    assert rows == others


class Tokens:
    """As much of a tokenizer as an evaluation needs: tokens of one byte and of two."""

    def token_bytes(self):
        return np.arange(37) % 2 + 1


def evaluated(world):
    evaluation.TOKENS_AT_ONCE = 100
    made = train_step(world, batch_size=6, parallel="fsdp")
    return [evaluate(made.model, made.data.train, Tokens(), tokens, world) for tokens in (None, 33)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_an_evaluation_by_several_processes_is_that_of_one_to_the_last_bit(size, monkeypatch):
    """500 tokens are 5 batches of windows and a shorter window: in the last round a process has none."""
    monkeypatch.setattr(evaluation, "TOKENS_AT_ONCE", 100)
    assert together(size, evaluated) == [evaluated(ALONE)] * size


# Runs

RUN = SMALL_RUN | {"batch_size": 2, "accumulation": 4, "log_every": 1, "dropout": 0.2, "grad_clip": 0.5, "steps": 9}


def run(world, out, settings, stop_at=None):
    """Start or resume a run; return what every process sees of it."""
    if Path(out).exists():
        trainer = resume_run(out, world=world, **settings)
    else:
        trainer = start_run("tale.txt", out=out, world=world, **RUN | settings)
    if stop_at is not None:  # asked for on the last process alone
        trainer.should_stop = lambda: world.rank == world.size - 1 and trainer.state.step >= stop_at
    events = finish(trainer)
    return [(type(event).__name__, event.step) for event in events], getattr(events[-1], "evaluation", None)


@pytest.fixture
def whole_run():
    write_text()
    run(ALONE, "whole", {})


def assert_alike(out, reference="whole"):
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


@pytest.mark.slow
@pytest.mark.usefixtures("whole_run")
@pytest.mark.parametrize(("size", "parallel"), [(2, "ddp"), (4, "fsdp")])
def test_a_run_of_several_processes_is_the_run_of_one(size, parallel):
    seen = together(size, run, "several", {"parallel": parallel})
    assert all(one == seen[0] for one in seen)
    assert_alike("several")


@pytest.mark.slow
@pytest.mark.usefixtures("whole_run")
def test_a_run_resumes_in_another_number_of_processes():
    for size, settings, stop_at in ((2, {}, 3), (4, {"parallel": "fsdp"}, 6)):
        for events, _ in together(size, run, "parts", settings, stop_at):
            assert events[-1] == ("StopEvent", stop_at)
    run(ALONE, "parts", {})
    assert_alike("parts")


def planned(world):
    trainer = start_run("tale.txt", minutes=0.1, out="run", world=world, sample_tokens=0)
    events = finish(trainer)
    return trainer.config, trainer.plan, [event.step for event in events]


@pytest.mark.slow
def test_minutes_are_measured_and_kept_together():
    write_text(characters=20_000)
    found = together(3, planned)  # 3 does not divide the batches of the sizes to choose from
    assert all(one == found[0] for one in found)
    config, plan, steps = found[0]
    assert config.train.batch_sequences % 3 == 0
    assert plan.minutes == 0.1
    assert steps[-1] == plan.total_steps


def refused(world, settings):
    with pytest.raises(UserError) as caught:
        run(world, "run", settings)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"batch_size": 3, "accumulation": 1}, "--batch-size 2 or 4"), ({"n_head": 3}, "--n-head 3")],
)
def test_a_mistake_is_reported_by_one_process(settings, words):
    write_text()
    (first, text), (second, _) = together(2, refused, settings)
    assert (first, second) == (UserError, ReportedElsewhere)
    assert words in text
    assert not Path("run").exists()


# The command, started by torchrun

PROGRAM = """
import os, signal, sys
from nanogpt.training.trainer import TrainStep

original = TrainStep.__call__

def call(self, step, lr):
    if step == 5 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        if sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if sys.argv[1] == "stop":
            os.kill(os.getppid(), signal.SIGTERM)
    return original(self, step, lr)

TrainStep.__call__ = call
from nanogpt.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def torchrun(what, *words, options=(), **settings):
    """The command in two processes; at its sixth step one is killed, or torchrun is asked to end."""
    Path("program.py").write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    flags = [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]
    command = [*launcher, "program.py", what, "train", "tale.txt", *words, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.slow
@pytest.mark.usefixtures("whole_run")
def test_a_killed_process_ends_the_job_and_the_run_resumes():
    found = torchrun("kill", "--out", "run", **RUN)
    assert found.returncode != 0
    assert found.stderr.count("nanogpt: process 0 of 2 lost another") == 1
    assert "--resume" in found.stderr
    assert nanogpt.load("run", checkpoint="last").step == 4
    run(ALONE, "run", {})
    assert_alike("run")


@pytest.mark.slow
@pytest.mark.usefixtures("whole_run")
def test_torchruns_own_restart_continues_the_run_of_the_job():
    found = torchrun("kill", options=["--max-restarts", "1"], **RUN)
    assert found.returncode == 0, found.stderr
    assert [path.name for path in Path("runs").iterdir()] == ["tale-modern-1"]
    assert "at step 4" in found.stderr
    assert found.stdout.count("generate") == 1
    assert_alike("runs/tale-modern-1")


@pytest.mark.slow
def test_torchrun_asked_to_end_lets_the_run_save():
    write_text()
    found = torchrun("stop", "--out", "run", **RUN | {"steps": 30_000})
    assert found.returncode != 0
    assert found.stderr.count("saving") == 1
    step = nanogpt.load("run", checkpoint="last").step
    assert found.stdout.count(f"stopped at step {step:,} and saved") == 1
    assert step >= 5


@pytest.mark.slow
def test_torchrun_shows_a_mistake_once():
    write_text()
    found = torchrun("", batch_size=3, steps=9)
    assert found.returncode != 0
    assert found.stderr.count("nanogpt: 2 processes can't") == 1
