"""From minutes to a plan. What must hold for any list of sizes, not the sizes themselves."""

import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny import SMALL_RUN, finish, start, write_text

from nanogpt import planning
from nanogpt.batches import windows_per_epoch
from nanogpt.config import load_preset
from nanogpt.corpus import load_corpus
from nanogpt.data import prepare
from nanogpt.events import PlanEvent
from nanogpt.planning import Pace, choose_size, fit_block, seconds_per_step, steps_within
from nanogpt.tokenizer import train_tokenizer


@pytest.fixture
def text():
    """A config that fits a text, and the text's data."""
    write_text("tale.txt", 20_000)
    corpus = load_corpus("tale.txt")
    tokenizer = train_tokenizer("char", corpus.documents)
    return load_preset("modern").override(vocab_size=tokenizer.vocab_size), prepare(corpus, tokenizer)


@pytest.fixture
def machine(monkeypatch):
    """A machine that does so many multiplications a second."""

    def has(speed):
        def seconds(config, data, block=None, world=None):
            model = config.model
            size = model.n_layer * (4 * model.n_embd**2 + 3 * model.n_embd * model.hidden)
            return 6 * size * config.train.batch_sequences * model.block_size / speed

        monkeypatch.setattr(planning, "seconds_per_step", seconds)

    return has


def parameters(config):
    return config.model.n_layer * config.model.n_embd**2


def test_more_time_or_a_faster_machine_never_makes_a_smaller_model(text, machine):
    config, data = text
    sizes = []
    for seconds in (1, 10, 60, 300, 1800, 10 * 3600):
        machine(3e10)
        slow, _ = choose_size(config, data, seconds, ())
        machine(3e12)
        fast, _ = choose_size(config, data, seconds, ())
        assert parameters(fast) >= parameters(slow)
        sizes.append(parameters(slow))
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


@pytest.mark.parametrize("seconds", [20, 60, 600])
@pytest.mark.parametrize("speed", [1e10, 1e11, 1e12])
def test_the_planned_steps_fit_and_fill_the_time(text, machine, seconds, speed):
    machine(speed)
    config, steps = choose_size(*text, seconds, ())
    spent = steps * planning.seconds_per_step(config, text[1])
    assert 0.3 * seconds < spent <= seconds


def test_a_setting_that_was_named_stays(text, machine):
    machine(1e12)
    config, data = text
    chosen, _ = choose_size(config.override(learning_rate=0.123), data, 600, {"learning_rate"})
    assert chosen.train.learning_rate == 0.123
    named, _ = choose_size(config.override(n_layer=1), data, 600, {"n_layer"})
    assert named.override(final_eval_tokens=None) == config.override(n_layer=1)


def test_another_preset_keeps_its_size(text, machine):
    machine(1e12)
    config, data = text
    other = load_preset("gpt2").override(vocab_size=config.model.vocab_size)
    chosen, steps = choose_size(other, data, 60, ())
    assert chosen.override(final_eval_tokens=None, compile="auto") == other
    assert steps > 10


@pytest.mark.parametrize(("characters", "block"), [(300, 53), (60, 10), (20, 3)])
def test_the_block_fits_a_short_text(machine, characters, block):
    write_text("tale.txt", characters)
    corpus = load_corpus("tale.txt")
    tokenizer = train_tokenizer("char", corpus.documents)
    machine(1e13)
    config = load_preset("modern").override(vocab_size=tokenizer.vocab_size)
    chosen, _ = choose_size(config, prepare(corpus, tokenizer), 3600, ())
    assert chosen.model.block_size == min(block, 32)  # the smallest size's, or shorter


