"""Answers to the exercises of section 10."""

import torch
from torch import Tensor, nn

from course.s05_multi_head import BatchedMultiHead
from course.s06_feed_forward import FeedForward
from course.s08_layer_norm import LayerNorm, PreNormBlock
from course.s10_gpt import init_weights


def count_weights(vocab_size: int, block_size: int, n_layer: int, n_embd: int) -> int:
    """Return the parameter count of a GPT of these sizes."""
    attention = 4 * n_embd**2 + n_embd  # only the projection has a bias
    feed_forward = 8 * n_embd**2 + 5 * n_embd
    norm = 2 * n_embd
    block = attention + feed_forward + 2 * norm
    head = n_embd * vocab_size + vocab_size
    return vocab_size * n_embd + block_size * n_embd + n_layer * block + norm + head


@torch.no_grad()
def generate(model: nn.Module, idx: Tensor, new_tokens: int, block_size: int, seed: int) -> Tensor:
    """Continue the sequences `idx`: (B, T) -> (B, T + new_tokens)."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(new_tokens):
        context = idx[:, -block_size:]
        logits = model(context)[:, -1]  # (B, V)
        probabilities = logits.softmax(dim=-1)
        drawn = torch.multinomial(probabilities, 1, generator=generator)  # (B, 1)
        idx = torch.cat([idx, drawn], dim=1)
    return idx


class GPT(nn.Module):
    """A decoder of pre-norm blocks: token ids (B, T) -> logits (B, T, V), for T up to `block_size`."""

    def __init__(self, vocab_size: int, *, block_size: int, n_layer: int, n_head: int, n_embd: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)
        blocks = [PreNormBlock(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd), n_embd) for _ in range(n_layer)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size)
        self.apply(init_weights)

    def forward(self, idx: Tensor) -> Tensor:
        positions = torch.arange(idx.shape[1])
        x = self.tokens(idx) + self.positions(positions)  # (B, T, C)
        x = self.norm(self.blocks(x))
        return self.head(x)  # (B, T, V)


LOSS_WHEN_TEN_TIMES_AS_LARGE = 6.1  # logits of size 0.2 √96 = 1.96, and ln 65 + 1.96² / 2
