"""The whole split, and nanoGPT's protocol, against a loop over tokens."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import BLOCK, refuses, tiny_model, token_ids

from nanogpt.evaluation import loss, random_batches
from nanogpt.evaluation.loss import evaluate, measure_windows
from nanogpt.evaluation.random_batches import estimate_like_nanogpt
from nanogpt.parallel.world import World
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer

LETTERS = CharTokenizer("abcdefghijklmnopqrstuvwxyz0123456789")  # 36, and the end of a document


def ids_of(length, seed=3):
    return token_ids(length, seed=seed).numpy().astype(np.uint16)


def by_hand(model, ids, starts):
    """Return the loss of each token but a window's first, one forward pass each."""
    losses = []
    for start in starts:
        for i in range(start + 1, min(start + BLOCK, len(ids) - 1) + 1):
            context = torch.from_numpy(ids[start:i].astype(np.int64))[None]
            losses.append(-model(context)[0, -1].log_softmax(-1)[int(ids[i])].item())
    return losses


@pytest.mark.parametrize("length", [2, BLOCK, BLOCK + 1, BLOCK + 2, 5 * BLOCK + 1, 5 * BLOCK + 4])
def test_the_whole_split_is_every_token_but_the_first_once(length):
    model, ids = tiny_model(), ids_of(length)
    losses = by_hand(model, ids, range(0, length - 1, BLOCK))
    found = evaluate(model, ids, LETTERS)
    assert found.tokens == len(losses) == length - 1
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(sum(losses) / math.log(2) / (ids[1:] < 36).sum(), rel=1e-5)
    assert found.protocol == f"whole split, {length - 1} tokens in consecutive windows of {BLOCK}"


def test_the_size_of_a_batch_does_not_matter(monkeypatch):
    model, ids = tiny_model(), ids_of(20 * BLOCK + 5)
    together = evaluate(model, ids, LETTERS)
    monkeypatch.setattr(loss, "TOKENS_AT_ONCE", 3 * BLOCK)
    apart = evaluate(model, ids, LETTERS)
    assert apart.loss == pytest.approx(together.loss, rel=1e-6)
    assert (apart.tokens, apart.protocol) == (together.tokens, together.protocol)


@pytest.mark.parametrize("batches", range(1, 8))
def test_every_process_calls_the_model_equally_often(monkeypatch, batches):
    """A sharded model needs all of them in every call."""
    calls = []
    monkeypatch.setattr(loss, "TOKENS_AT_ONCE", BLOCK)
    monkeypatch.setattr(loss, "window_losses", lambda model, rows: calls.append(rank) or np.zeros(len(rows)))
    for rank in range(3):
        measure_windows(tiny_model(), ids_of(batches * BLOCK + 1), LETTERS, world=World(rank=rank, size=3))
    assert [calls.count(rank) for rank in range(3)] == [math.ceil(batches / 3)] * 3


def test_a_subset_is_windows_evenly_spaced():
    model, ids = tiny_model(), ids_of(9 * BLOCK + 1)
    found = evaluate(model, ids, LETTERS, max_tokens=3 * BLOCK)
    losses = by_hand(model, ids, [0, 4 * BLOCK, 8 * BLOCK])
    assert found.tokens == 3 * BLOCK
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.protocol == f"3 of 9 windows of {BLOCK}, evenly spaced"


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 150), st.integers(1, 160))
@example(12, 1)  # one window, which is all there is
@example(13, 11)
def test_the_protocol_is_named_whole_where_it_is(length, max_tokens):
    found = evaluate(tiny_model(), ids_of(length), LETTERS, max_tokens=max_tokens)
    assert found.protocol.startswith("whole split") == (found.tokens == length - 1)
    assert found.tokens <= max(max_tokens, BLOCK)


