import torch
from torch.nn import functional as F

from course import s06_feed_forward as s06


@torch.no_grad()
def test_it_is_equation_two_four_times_wide() -> None:
    torch.manual_seed(0)
    network, x = s06.FeedForward(5), torch.randn(2, 7, 5)
    hidden = x @ network.expand.weight.T + network.expand.bias
    assert hidden.shape == (2, 7, 20)
    expected = torch.maximum(hidden, torch.tensor(0.0)) @ network.contract.weight.T + network.contract.bias
    assert torch.allclose(network(x), expected, atol=1e-6)
    assert not torch.allclose(network(x), F.linear(F.linear(x, network.expand.weight), network.contract.weight))
