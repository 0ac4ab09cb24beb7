"""Compile where it saves more than it takes."""

import pytest
import torch
from tiny import tiny_config

from nanogpt.planning import compiling
from nanogpt.planning.compiling import SECONDS, with_compile
from nanogpt.planning.speed import Speed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def compiler(monkeypatch):
    monkeypatch.setattr(compiling, "has_compiler", lambda: True)


@pytest.mark.parametrize(
    ("seconds", "step", "chosen"), [(60, 0.1, "off"), (1800, 0.1, "off"), (3600, 3.0, "on"), (3600, 0.1, "on")]
)
def test_it_follows_from_the_time(seconds, step, chosen):
    config, taken, speed = with_compile(tiny_config(), seconds, Speed(step, 1e-5, 1e-3), CPU)
    assert config.train.compile == chosen
    assert taken == (SECONDS if chosen == "on" else 0.0)
    assert (speed.step < step) == (chosen == "on")


def test_without_a_compiler_it_is_left(monkeypatch):
    monkeypatch.setattr(compiling, "has_compiler", lambda: False)
    assert with_compile(tiny_config(), 3600, Speed(0.1, 1e-5, 1e-3), CPU)[0].train.compile == "off"


@pytest.mark.parametrize("mode", ["on", "off"])
def test_what_was_named_stays(mode):
    config = tiny_config(compile=mode)
    assert with_compile(config, 60, Speed(0.1, 1e-5, 1e-3), CPU)[0] == config
    assert with_compile(config, 36_000, Speed(0.1, 1e-5, 1e-3), CPU)[0] == config


def test_on_a_gpu_short_trainings_go_without():
    for seconds, mode in ((300, "off"), (900, "auto")):
        assert with_compile(tiny_config(), seconds, Speed(1, 1, 1), torch.device("cuda"))[0].train.compile == mode


def test_a_compiler_is_looked_for(monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert not compiling.has_compiler()
    monkeypatch.setenv("CXX", "mine")
    assert compiling.has_compiler()
