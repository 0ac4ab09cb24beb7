"""Noise in what is read: some tokens of the context are replaced by others of the text, as frequent there.

What is to be predicted stays as it is. A model that learns a short text by heart relies on whole stretches of it; with
noise it has to predict from less (Xie et al. 2017, "Data noising as smoothing in neural network language models",
unigram noising).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nanogpt.data import TokenIds
from nanogpt.streams import scramble


def replace_tokens(
    inputs: Tensor, text: TokenIds, share: float, *, keys: Sequence[int], kept: int | None = None
) -> Tensor:
    """Inputs (B, T) with a share of their tokens replaced by tokens from anywhere in the text: the same shape.

    What is replaced by what is a function of the row's key alone, so that it is the same in any split of the batch. A
    token `kept`, which divides documents, is neither replaced nor put in.
    """
    T = inputs.size(1)
    rows = np.array(keys, dtype=np.uint64)[:, None]  # (B, 1)
    numbers = scramble(np.add(rows, np.arange(2 * T, dtype=np.uint64), dtype=np.uint64))  # (B, 2T)
    fates, places = numbers[:, :T], numbers[:, T:] % np.uint64(len(text))
    others = torch.from_numpy(text[places.astype(np.int64)].astype(np.int64))  # (B, T)
    replaced = torch.from_numpy(fates < np.uint64(share * 2**64))
    if kept is not None:
        replaced &= (inputs != kept) & (others != kept)
    return torch.where(replaced, others, inputs)
