import math

import pytest
import torch

from course import s10_gpt as s10
from course.s01_bigram import evaluate, generate


@pytest.fixture
def small() -> s10.GPT:
    torch.manual_seed(0)
    return s10.GPT(11, block_size=7, n_layer=2, n_head=3, n_embd=15).eval()


def test_full_size_has_the_lectures_parameters() -> None:
    model = s10.GPT(65)
    assert sum(parameter.numel() for parameter in model.parameters()) == 10_788_929
    assert len(model.body.blocks) == 6
    assert model.position_embedding.table.weight.shape == (256, 384)
    assert model.body.blocks[5].attention.n_head == 6
    assert model.body.blocks[0].attention.dropout.p == model.body.blocks[0].feed_forward.dropout.p == 0.2


def test_parameter_names_are_those_the_docstring_promises(small: s10.GPT) -> None:
    """The library loads weights by these names."""
    # fmt: off
    block = {
        "norm_attention.weight": (15,), "norm_attention.bias": (15,), "attention.query.weight": (15, 15),
        "attention.key.weight": (15, 15), "attention.value.weight": (15, 15), "attention.proj.weight": (15, 15),
        "attention.proj.bias": (15,), "norm_feed_forward.weight": (15,), "norm_feed_forward.bias": (15,),
        "feed_forward.expand.weight": (60, 15), "feed_forward.expand.bias": (60,),
        "feed_forward.contract.weight": (15, 60), "feed_forward.contract.bias": (15,),
    }
    expected = {
        "token_embedding.weight": (11, 15), "position_embedding.table.weight": (7, 15), "body.final_norm.weight": (15,),
        "body.final_norm.bias": (15,), "lm_head.weight": (11, 15), "lm_head.bias": (11,),
    } | {f"body.blocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    # fmt: on
    assert {name: tuple(value.shape) for name, value in small.state_dict().items()} == expected


def test_it_starts_small() -> None:
    torch.manual_seed(0)
    for name, parameter in s10.GPT(65, n_embd=96, block_size=64).named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
            assert abs(parameter.mean().item()) < 0.002, name


def test_untrained_it_pays_about_ln_v() -> None:
    torch.manual_seed(0)
    data = torch.randint(65, (2001,))
    loss = evaluate(s10.GPT(65, n_embd=96, block_size=64), data, 64)
    assert loss == pytest.approx(math.log(65), abs=0.1)


@torch.no_grad()
def test_no_place_sees_the_future(small: s10.GPT) -> None:
    idx = torch.randint(11, (2, 7))
    for changed in range(7):
        other = idx.clone()
        other[:, changed] = (other[:, changed] + 1) % 11
        moved = (small(other) - small(idx)).abs().amax((0, 2)) > 1e-7
        assert moved.tolist() == [t >= changed for t in range(7)]


@torch.no_grad()
def test_it_takes_every_length_to_the_block_and_generates_past_it(small: s10.GPT) -> None:
    idx = torch.randint(11, (1, 7))
    whole = small(idx)
    for length in range(1, 8):
        assert torch.allclose(small(idx[:, :length]), whole[:, :length], atol=1e-6)
    with pytest.raises(ValueError, match="8 tokens, but positions for 7"):
        small(torch.zeros(1, 8, dtype=torch.long))
    assert generate(small, idx, 10, block_size=7).shape == (1, 17)
