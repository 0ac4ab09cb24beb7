"""The residual stream: how large it becomes, and how much each block changes it.

Shapes: L layers, T time, C channels.
"""

from torch import Tensor

from nanogpt.explain.trace import Trace

TINY = 1e-30
"""Of a stream of zeros: no change of it is nothing, and any other is huge."""


def growth(trace: Trace) -> Tensor:
    """Root mean square of the stream's channels after the embeddings and after each block: (L + 1, T)."""
    return _size(trace.stream)


def updates(trace: Trace) -> Tensor:
    """How large each block's change of the stream is against what it found: (L, T).

    |x after - x before| / |x before|. In a post-norm model it includes what the norms changed.
    """
    before = trace.stream[:-1]  # (L, T, C)
    return _size(trace.stream.diff(dim=0)) / _size(before).clamp_min(TINY)


def _size(x: Tensor) -> Tensor:
    """Root mean square over channels: (..., C) -> (...)."""
    return x.square().mean(-1).sqrt()
