"""A start from counted pairs: the untrained model predicts as a table of which token follows which.

The first steps of a run learn that table; here embedding and output layer are set to it, while the blocks begin as the
identity. (Of our own; Bengio et al. 2003 mix their model with a counted trigram's.) The model is the base's own kind.
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.ideas.idea import Idea
from nanogpt.data.dataset import TokenIds
from nanogpt.errors import UserError
from nanogpt.random_streams import stream
from nanogpt.training.trainer import Trainer

UNSEEN = 0.1
"""Added to the count of every pair, so that none is impossible."""


def log_pairs(ids: TokenIds, vocab_size: int) -> Tensor:
    """Logarithms of the shares of the tokens after each token: (V, V), a row for each first token."""
    pairs = np.asarray(ids[:-1], dtype=np.int64) * vocab_size + ids[1:]
    counts = np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size) + UNSEEN
    return torch.from_numpy(np.log(counts / counts.sum(1, keepdims=True)))


@torch.no_grad()
def start_from_pairs(trainer: Trainer) -> None:
    """Set embedding and output layer; exact where there are as many channels as tokens, else the nearest.

    Embeddings are the table's main directions, turned at random so that every channel has a part in them, and of the
    size that they have else. UserError where the blocks do not begin as the identity, or weights are shared.
    """
    model, config = trainer.model, trainer.model.config
    if config.init != "zero" or config.tie_embeddings or config.norm_position != "pre" or config.position != "rope":
        raise UserError("a start from pairs needs init 'zero', untied embeddings, norms before and rope")
    embedding = model.token_embedding.weight
    table = log_pairs(trainer.data.train, config.vocab_size)
    table -= table.mean(1, keepdim=True)  # softmax does not see it
    rank = min(table.size(0), config.n_embd)
    main = torch.linalg.svd(table)[0][:, :rank]  # (V, rank), orthonormal columns
    generator = torch.Generator().manual_seed(stream(trainer.config.train.seed, "pair start"))
    noise = torch.randn(config.n_embd, rank, generator=generator, dtype=torch.float64)
    rows = main @ torch.linalg.qr(noise)[0].T  # (V, C)
    size = rows.square().mean(1, keepdim=True).sqrt()  # (V, 1): 0 for a token that nothing was seen to follow
    drawn = embedding.double().cpu()
    embedding.copy_(torch.where(size > 1e-9, rows * (drawn.std() / size), drawn))
    normed = model.final_norm(embedding).double().cpu()  # (V, C)
    model.lm_head.weight.copy_((torch.linalg.pinv(normed) @ table).T)  # (V, C)


IDEAS = (Idea(name="start from counted pairs", in_qwen3=True, change=start_from_pairs),)