def test_the_longest_block_for_four_windows(text):
    config, data = text
    for tokens in (2, 5, 6, 11, 320, 321, 5000):
        short = replace(data, train=data.train[:tokens])
        block = fit_block(config, short, ()).model.block_size
        assert block == min(64, max(1, (tokens - 1) // 5))
        assert windows_per_epoch(tokens, block) >= min(4, max(1, tokens - 2))
        assert fit_block(config, short, {"block_size"}) == config


def test_there_is_always_something_to_train(text, machine):
    machine(1e3)
    _, steps = choose_size(*text, 0.01, ())
    assert steps >= 1
    assert steps_within(*text, -5.0, 1.0) >= 1


def test_more_steps_fit_into_more_time_and_fewer_beside_more_samples(text):
    config, data = text
    assert steps_within(config, data, 100, 0.01) > steps_within(config, data, 50, 0.01)
    assert steps_within(config, data, 100, 0.01) > steps_within(config, data, 100, 0.02)
    assert steps_within(config, data, 100, 0.01) > steps_within(config.override(sample_tokens=1000), data, 100, 0.01)
    assert steps_within(config, data, 100, 0.01) * 0.01 < 100


def test_a_step_is_measured_and_leaves_no_trace(text, monkeypatch):
    config, data = text
    config = config.override(**SMALL_RUN)
    ticks = iter(range(10**6))
    monkeypatch.setattr(planning.time, "perf_counter", lambda: next(ticks) * 0.25)
    assert seconds_per_step(config, data) == 0.25


# Keeping the time


class Watch:
    """A clock that only training moves, and a trainer that it moves for."""

    def __init__(self, minutes, planned, per_step, evaluation=0.0):
        self.now, self.per_step, self.evaluation = 100.0, per_step, evaluation
        self.pace = Pace(100.0, minutes, clock=lambda: self.now)
        trainer = start("run", steps=planned, sample_tokens=0)
        self.trainer = SimpleNamespace(
            state=SimpleNamespace(step=0, seconds=0.0),
            plan=trainer.plan,
            data=trainer.data,
            config=trainer.config,
            pause_seconds=[],
        )

    def run(self):
        """Steps until the plan's end; the plan's changes."""
        state, changes = self.trainer.state, []
        while state.step < self.trainer.plan.total_steps:
            seconds = self.per_step(state.step)
            state.step += 1
            state.seconds += seconds
            self.now += seconds
            if self.evaluation and state.step % round(self.trainer.plan.steps / 10) == 0:
                self.evaluate()
            steps = self.pace(self.trainer)
            if steps is not None and steps != self.trainer.plan.total_steps:
                changes.append(steps)
                self.trainer.plan = self.trainer.plan.change(state.step, max(steps, state.step))
        return changes

    def evaluate(self):
        self.now += self.evaluation
        self.trainer.pause_seconds.append(self.evaluation)


def test_a_plan_that_holds_is_left_alone():
    planned = int((60 - planning.END_SECONDS) / 0.1)
    assert Watch(1.0, planned, per_step=lambda step: 0.1).run() == []


@pytest.mark.parametrize(
    ("planned", "per_step"),
    [
        (1200, lambda step: 0.1),  # planned for a machine twice as fast
        (300, lambda step: 0.1),  # and half as fast
        (580, lambda step: 0.1 if step < 200 else 0.2),  # slows down on the way
        (580, lambda step: 0.1 if step < 200 else 0.05),
        (580, lambda step: 0.1 + 0.05 * (step % 2)),
        (10, lambda step: 9.0),
    ],
)
def test_the_time_is_kept(planned, per_step):
    watch = Watch(1.0, planned, per_step)
    changes = watch.run()
    assert changes
    assert len(changes) < 30
    assert 0.8 * 60 <= watch.now - 100.0 <= 60 + per_step(watch.trainer.state.step)


def test_the_end_of_the_time_ends_the_run():
    watch = Watch(0.1, planned=10**6, per_step=lambda step: 0.5 if step < 4 else 30.0)
    watch.run()
    assert watch.trainer.state.step == 5


@pytest.mark.parametrize("evaluation", [0.5, 2.0])
def test_evaluations_still_to_come_are_allowed_for(evaluation):
    watch = Watch(1.0, planned=580, per_step=lambda step: 0.1, evaluation=evaluation)
    watch.evaluate()  # before the first step
    watch.run()
    watch.evaluate()  # the last one
    assert 0.8 * 60 <= watch.now - 100.0 <= 60


def test_a_run_at_the_pace_of_a_clock_keeps_its_plan_and_its_progress():
    now = [0.0]
    trainer = start("run", steps=500, sample_tokens=0, eval_every=50)
    pace = Pace(0.0, 0.5, clock=lambda: now[0])

    def new_length(trainer):
        now[0] += 1.0
        trainer.state = trainer.state.__class__(**vars(trainer.state) | {"seconds": now[0]})
        return pace(trainer)

    trainer.new_length = new_length
    events = finish(trainer)
    assert 20 <= events[-1].step <= 31
    assert [event.steps for event in events if isinstance(event, PlanEvent)]
    assert trainer.plan == trainer.folder.read_plan()
    assert trainer.plan.progress(events[-1].step) == pytest.approx(1)


@pytest.mark.slow
def test_minutes_count_from_enter_to_the_last_line():
    write_text("tale.txt", 20_000)
    began = time.monotonic()
    command = [sys.executable, "-m", "nanogpt", "train", "tale.txt", "--minutes", "0.4"]
    subprocess.run(command, check=True, capture_output=True)
    assert 0.6 * 24 <= time.monotonic() - began <= 1.25 * 24
