"""`nanogpt.plan`: what would be trained, and nothing is."""

from pathlib import Path

import pytest
from nanogpt.training.outlook import plan
from tiny import SMALL_RUN, refuses, write_text

import nanogpt
from nanogpt.planning.planner import Planner
from nanogpt.planning.speed import Speed, step_operations
from nanogpt.text.corpus import Corpus
from nanogpt.training import speed


@pytest.fixture
def machine(monkeypatch):
    """One that does 10^11 operations a second; tells what was measured."""
    measured = []

    def measure(config, data, block, world):
        measured.append(config.model.n_embd * config.model.block_size)
        return Speed(step_operations(config) / 1e11, 1e-5, 1e-3)

    monkeypatch.setattr(speed, "measure_speed", measure)
    return measured


def test_a_proposal_for_each_of_some_minutes(machine):
    write_text("tale.txt", 50_000)
    found = plan("tale.txt", minutes=[0.5, 20, 3], progress=False)
    assert [one.minutes for one in found] == [0.5, 20, 3]
    steps = {one.minutes: one.tokens for one in found}
    assert steps[0.5] < steps[3] < steps[20]
    assert len(measured := machine) == len(set(measured))  # each size once
    assert not Path("runs").exists()


def test_of_a_text_in_memory(machine):
    write_text("tale.txt", 50_000)
    memory = Corpus.of_texts(Path("tale.txt").read_text(encoding="utf-8"))
    (one,), (other,) = (plan(text, minutes=[1], progress=False) for text in (memory, "tale.txt"))
    assert (one.config.model, one.train_tokens) == (other.config.model, other.train_tokens)


def test_it_is_what_a_training_would_do(machine, monkeypatch):
    write_text("tale.txt", 50_000)
    (proposed,) = nanogpt.plan("tale.txt", minutes=[2], progress=False, dropout=0.1)
    chosen = []
    monkeypatch.setattr(
        Planner, "propose", lambda self, *given, propose=Planner.propose: chosen.append(propose(self, *given)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        nanogpt.train("tale.txt", minutes=2, progress=False, dropout=0.1)
    assert chosen[0].config == proposed.config
    assert chosen[0].steps == pytest.approx(proposed.steps, rel=0.05)


def test_a_training_and_its_plan_prepare_the_process(machine, monkeypatch):
    prepared = []
    monkeypatch.setattr("nanogpt.training.outlook.keep_freed_memory", lambda: prepared.append("plan"))
    monkeypatch.setattr("nanogpt.training.launch.keep_freed_memory", lambda: prepared.append("train"))
    write_text("tale.txt", 1009)
    nanogpt.plan("tale.txt", minutes=[2], progress=False)
    nanogpt.train("tale.txt", steps=2, progress=False, **SMALL_RUN)
    assert prepared == ["plan", "train"]


def test_time_that_is_gone_by_then_counts(machine):
    import time

    write_text("tale.txt", 50_000)
    now, late = (plan("tale.txt", minutes=[1], progress=False, started=time.monotonic() - gone)[0] for gone in (0, 40))
    assert late.steps < 0.5 * now.steps


def test_settings_and_memory(machine):
    write_text("tale.txt", 50_000)
    found = plan("tale.txt", minutes=[1, 60], memory=0.5, n_layer=1, progress=False)
    assert {one.config.model.n_layer for one in found} == {1}
    assert all(one.memory_bytes < 0.5e9 for one in found)
    refuses(lambda: plan("tale.txt", memory=0.1, progress=False), "--memory 0.1 allows")


@pytest.mark.parametrize("minutes", [[], [1, 0], [-1], [1, float("inf")]])
def test_minutes_that_are_none(minutes):
    write_text()
    refuses(lambda: plan("tale.txt", minutes=minutes), "minutes")
