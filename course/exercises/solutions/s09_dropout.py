"""Answers to the exercises of section 9."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """In training, each number is 0 with probability p; in evaluation nothing changes. Any shape."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand_like(x) >= self.p
        return x * kept / (1 - self.p)


def evaluation_loss(model: nn.Module, idx: Tensor, targets: Tensor) -> float:
    """Return the model's mean loss for token ids (B, T) and targets (B, T), with dropout off."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(idx)  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    model.train(was_training)
    return loss.item()


LOSS_WITH_DROPOUT_ON = "higher"
