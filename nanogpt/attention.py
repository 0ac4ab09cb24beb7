"""Causal attention, and its dropout, whose masks belong to samples.

In training on a CPU the work is done in pieces whose attention weights stay in the processor's cache, most of what no
query may see is not computed, and the backward pass is written by hand. torch's fused function is used where it is
faster.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nanogpt.dropout import hash_elements, keep_bits, mask_out

PIECE_WEIGHTS = 1 << 19
"""Attention weights in one piece, at most: 1 MB in bfloat16, in the second-level caches of two cores."""
PIECE_QUERIES = 128
"""Queries in one piece. Fewer of them spare more products with the future, and make those that are left slower."""
NEVER = -1e30
"""Added to the score of what is not to be seen: its weight is 0 in every number format."""

Piece = tuple[slice, slice, slice]
"""Samples, their queries, and the keys up to the last of these."""


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
    """Whether attention without dropout is: in training on a CPU, in bfloat16 or with few queries."""
    trains = q.requires_grad and torch.is_grad_enabled()
    return trains and q.device.type == "cpu" and (q.dtype == torch.bfloat16 or q.size(2) <= PIECE_QUERIES)


class _Attend(torch.autograd.Function):
    """With S = q k' / sqrt(D), P = softmax(S), and M what dropout keeps of it, over 1 - share: y = (P M) v, and

    dv = (P M)' dy,  dP = (dy v') M,  dS = P (dP - rowsum(dP P)),  dq = dS k / sqrt(D),  dk = dS' q / sqrt(D).

    M's denominator is left to the products, which scale their results at no cost.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, share: float, keys: Tensor | None
    ) -> Tensor:
        y, rows, weights = _zeros_like(q), _row_keys(q, keys), []
        with torch.autocast(q.device.type, enabled=False):
            for piece in _pieces(q):
                samples, queries, past = piece
                q_, k_, v_ = _heads(q, samples, queries), _heads(k, samples, past), _heads(v, samples, past)
                scores = _product(q_, k_.mT, q.size(-1) ** -0.5, _unseen(q, seen, piece))  # (N, t, s)
                weights.append(torch.softmax(scores, -1))
                _add(y, samples, queries, _product(_mask(rows, share, piece)(weights[-1]), v_, 1 / (1 - share)))
        ctx.save_for_backward(q, k, v, keys, *weights)
        ctx.share = share
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, keys, *weights = ctx.saved_tensors
        dq, dk, dv = _zeros_like(q), _zeros_like(k), _zeros_like(v)
        rows, scale = _row_keys(q, keys), 1 / (1 - ctx.share)
        with torch.autocast(q.device.type, enabled=False):
            for piece, p in zip(_pieces(q), weights):
                samples, queries, past = piece
                q_, k_, v_ = _heads(q, samples, queries), _heads(k, samples, past), _heads(v, samples, past)
                dy = _heads(grads[0], samples, queries)  # (N, t, D)
                lay = _mask(rows, ctx.share, piece)
                _add(dv, samples, past, _product(lay(p).mT, dy, scale))
                dp = lay(dy.bmm(v_.mT))  # (N, t, s)
                ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
                _add(dq, samples, queries, _product(ds, k_, scale * q.size(-1) ** -0.5))
                _add(dk, samples, past, _product(ds.mT, q_, scale * q.size(-1) ** -0.5))
        return dq, dk, dv, None, None, None


def _row_keys(q: Tensor, keys: Tensor | None) -> Tensor | None:
    """A key for each query of each head (B, H, T), from the samples' (B,): with it a mask does not depend on pieces."""
    B, H, T, _ = q.shape
    return None if keys is None else hash_elements(keys, H * T).view(B, H, T)


def _mask(rows: Tensor | None, share: float, piece: Piece) -> Callable[[Tensor], Tensor]:
    """Sets to zero what is dropped of a piece's weights: (N, t, s) -> the same."""
    if rows is None:
        return lambda weights: weights
    samples, queries, past = piece
    bits = keep_bits(rows[samples, :, queries].flatten(0, 1), past.stop, share)  # (N, t, s)
    return lambda weights: mask_out(weights, bits)


def _pieces(q: Tensor) -> Iterator[Piece]:
    """All of the samples and queries of q (B, H, T, D), by pieces."""
    B, H, T, _ = q.shape
    rows = min(T, PIECE_QUERIES)
    many = max(1, PIECE_WEIGHTS // (H * rows * T)) if q.device.type == "cpu" else B
    for sample in range(0, B, many):
        for query in range(0, T, rows):
            end = min(T, query + rows)
            yield slice(sample, min(B, sample + many)), slice(query, end), slice(0, end)


def _heads(x: Tensor, samples: slice, places: slice) -> Tensor:
    """A part of x (B, H, T, D) as a batch of matrices, one a sample and head: (N, t, D)."""
    return x[samples, :, places].flatten(0, 1)


def _add(x: Tensor, samples: slice, places: slice, part: Tensor) -> None:
    """Add such a batch (N, t, D) to its place in x (B, H, T, D)."""
    x[samples, :, places] += part.unflatten(0, (-1, x.size(1)))


def _zeros_like(x: Tensor) -> Tensor:
    """(B, H, T, D), laid out as (B, T, H, D): a projection's product reads it, or wrote it, without a copy."""
    return x.new_zeros(x.size(0), x.size(2), x.size(1), x.size(3)).transpose(1, 2)


def _product(a: Tensor, b: Tensor, scale: float, added: Tensor | None = None) -> Tensor:
    """scale a b + added, of batches of matrices (N, i, j) and (N, j, k): (N, i, k)."""
    if added is None:
        return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)
    return torch.baddbmm(added, a, b, alpha=scale)


def _unseen(q: Tensor, seen: Tensor | None, piece: Piece) -> Tensor:
    """What is added to the scores of a piece: NEVER where a query may not look, else 0; (1 or N, t, s)."""
    samples, queries, past = piece
    if seen is None:
        never = q.new_full((queries.stop - queries.start, past.stop), NEVER)
        return never.triu_(queries.start + 1)[None]
    part = seen[samples, :, queries, past].to(q.dtype).sub_(1).mul_(-NEVER)  # (n, 1, t, s)
    return part.expand(-1, q.size(1), -1, -1).flatten(0, 1)
