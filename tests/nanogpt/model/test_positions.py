"""Rotations and sinusoids against the papers' formulas."""

import math

import pytest
import torch
from tiny import HEADS, C, D

from nanogpt.model.positions import rotate, rotations, sinusoids


def test_rotation_turns_pairs_of_halves_by_position_times_rate():
    x = torch.tensor([1.0, 10.0, 2.0, 20.0])[None, None, None].expand(1, 1, 4, 4)  # (1, 1, T, D)
    turned = rotate(x, rotations(4, 4, 100.0))
    for t in range(4):
        for pair, rate in enumerate((1.0, 0.1)):  # 100^0 and 100^(-2/4)
            a, b, angle = x[0, 0, t, pair], x[0, 0, t, pair + 2], t * rate
            expected = (a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle))
            assert turned[0, 0, t, pair].item() == pytest.approx(expected[0].item(), abs=1e-5)
            assert turned[0, 0, t, pair + 2].item() == pytest.approx(expected[1].item(), abs=1e-5)


def test_rotated_products_depend_on_the_distance_alone():
    q, k = torch.randn(1, HEADS, 1, D), torch.randn(1, HEADS, 1, D)
    turn = rotations(53, D, 10_000.0)
    q_at = rotate(q.expand(-1, -1, 53, -1), turn)
    k_at = rotate(k.expand(-1, -1, 53, -1), turn)
    product = q_at @ k_at.transpose(2, 3)  # (1, H, 53, 53)
    for distance in (0, 1, 17):
        same = product.diagonal(-distance, 2, 3)
        torch.testing.assert_close(same, same[..., :1].expand_as(same), rtol=1e-4, atol=1e-4)
    assert (product.diagonal(-1, 2, 3)[..., 0] - product.diagonal(-17, 2, 3)[..., 0]).abs().min() > 1e-3


@pytest.mark.parametrize("n_embd", [C, 12])
def test_sinusoids_are_the_papers(n_embd):
    table = sinusoids(19, n_embd)
    assert table.shape == (19, n_embd)
    for position in (0, 1, 18):
        for channel in range(n_embd):
            angle = position / 10_000 ** (channel // 2 * 2 / n_embd)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert table[position, channel].item() == pytest.approx(expected, abs=1e-5)
