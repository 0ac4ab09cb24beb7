"""Attention in blocks, with dropout whose masks belong to samples and a backward pass written by hand.

torch's fused attention leaves its fast path for dropout, and is slow in bfloat16 on CPUs: there this takes half to a
fifth of its time. Attention weights are computed in blocks that stay in the processor's cache, and most of what no
query may see is never computed.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from nanogpt.model.dropout import Dropout

BLOCK_WEIGHTS = 1 << 20
"""Most attention weights in a block: 2 MB in bfloat16, which fit the second-level caches of two cores."""
BLOCK_QUERIES = 64
"""Queries in a block. Fewer save more products with future keys, and slow the remaining ones down."""
NEVER = -1e30
"""Added to the scores of hidden keys: their weight is 0 in every number format."""


def attention_reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, keep: Tensor | float = 1.0) -> Tensor:
    """Return (softmax(q k' / sqrt(D)) * keep) v: the plain version of `blockwise_attention`, (B, H, T, D).

    Args:
        q: Queries, (B, H, T, D); keys and values alike.
        k: Keys.
        v: Values.
        mask: Which keys each query sees, (T, T) or (B, 1, T, T).
        keep: Dropout: 0 where a weight is dropped, else 1 / (1 - p), (B, H, T, T).
    """
    scores = q @ k.mT / q.size(-1) ** 0.5  # (B, H, T, T)
    return (scores.masked_fill(~mask, -torch.inf).softmax(-1) * keep) @ v  # (B, H, T, D)


def blockwise_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: "Dropout | None" = None
) -> Tensor:
    """Return dropout(softmax(q k' / sqrt(D))) v, causal: three (B, H, T, D) -> (B, H, T, D).

    Vaswani et al. 2017, equation 1.

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, T, D).
        v: Values, (B, H, T, D).
        mask: Which keys each query sees, (B, 1, T, T), where that is not all up to its own position.
        dropout: A `Dropout` of attention weights.
    """
    p, keys = (dropout.p, dropout.sample_keys(q)) if dropout is not None else (0.0, None)
    y: Tensor = _Attention.apply(q, k, v, mask, p, keys)
    return y


class _Attention(torch.autograd.Function):
    """Attention and its gradients.

    With S = q k' / sqrt(D), P = softmax(S), and M the dropout mask over 1 - p: y = (P M) v, and
    dv = (P M)' dy,  dP = (dy v') M,  dS = P (dP - rowsum(dP P)),  dq = dS k / sqrt(D),  dk = dS' q / sqrt(D).

    The products scale their results at no cost, so they take over M's denominator.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - `apply` takes no keywords
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, keys: Tensor | None
    ) -> Tensor:
        y, rows, weights = _empty_like(q), _row_keys(q, keys), []
        with torch.autocast(q.device.type, enabled=False):
            for samples in _sample_blocks(q):
                q_, k_, v_ = (_matrices(t, samples) for t in (q, k, v))  # each (N, T, D)
                part = torch.empty_like(q_)
                for queries, past in _query_blocks(q):
                    scores = _product(q_[:, queries], k_[:, past].mT, q.size(-1) ** -0.5)  # (N, t, s)
                    weights.append(torch.softmax(_hide(scores, mask, samples, queries), -1))
                    kept = _dropped(rows, p, samples, queries)(weights[-1])
                    part[:, queries] = _product(kept, v_[:, past], 1 / (1 - p))
                y[samples] = part.view(-1, *q.shape[1:])
        ctx.save_for_backward(q, k, v, keys, *weights)
        ctx.p = p
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, keys, *weights = ctx.saved_tensors
        gradients = dq, dk, dv = [_empty_like(t) for t in (q, k, v)]
        rows, scale = _row_keys(q, keys), 1 / (1 - ctx.p)
        weights = iter(weights)
        with torch.autocast(q.device.type, enabled=False):
            for samples in _sample_blocks(q):
                q_, k_, v_, dy = (_matrices(t, samples) for t in (q, k, v, grads[0]))  # each (N, T, D)
                dq_, dk_, dv_ = torch.empty_like(q_), torch.zeros_like(k_), torch.zeros_like(v_)
                for queries, past in _query_blocks(q):
                    w, drop = next(weights), _dropped(rows, ctx.p, samples, queries)
                    dv_[:, past] += _product(drop(w).mT, dy[:, queries], scale)
                    dw = drop(dy[:, queries].bmm(v_[:, past].mT))  # (N, t, s)
                    ds = torch._softmax_backward_data(dw, w, -1, w.dtype)
                    dq_[:, queries] = _product(ds, k_[:, past], scale * q.size(-1) ** -0.5)
                    dk_[:, past] += _product(ds.mT, q_[:, queries], scale * q.size(-1) ** -0.5)
                for whole, part in zip(gradients, (dq_, dk_, dv_)):
                    whole[samples] = part.view(-1, *q.shape[1:])
        return dq, dk, dv, None, None, None


def _sample_blocks(q: Tensor) -> Iterator[slice]:
    """Yield slices of the samples of q, (B, H, T, D), as large as a block may be."""
    B, H, T, _ = q.shape
    size = max(1, BLOCK_WEIGHTS // (H * min(T, BLOCK_QUERIES) * T)) if q.device.type == "cpu" else B
    return (slice(first, min(B, first + size)) for first in range(0, B, size))


def _query_blocks(q: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the queries, each with the slice of keys up to its last query."""
    T = q.size(2)
    for first in range(0, T, BLOCK_QUERIES):
        end = min(T, first + BLOCK_QUERIES)
        yield slice(first, end), slice(0, end)


def _matrices(x: Tensor, samples: slice) -> Tensor:
    """Return a matrix for each head of some samples of x, (B, H, T, D) -> (N, T, D)."""
    return x[samples].flatten(0, 1).contiguous()


def _empty_like(x: Tensor) -> Tensor:
    """Return an empty (B, H, T, D) laid out as (B, T, H, D), which a projection reads or writes without a copy."""
    return x.new_empty(x.size(0), x.size(2), x.size(1), x.size(3)).transpose(1, 2)


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return scale a b for batches of matrices, (N, i, j) and (N, j, k) -> (N, i, k)."""
    # A zero, though beta = 0 says that it isn't read: up to torch 2.13 Apple's GPUs read it (pytorch 187521).
    return torch.baddbmm(a.new_zeros(()), a, b, beta=0, alpha=scale)


def _hide(scores: Tensor, mask: Tensor | None, samples: slice, queries: slice) -> Tensor:
    """Set a block's scores, (N, t, s), to NEVER in place where a query may not look."""
    if mask is not None:
        never = mask[samples, :, queries, : queries.stop].to(scores.dtype).sub_(1).mul_(-NEVER)  # (n, 1, t, s)
        scores.view(never.size(0), -1, *never.shape[2:]).add_(never)
        return scores
    t = queries.stop - queries.start
    scores[..., queries.start :] += scores.new_full((t, t), NEVER).triu_(1)  # all queries see the earlier keys
    return scores


def _row_keys(q: Tensor, keys: Tensor | None) -> Tensor | None:
    """Return a key for each query of each head, (B, H, T), from the samples' (B,): masks don't depend on blocks."""
    if keys is None:
        return None
    from nanogpt.model.dropout import hash_elements

    B, H, T, _ = q.shape
    return hash_elements(keys, H * T).view(B, H, T)


def _dropped(rows: Tensor | None, p: float, samples: slice, queries: slice) -> Callable[[Tensor], Tensor]:
    """Return a function that zeroes the dropped ones of a block's weights, (N, t, s) -> (N, t, s)."""
    if rows is None:
        return lambda weights: weights
    from nanogpt.model.dropout import keep_bits, mask_out

    bits = keep_bits(rows[samples, :, queries].flatten(0, 1), queries.stop, p)  # (N, t, s)
    return lambda weights: mask_out(weights, bits)
