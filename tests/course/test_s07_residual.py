import torch
from torch import nn

from course import s07_residual as s07


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def test_blocks_by_hand() -> None:
    """x + 2x = 3x, then 3x + 5 * 3x = 18x; without adding, 5 * 2x = 10x."""
    x = torch.tensor([1.0, -3.0])
    assert torch.equal(s07.Block(Times(2), Times(5))(x), 18 * x)
    assert torch.equal(s07.PlainBlock(Times(2), Times(5))(x), 10 * x)


def test_the_stack_has_blocks_of_its_own() -> None:
    body = s07.stack(s07.Block, n_layer=3, n_embd=10, n_head=5)
    assert len(body) == 3
    assert len({id(parameter) for parameter in body.parameters()}) == len(list(body[0].parameters())) * 3
