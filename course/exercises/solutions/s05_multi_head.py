"""Answers to the exercises of section 5."""

import torch
from torch import Tensor, nn

from course.s04_self_attention import attention_weights


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """Split the channels into heads: (B, T, C) -> (B, H, T, D)."""
    B, T, C = x.shape
    by_head = x.view(B, T, n_head, C // n_head)
    return by_head.transpose(1, 2)


class MultiHead(nn.Module):
    """Heads in parallel, concatenated and projected: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query = nn.Linear(n_embd, n_embd, bias=False)
        self.key = nn.Linear(n_embd, n_embd, bias=False)
        self.value = nn.Linear(n_embd, n_embd, bias=False)
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(layer(x), self.n_head) for layer in (self.query, self.key, self.value))  # (B, H, T, D)
        attended = attention_weights(q, k) @ v  # (B, H, T, D)
        joined = torch.cat(attended.unbind(dim=1), dim=-1)  # H times (B, T, D) -> (B, T, C)
        return self.proj(joined)


PARAMETERS_OF_TWICE_THE_HEADS = "as many"
