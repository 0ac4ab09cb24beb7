"""From minutes to a plan. What must hold for any list of sizes, not the sizes themselves."""

from dataclasses import replace

import pytest
from tiny import SMALL_RUN, write_text

from nanogpt.batches import windows_per_epoch
from nanogpt.config import load_preset
from nanogpt.corpus import load_corpus
from nanogpt.data import prepare
from nanogpt.planning import choice, speed
from nanogpt.planning.choice import choose_size
from nanogpt.planning.short_texts import fit_block
from nanogpt.planning.speed import seconds_per_step, steps_within
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

        monkeypatch.setattr(choice, "seconds_per_step", seconds)

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
    spent = steps * choice.seconds_per_step(config, text[1])
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
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(ticks) * 0.25)
    assert seconds_per_step(config, data) == 0.25
