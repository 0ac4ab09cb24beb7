"""Attention that stays inside a document (`mask_documents`)."""

from torch import Tensor

from nanogpt.model.gpt import causal_mask
from nanogpt.model.kv_cache import KVCache


def document_mask(idx: Tensor, token: int | None, cache: KVCache | None = None) -> Tensor:
    """Return which keys each position sees, (B, 1, T, S): those of its own document, up to itself.

    An end-of-document token belongs to the document that it opens: the first token is predicted from it.

    Args:
        idx: Token ids, (B, T).
        token: The end-of-document token.
        cache: What was read before; it remembers where documents began.
    """
    assert token is not None
    opens = idx.eq(token)  # (B, T)
    if cache:
        opens = cache.append(cache.opens, opens[:, None])[:, 0]  # (B, S)
    documents = opens.cumsum(1)  # (B, S), numbered
    T, S = idx.size(1), documents.size(1)
    own, seen = documents[:, -T:], causal_mask(T, S, idx.device)
    if cache and cache.ends is not None and cache.mask is not None:
        own, seen = documents.gather(1, cache.ends[:, None]), cache.mask[:, 0]
    return ((own[:, :, None] == documents[:, None]) & seen)[:, None]
