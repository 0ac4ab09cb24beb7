"""Causal attention, and its dropout, whose masks belong to samples.

On a CPU the work is done in pieces whose attention weights stay in the processor's cache, most of what no
query may see is not computed, and the backward pass is written by hand. torch's fused function is used where it is
faster.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from nanogpt.model.dropout import hash_elements, keep_bits, mask_out

PIECE_WEIGHTS = 1 << 20
"""Attention weights in one piece, at most: 2 MB in bfloat16, which two cores have in their second-level caches."""
PIECE_QUERIES = 64
"""Queries in one piece. Fewer of them spare more products with the future, and make those that are left slower."""
NEVER = -1e30
"""Added to the score of what is not to be seen: its weight is 0 in every number format."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, seen: Tensor | None = None, share: float = 0.0, keys: Tensor | None = None
) -> Tensor:
    """dropout(softmax(q k' / sqrt(D))) v, every position seeing itself and those before: three (B, H, T, D) -> same.

    Vaswani et al. 2017, equation 1. Where not all of that is to be seen, `seen` (B, 1, T, T) says what is. A `share` of
    the weights is dropped, by `keys` (B,), one for each sample.
    """
    if not share and not is_ours_faster(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None)
    y: Tensor = _Attend.apply(q, k, v, seen, share, keys if share else None)
    return y


def is_ours_faster(q: Tensor) -> bool:
    """Whether attention without dropout is, forward and backward: in training in bfloat16 on a CPU.

    There it takes half to a fifth of the time of torch's. In float32 the two are about as fast.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.requires_grad and torch.is_grad_enabled()


class _Attend(torch.autograd.Function):
    """With S = q k' / sqrt(D), P = softmax(S), and M what dropout keeps of it, over 1 - share: y = (P M) v, and

    dv = (P M)' dy,  dP = (dy v') M,  dS = P (dP - rowsum(dP P)),  dq = dS k / sqrt(D),  dk = dS' q / sqrt(D).

    M's denominator is left to the products, which scale their results at no cost.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, share: float, keys: Tensor | None
    ) -> Tensor:
        y, rows, weights = _empty_like(q), _row_keys(q, keys), []
        with torch.autocast(q.device.type, enabled=False):
            for samples in _samples(q):
                q_, k_, v_ = (_matrices(t, samples) for t in (q, k, v))  # each (N, T, D)
                part = torch.empty_like(q_)
                for queries, past in _queries(q):
                    scores = _product(q_[:, queries], k_[:, past].mT, q.size(-1) ** -0.5)  # (N, t, s)
                    weights.append(torch.softmax(_hide(scores, seen, samples, queries), -1))
                    kept = _mask(rows, share, samples, queries)(weights[-1])
                    part[:, queries] = _product(kept, v_[:, past], 1 / (1 - share))
                y[samples] = part.view(-1, *q.shape[1:])
        ctx.save_for_backward(q, k, v, keys, *weights)
        ctx.share = share
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, keys, *weights = ctx.saved_tensors
        gradients = dq, dk, dv = [_empty_like(t) for t in (q, k, v)]
        rows, scale = _row_keys(q, keys), 1 / (1 - ctx.share)
        weights = iter(weights)
        with torch.autocast(q.device.type, enabled=False):
            for samples in _samples(q):
                q_, k_, v_, dy = (_matrices(t, samples) for t in (q, k, v, grads[0]))  # each (N, T, D)
                dq_, dk_, dv_ = torch.empty_like(q_), torch.zeros_like(k_), torch.zeros_like(v_)
                for queries, past in _queries(q):
                    p, mask = next(weights), _mask(rows, ctx.share, samples, queries)
                    dv_[:, past] += _product(mask(p).mT, dy[:, queries], scale)
                    dp = mask(dy[:, queries].bmm(v_[:, past].mT))  # (N, t, s)
                    ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
                    dq_[:, queries] = _product(ds, k_[:, past], scale * q.size(-1) ** -0.5)
                    dk_[:, past] += _product(ds.mT, q_[:, queries], scale * q.size(-1) ** -0.5)
                for whole, part in zip(gradients, (dq_, dk_, dv_)):
                    whole[samples] = part.view(-1, *q.shape[1:])
        return dq, dk, dv, None, None, None


def _samples(q: Tensor) -> Iterator[slice]:
    """The samples of q (B, H, T, D), as many together as one piece may have."""
    B, H, T, _ = q.shape
    many = max(1, PIECE_WEIGHTS // (H * min(T, PIECE_QUERIES) * T)) if q.device.type == "cpu" else B
    return (slice(first, min(B, first + many)) for first in range(0, B, many))


def _queries(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """The queries of a piece, and the keys up to the last of them."""
    T = q.size(2)
    for first in range(0, T, PIECE_QUERIES):
        end = min(T, first + PIECE_QUERIES)
        yield slice(first, end), slice(0, end)


def _matrices(x: Tensor, samples: slice) -> Tensor:
    """Some samples of x (B, H, T, D), a matrix for each of their heads: (N, T, D)."""
    return x[samples].flatten(0, 1).contiguous()


def _empty_like(x: Tensor) -> Tensor:
    """(B, H, T, D), laid out as (B, T, H, D): a projection's product reads it, or wrote it, without a copy."""
    return x.new_empty(x.size(0), x.size(2), x.size(1), x.size(3)).transpose(1, 2)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale a b, of batches of matrices (N, i, j) and (N, j, k): (N, i, k)."""
    # Zeros, though beta says that they are not read: up to torch 2.13 Apple's GPUs read them (pytorch 187521).
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=scale)


def _hide(scores: Tensor, seen: Tensor | None, samples: slice, queries: slice) -> Tensor:
    """A piece's scores (N, t, s), changed in place to NEVER where a query may not look."""
    if seen is not None:
        never = seen[samples, :, queries, : queries.stop].to(scores.dtype).sub_(1).mul_(-NEVER)  # (n, 1, t, s)
        scores.view(never.size(0), -1, *never.shape[2:]).add_(never)
        return scores
    t = queries.stop - queries.start
    scores[..., queries.start :] += scores.new_full((t, t), NEVER).triu_(1)  # all of them may look further back
    return scores


def _row_keys(q: Tensor, keys: Tensor | None) -> Tensor | None:
    """A key for each query of each head (B, H, T), from the samples' (B,): with it a mask does not depend on pieces."""
    B, H, T, _ = q.shape
    return None if keys is None else hash_elements(keys, H * T).view(B, H, T)


def _mask(rows: Tensor | None, share: float, samples: slice, queries: slice) -> Callable[[Tensor], Tensor]:
    """Sets to zero what is dropped of a piece's weights: (N, t, s) -> the same."""
    if rows is None:
        return lambda weights: weights
    bits = keep_bits(rows[samples, :, queries].flatten(0, 1), queries.stop, share)  # (N, t, s)
    return lambda weights: mask_out(weights, bits)
