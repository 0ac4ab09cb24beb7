"""Blockwise attention: equal to its reference whatever the blocks, and used where it is the faster."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import assert_as_exact, kept_for_backward, refuses_second_derivative, with_gradients
from tiny import tiny_config
from torch.nn import functional as F

from nanogpt.model import attention
from nanogpt.model.attention import attention_reference, blockwise_attention
from nanogpt.model.dropout import Dropout, hash_elements, keep_bits
from nanogpt.model.gpt import Attention

B, H, T, D = 5, 3, 11, 7
KEYS = torch.tensor([2, 3, 5, 7, 11], dtype=torch.int32)


def qkv(T=T, B=B):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(B, H, T, D, generator=generator, dtype=torch.float64) for _ in range(3)]


def causal(T):
    return torch.ones(T, T, dtype=torch.bool).tril()


def documents(T):
    """Which keys each query sees where a second document starts at another position in each sample, (B, 1, T, T)."""
    number = torch.arange(T) >= torch.arange(B)[:, None] * 2 + 1  # (B, T)
    return ((number[:, :, None] == number[:, None, :]) & causal(T))[:, None]


def fast(p=0.0, mask=None, keys=KEYS):
    dropout = Dropout(p)
    dropout.keys = keys
    return lambda q, k, v: blockwise_attention(q, k, v, mask, dropout if p else None)


def plain(p=0.0, mask=None):
    def call(q, k, v):
        rows = hash_elements(KEYS, H * q.size(2)).view(q.shape[:3])
        keep = keep_bits(rows, q.size(2), p).ne(0).to(q.dtype) if p else 1.0
        return attention_reference(q, k, v, causal(q.size(2)) if mask is None else mask, keep) / (1 - p)

    return call


@settings(max_examples=40)
@given(
    length=st.integers(1, 19),
    queries=st.integers(1, 9),
    samples=st.integers(0, 5),
    p=st.sampled_from([0.0, 0.3]),
    masked=st.booleans(),
)
def test_it_equals_the_reference_whatever_the_blocks(length, queries, samples, p, masked):
    mask = documents(length) if masked else None
    expected = with_gradients(plain(p, mask), qkv(length))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK_QUERIES", queries)
        patch.setattr(attention, "BLOCK_WEIGHTS", samples * H * min(queries, length) * length)
        torch.testing.assert_close(with_gradients(fast(p, mask), qkv(length)), expected)


def test_the_reference_is_torchs():
    y = F.scaled_dot_product_attention(*qkv(), is_causal=True)
    torch.testing.assert_close(plain()(*qkv()), y)
    torch.testing.assert_close(fast()(*qkv(70)), F.scaled_dot_product_attention(*qkv(70), is_causal=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_number_formats(dtype, p):
    assert assert_as_exact(fast(p), plain(p), qkv(), [dtype] * 3)[0].dtype == dtype


def test_blocks_by_hand():
    q = torch.empty(23, 6, 256, 64, device="meta")
    assert [*attention._query_blocks(q[:, :, :130])] == [
        (slice(0, 64), slice(0, 64)), (slice(64, 128), slice(0, 128)), (slice(128, 130), slice(0, 130)),
    ]  # fmt: skip
    assert [*attention._sample_blocks(q)] == [slice(0, 23)]  # a GPU takes all at once
    q = torch.empty(23, 6, 256, 1)  # 2^20 weights // (6 heads x 64 queries x 256 keys) = 10 samples
    assert [*attention._sample_blocks(q)] == [slice(0, 10), slice(10, 20), slice(20, 23)]
    assert len([*attention._sample_blocks(q[:, :, :32])]) == 1


@pytest.mark.parametrize(
    ("dtype", "learns", "dropout", "chosen"),
    [
        (torch.float32, True, 0.0, False),
        (torch.float32, True, 0.2, True),
        (torch.float32, False, 0.2, False),  # in evaluation
        (torch.bfloat16, True, 0.0, True),
        (torch.bfloat16, False, 0.0, False),
    ],
)
def test_a_model_uses_it_where_it_is_faster(dtype, learns, dropout, chosen, monkeypatch):
    calls = []
    monkeypatch.setattr(attention, "blockwise_attention", lambda q, k, v, *rest: calls.append(rest) or v)
    layer = Attention(tiny_config(attention_dropout=dropout).model).train(learns)
    q, k, v = (t.to(dtype).requires_grad_(learns) for t in qkv())
    y = layer.attend(q, k, v)
    assert calls == ([(None, layer.dropout if dropout else None)] if chosen else [])
    if not chosen:
        torch.testing.assert_close(y, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    with torch.no_grad():
        layer.eval().attend(q, k, v)
    assert len(calls) == chosen


def test_about_half_of_the_weights_are_kept_and_neither_masks_nor_scores():
    q, k, v = (torch.randn(1, H, 512, 2, requires_grad=True) for _ in range(3))
    kept = kept_for_backward(lambda: fast(0.2, keys=KEYS[:1])(q, k, v))
    assert sum(t.numel() for t in kept) < 0.65 * H * 512 * 512


def test_memory_that_was_not_written_is_never_read(monkeypatch):
    """Up to torch 2.13 Apple's GPUs multiply a summand by beta also where beta is 0, and 0 times NaN is NaN."""
    expected = with_gradients(fast(0.3), qkv())
    monkeypatch.setattr(torch, "baddbmm", lambda summand, a, b, *, beta, alpha: beta * summand + alpha * a.bmm(b))
    torch._C._set_deterministic_algorithms(True)  # new memory is filled with NaN; the public call imports inductor
    try:
        found = with_gradients(fast(0.3), qkv())
    finally:
        torch._C._set_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected)


def test_no_second_derivative():
    q, k, v = qkv()
    refuses_second_derivative(lambda q: fast()(q, k, v), q)


@pytest.mark.slow
def test_it_compiles():
    inputs = [t.float() for t in qkv()]
    torch.testing.assert_close(with_gradients(torch.compile(fast(0.3)), inputs), with_gradients(fast(0.3), inputs))
