"""Attention that stays inside a document (`mask_documents`)."""

import torch
from torch import Tensor

from nanogpt.model.gpt import Cache, causal_mask


def document_mask(idx: Tensor, token: int | None, cache: Cache | None = None) -> Tensor:
    """Return which keys each position sees, (B, 1, T, S): those of its own document, up to itself.

    An end-of-document token belongs to the document that it opens: the first token is predicted from it.

    Args:
        idx: Token ids, (B, T).
        token: The end-of-document token.
        cache: What was read before; it remembers the documents.
    """
    assert token is not None
    documents = idx.eq(token).cumsum(1)  # (B, T), numbered
    if cache and cache.documents is not None:
        before = cache.documents  # (B, S - T)
        documents = torch.cat([before, before[:, -1:] + documents], dim=1)  # (B, S)
    if cache:
        cache.documents = documents
    T, S = idx.size(1), documents.size(1)
    same = documents[:, -T:, None] == documents[:, None, :]  # (B, T, S)
    return (same & causal_mask(T, S, idx.device))[:, None]
