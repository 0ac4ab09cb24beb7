"""What two programs' logits may differ by."""

import pytest
import torch

from nanogpt.interop.opened import allowed_difference


def test_what_is_allowed_grows_with_the_logits_but_is_never_below_that_of_a_spread_of_one():
    logits = torch.tensor([[1.0, -1.0, 3.0]])  # their standard deviation is 2
    assert allowed_difference(0.3, logits * 10) == pytest.approx(6)
    assert allowed_difference(0.3, logits * 0) == 0.3
