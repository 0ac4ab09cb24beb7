"""Several processes train one run: what they do is what one does."""

import numpy as np
import pytest
import torch
from groups import together
from tiny import SMALL_RUN, refuses, tiny_config, write_text

import nanogpt
from nanogpt import distributed
from nanogpt.data import Dataset
from nanogpt.distributed import ALONE, World
from nanogpt.errors import ToldElsewhere, UserError
from nanogpt.parallel import check_divisible, whole
from nanogpt.stepper import Stepper, build_model

EACH_WAY = pytest.mark.parametrize("parallel", ["ddp", "fsdp"])

# Exact in real numbers, rounded otherwise: float32 has seven digits, a sum of some hundred loses one.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


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
        assert errors == [(UserError if rank == 0 else ToldElsewhere, "no 0")] * 2
        assert last == 0


# Updates


def stepper(world=ALONE, preset="modern", **settings):
    config = tiny_config(preset, **settings)
    ids = np.random.default_rng(3).integers(0, 37, 500).astype(np.uint16)
    return Stepper(build_model(config), config.train, Dataset(train=ids, val=ids[:50], key=""), world)


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
    ],
)
def test_several_processes_make_the_updates_of_one(parallel, size, preset, settings):
    agrees(size, preset, **BATCH | settings, parallel=parallel)
