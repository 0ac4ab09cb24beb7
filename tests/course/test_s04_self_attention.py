import pytest
import torch
from torch.nn import functional as F

from course import s04_self_attention as s04


@pytest.fixture
def head() -> s04.Head:
    torch.manual_seed(0)
    return s04.Head(n_embd=5, head_size=3)


def test_head_is_torchs_causal_attention(head: s04.Head) -> None:
    x = torch.randn(2, 7, 5)
    expected = F.scaled_dot_product_attention(head.query(x), head.key(x), head.value(x), is_causal=True)
    assert head(x).shape == (2, 7, 3)
    assert torch.allclose(head(x), expected, atol=1e-6)


def test_rows_sum_to_one_and_the_future_gets_nothing(head: s04.Head) -> None:
    weights = head.weights(torch.randn(2, 7, 5))
    assert weights.shape == (2, 7, 7)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 7))
    assert weights.triu(1).abs().max() == 0
