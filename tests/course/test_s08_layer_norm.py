import pytest
import torch
from torch import nn

from course import s08_layer_norm as s08


def test_layer_norm_is_torchs_with_its_gradients() -> None:
    torch.manual_seed(0)
    ours, theirs = s08.LayerNorm(13), nn.LayerNorm(13)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    theirs.load_state_dict(ours.state_dict())
    x = (5 + 0.01 * torch.randn(2, 7, 13)).requires_grad_()  # small deviations: epsilon has a say
    weights = torch.randn(2, 7, 13)
    gradients = []
    for norm in (ours, theirs):
        out = norm(x)
        gradients.append((out, *torch.autograd.grad((out * weights).sum(), [x, norm.weight, norm.bias])))
    for mine, torchs in zip(*gradients):
        assert torch.allclose(mine, torchs, rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("place", ["after", "before"])
def test_the_place_of_the_norm(place: str) -> None:
    torch.manual_seed(0)
    attention, feed_forward, x = nn.Linear(5, 5), nn.Linear(5, 5), torch.randn(2, 7, 5)
    block_type = s08.PostNormBlock if place == "after" else s08.PreNormBlock
    block = block_type(attention, feed_forward, 5)
    block.norm_attention.weight.fill_(2.0)  # so that a mix-up of the two norms shows
    first, second = block.norm_attention, block.norm_feed_forward
    if place == "after":
        middle = first(x + attention(x))
        expected = second(middle + feed_forward(middle))
    else:
        middle = x + attention(first(x))
        expected = middle + feed_forward(second(middle))
    assert torch.allclose(block(x), expected, atol=1e-6)
