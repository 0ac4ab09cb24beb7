"""The choice of a size: what has to hold for any list of sizes and any forecast."""

from types import SimpleNamespace

import pytest
from tiny import SMALL_RUN, refuses, write_text

from nanogpt.config import load_preset
from nanogpt.data.tokenize import tokenize
from nanogpt.errors import OutOfMemory
from nanogpt.planning import planner
from nanogpt.planning.budget import Speed, Speeds, step_operations
from nanogpt.planning.forecast import Expected, TextFeatures
from nanogpt.planning.memory import MemoryLimit
from nanogpt.planning.planner import FEWEST_COMPARED, SIZES, Planner
from nanogpt.text.corpus import load_corpus
from nanogpt.text.tokenizer import train_tokenizer

EVALUATIONS = {"final_eval_tokens": None, "eval_tokens": 32_768, "sample_tokens": 120}


def prepared(characters=20_000):
    """Return a config with a text's vocabulary, and the text's data."""
    write_text("tale.txt", characters)
    corpus = load_corpus("tale.txt")
    tokenizer = train_tokenizer("char", corpus.documents)
    return load_preset("modern").override(vocab_size=tokenizer.vocab_size), tokenize(corpus, tokenizer)


@pytest.fixture
def text():
    return prepared()


def machine(operations):
    """Return a measurement of the speed of sizes, on a machine that does `operations` per second."""

    def measure(config):
        step = step_operations(config) / operations
        return Speed(step, step / config.train.batch_sequences / config.model.block_size / 3, 1e-3)

    return measure


@pytest.fixture
def a_book(monkeypatch):
    """Take the text for a billion characters of English, which no training here reads twice."""
    book = TextFeatures(train_tokens=10**9, uniform=4.2, bigram=2.5, trigram=2.1)
    monkeypatch.setattr(planner, "measure_text", lambda train, val, vocab_size: book)


def propose(text, measure, seconds, named=(), **options):
    config, data = text
    return Planner(config, data, named, Speeds(measure), **options).propose(seconds / 60, seconds)


def test_more_time_or_a_faster_machine_never_makes_a_smaller_model(text, a_book):
    sizes = []
    for seconds in (1, 60, 1800, 10 * 3600):
        slow, fast = (propose(text, machine(operations), seconds) for operations in (3e10, 3e12))
        assert fast.parameters >= slow.parameters
        assert fast.expected.loss <= slow.expected.loss
        sizes.append(slow.parameters)
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


@pytest.mark.parametrize("seconds", [20, 60, 600])
@pytest.mark.parametrize("operations", [1e10, 1e11, 1e12])
def test_the_planned_steps_fit_and_fill_the_time(text, seconds, operations):
    found = propose(text, machine(operations), seconds)
    spent = found.steps * step_operations(found.config) / operations
    assert 0.3 * seconds < spent <= seconds


def test_the_best_forecast_is_taken(text, monkeypatch):
    wanted = SIZES[1]

    class Fixed:
        def predict(self, text, training):
            loss = 1.0 if training.block_size == wanted.block_size else 2.0 - training.tokens * 1e-12
            return Expected(loss=loss, low=0.9 * loss, high=1.1 * loss)

    monkeypatch.setattr(planner, "load_forecast", Fixed)
    assert propose(text, machine(1e13), 60).config.model.n_embd == wanted.n_embd
    assert propose(text, machine(1e13), 60).expected.loss == 1.0


def test_a_setting_that_was_named_stays(text):
    config, data = text
    chosen = propose((config.override(dropout=0.123), data), machine(1e12), 600, {"dropout"})
    assert chosen.config.model.dropout == 0.123
    assert chosen.config.model.n_layer != config.model.n_layer
    named = propose((config.override(n_layer=1), data), machine(1e12), 600, {"n_layer"})
    assert named.config.override(**EVALUATIONS) == config.override(n_layer=1, compile="off")


def test_another_preset_keeps_its_size_and_has_no_forecast(text):
    config, data = text
    other = load_preset("gpt2").override(vocab_size=config.model.vocab_size)
    found = propose((other, data), machine(1e12), 60)
    assert found.config.override(**EVALUATIONS, compile="auto") == other
    assert found.steps > 10
    assert found.expected is None


def test_a_smaller_size_is_taken_where_memory_is_short(text, a_book):
    free = propose(text, machine(1e13), 3600)
    limited = propose(text, machine(1e13), 3600, limit=MemoryLimit(0.99 * free.memory_bytes, "--memory x allows"))
    assert limited.memory_bytes < free.memory_bytes
    tiny = MemoryLimit(1e8, "--memory 0.1 allows")
    refuses(lambda: propose(text, machine(1e13), 3600, limit=tiny), "--memory 0.1 allows 0.10 GB")


def test_memory_that_runs_out_while_measuring(text):
    def measure(config):
        if config.model.block_size > fits:
            raise OutOfMemory
        return Speed(1e-4, 1e-7, 1e-3)

    fits = 64
    assert propose(text, measure, 600).config.model.block_size <= 64
    fits = 8
    refuses(lambda: propose(text, measure, 600), "out of memory", "--n-layer")


@pytest.mark.parametrize(("characters", "block"), [(300, 60), (60, 12), (20, 4)])
def test_the_block_fits_a_short_text(characters, block):
    found = propose(prepared(characters), machine(1e13), 3600)
    assert found.config.model.block_size == min(block, 32)  # the smallest size's, or shorter


def test_figures_of_a_proposal(text):
    config, data = text
    found = Planner(config.override(**SMALL_RUN), data, {"n_layer"}, Speeds(machine(1e12))).describe(config, 7)
    assert found.tokens == 7 * 16 * 64
    assert found.epochs == pytest.approx(7 * 16 * 64 / 18_001)
    assert found.minutes is None


def test_a_size_that_would_get_few_steps_is_not_compared(text, monkeypatch):
    """Even where its forecast is the best. With dropout a step takes longer, so there are fewer."""

    def prefer_large_and_dropped(self, config, steps):
        return SimpleNamespace(loss=-config.model.n_embd - config.model.dropout)

    monkeypatch.setattr(Planner, "_forecast", prefer_large_and_dropped)
    for seconds in (3, 10, 30, 100, 300):
        assert propose(text, machine(1e12), seconds).steps >= FEWEST_COMPARED


def test_dropout_for_a_text_that_is_read_often(text):
    assert propose(text, machine(1e12), 600).config.model.dropout > 0


def test_no_dropout_for_a_text_that_is_read_once(text, a_book):
    assert propose(text, machine(1e12), 60).config.model.dropout == 0


def test_sizes_grow_and_can_be_built():
    found = [load_preset("modern").override(vocab_size=67, **size.settings()).model for size in SIZES]
    assert (capacities := [model.n_layer * model.n_embd**2 for model in found]) == sorted(capacities)
    assert all(model.head_channels % 2 == 0 for model in found)
    assert SIZES[1].settings(processes=5)["batch_size"] == 20