def test_bits_per_byte_by_hand_for_characters():
    tokenizer = CharTokenizer("aé中😀")
    text = "aé中😀中a"
    model = tiny_model(vocab_size=tokenizer.vocab_size)
    found = evaluate(model, tokenizer.encode(text), tokenizer)
    nats = sum(by_hand(model, tokenizer.encode(text), [0]))
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / len("é中😀中a".encode()), rel=1e-5)


@pytest.mark.parametrize(
    ("tokenizer", "ids", "tokens_per_byte"),
    [
        (ByteTokenizer(), ByteTokenizer().encode("né中"), 1),
        (CharTokenizer("ab"), np.array([0, 1, 2, 1]), 3 / 2),  # the end of a document has no bytes
    ],
)
def test_bits_per_byte_from_the_loss(tokenizer, ids, tokens_per_byte):
    found = evaluate(tiny_model(vocab_size=tokenizer.vocab_size), ids, tokenizer)
    assert found.bits_per_byte == pytest.approx(found.loss * tokens_per_byte / math.log(2), rel=1e-6)


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict(length):
    refuses(lambda: evaluate(tiny_model(), ids_of(length), LETTERS), f"{length} token")


@pytest.mark.parametrize("training", [False, True])
def test_dropout_is_off_and_the_models_mode_is_restored(training):
    model, ids = tiny_model("gpt2", dropout=0.5).train(training), ids_of(50)
    found = evaluate(model, ids, LETTERS)
    assert found == evaluate(model, ids, LETTERS)
    assert model.training == training
    assert model.lm_head.weight.grad is None


def test_the_models_mode_is_restored_after_an_error(monkeypatch):
    model = tiny_model().train()
    monkeypatch.setattr(loss.F, "cross_entropy", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, ids_of(50), LETTERS)
    assert model.training


def test_the_loss_is_in_float32():
    model, ids = tiny_model(), ids_of(200)
    expected = evaluate(model, ids, LETTERS)
    assert expected.loss == pytest.approx(evaluate(model.double(), ids, LETTERS).loss, rel=1e-5)


def test_window_by_window():
    model, ids = tiny_model(), ids_of(4 * BLOCK + 6)
    seen = []
    found = measure_windows(model, ids, LETTERS, on_progress=seen.append)
    assert found.tokens.tolist() == [BLOCK] * 4 + [5]
    for number, start in enumerate(range(0, 4 * BLOCK + 5, BLOCK)):
        assert found.nats[number] == pytest.approx(sum(by_hand(model, ids, [start])), rel=1e-5)
        assert found.text_bytes[number] == (ids[start + 1 : start + 1 + BLOCK] < 36).sum()
    assert seen == [4 * BLOCK, 5]
    assert found.evaluation() == evaluate(model, ids, LETTERS)


def test_nanogpts_protocol_is_windows_from_anywhere(monkeypatch):
    monkeypatch.setattr(random_batches, "BATCHES", 50)
    model, ids = tiny_model(), ids_of(BLOCK + 4)
    every = [np.mean(by_hand(model, ids[start : start + BLOCK + 1], [0])) for start in range(4)]
    seen = []
    found = estimate_like_nanogpt(model, ids, 3, seed=5, on_progress=seen.append)
    assert sum(seen) == 50 * 3 * BLOCK
    assert found.loss == pytest.approx(np.mean(every), abs=4 * found.standard_error)
    assert found.standard_error == pytest.approx(np.std(every) / math.sqrt(150), rel=0.2)
    assert found.protocol == f"50 random batches of 3 windows of {BLOCK}, as nanoGPT, seed 5"
    assert found == estimate_like_nanogpt(model, ids, 3, seed=5)
    assert found.loss != estimate_like_nanogpt(model, ids, 3, seed=6).loss


def test_nanogpts_protocol_needs_more_than_one_window():
    refuses(lambda: estimate_like_nanogpt(tiny_model(), ids_of(BLOCK + 1), 3, seed=5), f"{BLOCK + 1} tokens")
