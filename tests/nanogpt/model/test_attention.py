"""Attention in pieces against the formula, its gradients against torch's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nanogpt.model import attention
from nanogpt.model.attention import attend, is_ours_faster
from nanogpt.model.dropout import hash_elements, keep_bits

B, H, T, D = 5, 3, 11, 7
KEYS = torch.tensor([2, 3, 5, 7, 11], dtype=torch.int32)


def tensors(dtype=torch.float64, T=T, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, H, T, D, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)]


def reference(q, k, v, *, seen=None, share=0.0, keys=KEYS):
    """Equation 1 of the paper, in one piece; which weights stay as `keep_bits` says."""
    T = q.size(2)
    seen = torch.ones(T, T, dtype=torch.bool).tril() if seen is None else seen
    weights = (q @ k.mT / math.sqrt(q.size(-1))).masked_fill(~seen, -torch.inf).softmax(-1)  # (B, H, T, T)
    if share:
        rows = hash_elements(keys, q.size(1) * T).view(q.shape[:3])
        weights = weights * keep_bits(rows, T, share).ne(0) / (1 - share)
    return weights @ v


def ours(q, k, v, *, seen=None, share=0.0, keys=KEYS):
    """`attend`, where it is not left to torch."""
    return attention._Attend.apply(q, k, v, seen, share, keys if share else None)


def both_ways(function, q, k, v, dy, **arguments):
    """The result and the three gradients."""
    leaves = [t.detach().clone().requires_grad_() for t in (q, k, v)]
    y = function(*leaves, **arguments)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def documents(T=T):
    """Which keys each position may see where a second document begins at another place in each sample: (B, 1, T, T)."""
    starts = torch.arange(B)[:, None] * 2 + 1
    number = (torch.arange(T) >= starts).long()  # (B, T)
    return ((number[:, :, None] == number[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril())[:, None]


@pytest.fixture(params=[(1 << 20, 64), (2 * H * 4 * T, 4), (1, 3)], ids=["whole", "pieces", "smallest"])
def pieces(request, monkeypatch):
    weights, queries = request.param
    monkeypatch.setattr(attention, "PIECE_WEIGHTS", weights)
    monkeypatch.setattr(attention, "PIECE_QUERIES", queries)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_formula(share, masked):
    seen = documents() if masked else None
    *qkv, dy = tensors()
    for found, expected in zip(
        both_ways(ours, *qkv, dy, seen=seen, share=share, keys=KEYS),
        both_ways(reference, *qkv, dy, seen=seen, share=share),
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_gradients_by_differences(share):
    q, k, v, _ = (t[:2, :, :5, :2].clone().requires_grad_() for t in tensors())
    assert torch.autograd.gradcheck(lambda *qkv: attention._Attend.apply(*qkv, None, share, KEYS[:2]), (q, k, v))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_it_is_the_formula_in_other_number_formats(dtype, share):
    """As exact as the formula computed in the same format, within a factor."""
    *qkv, dy = tensors(dtype)
    exact = both_ways(reference, *(t.double() for t in (*qkv, dy)), share=share)
    found = both_ways(ours, *qkv, dy, share=share, keys=KEYS)
    for one, truth, plain in zip(found, exact, both_ways(reference, *qkv, dy, share=share)):
        assert one.dtype == dtype
        error, of_plain = ((t.double() - truth).norm() / truth.norm() for t in (one, plain))
        assert error < 2 * of_plain + 1e-7


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 19), st.integers(1, 9), st.integers(1, 5), st.sampled_from([0.0, 0.2]))
def test_pieces_change_nothing(length, queries, samples, share):
    *qkv, dy = tensors(T=length)
    expected = both_ways(ours, *qkv, dy, share=share, keys=KEYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "PIECE_QUERIES", queries)
        patch.setattr(attention, "PIECE_WEIGHTS", samples * H * queries * length)
        for one, other in zip(both_ways(ours, *qkv, dy, share=share, keys=KEYS), expected):
            torch.testing.assert_close(one, other)


def test_a_sample_does_not_depend_on_the_others():
    *qkv, dy = tensors()
    together = both_ways(ours, *qkv, dy, share=0.3, keys=KEYS)
    alone = both_ways(ours, *(t[2:3] for t in (*qkv, dy)), share=0.3, keys=KEYS[2:3])
    for one, all_ in zip(alone, together):
        torch.testing.assert_close(one, all_[2:3])


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_are_one_function(share, dtype):
    *qkv, dy = tensors(dtype)
    for one, other in zip(both_ways(attend, *qkv, dy, share=share, keys=KEYS), both_ways(ours, *qkv, dy, share=share)):
        torch.testing.assert_close(one, other)


def test_which_way_is_taken():
    q = torch.randn(2, 3, 5, 7)
    assert not is_ours_faster(q.clone().requires_grad_())
    q = q.bfloat16()
    assert not is_ours_faster(q)  # nothing is learned
    assert is_ours_faster(q.requires_grad_())
    with torch.no_grad():
        assert not is_ours_faster(q)


def test_without_gradients_it_is_torchs(monkeypatch):
    seen = []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *args, **options: seen.append(options) or args[0])
    attend(*tensors()[:3])
    assert seen == [{"attn_mask": None, "is_causal": True}]


def test_what_is_kept_is_about_half_of_the_weights():
    """And neither masks nor scores."""
    q, k, v = (torch.randn(1, 1, 512, 2, requires_grad=True) for _ in range(3))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        attention._Attend.apply(q, k, v, None, 0.2, KEYS[:1])
    assert sum(kept) < 0.65 * 512 * 512


@pytest.mark.slow
def test_it_compiles():
    *qkv, dy = (t.float() for t in tensors())
    expected = both_ways(attend, *qkv, dy, share=0.3, keys=KEYS)
    for one, other in zip(both_ways(torch.compile(attend), *qkv, dy, share=0.3, keys=KEYS), expected):
        torch.testing.assert_close(one, other)


def test_what_was_not_written_is_never_read(monkeypatch):
    """Up to torch 2.13 Apple's GPUs multiply a summand by beta also where beta is 0, and 0 times NaN is NaN."""
    *qkv, dy = tensors()
    expected = both_ways(ours, *qkv, dy, share=0.3)
    monkeypatch.setattr(torch, "baddbmm", lambda summand, a, b, *, beta, alpha: beta * summand + alpha * a.bmm(b))
    torch.use_deterministic_algorithms(True)  # new memory is filled with NaN
    try:
        found = both_ways(ours, *qkv, dy, share=0.3)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


def test_a_second_derivative_is_refused():
    """The backward pass leaves out how it depends on its inputs: the number would be wrong without a word."""
    q, k, v, dy = (t.requires_grad_() for t in tensors())
    (dq,) = torch.autograd.grad(ours(q, k, v), q, dy, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dq.square().sum().backward()
