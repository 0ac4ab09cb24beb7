"""Section ten of the course and the library's `lecture` model compute the same function."""

import pytest
import torch

from course.s10_gpt import GPT as CourseGPT
from nanogpt.config import SampleConfig, load_preset
from nanogpt.model.gpt import GPT
from nanogpt.sampling.generate import generate_ids

SIZES = {
    "small": {"block_size": 17, "n_layer": 2, "n_head": 3, "n_embd": 33},
    "the lecture's": {"block_size": 256, "n_layer": 6, "n_head": 6, "n_embd": 384},
}


def to_library(course: CourseGPT, n_layer: int) -> dict[str, torch.Tensor]:
    """Rename section ten's weights for the library; query, key and value become one matrix."""
    own = course.state_dict()
    names = {
        "token_embedding.weight": "token_embedding.weight",
        "position_embedding.table.weight": "position_embedding.weight",
        "body.final_norm.weight": "final_norm.weight",
        "body.final_norm.bias": "final_norm.bias",
        "lm_head.weight": "lm_head.weight",
        "lm_head.bias": "lm_head.bias",
    }
    parts = {
        "norm_attention": "attention_norm",
        "attention.proj": "attention.proj",
        "norm_feed_forward": "mlp_norm",
        "feed_forward.expand": "mlp.up",
        "feed_forward.contract": "mlp.down",
    }
    for i in range(n_layer):
        for theirs, ours in parts.items():
            for kind in ("weight", "bias"):
                names[f"body.blocks.{i}.{theirs}.{kind}"] = f"blocks.{i}.{ours}.{kind}"
    weights = {ours: own.pop(theirs) for theirs, ours in names.items()}
    for i in range(n_layer):
        rows = [own.pop(f"body.blocks.{i}.attention.{part}.weight") for part in ("query", "key", "value")]
        weights[f"blocks.{i}.attention.qkv.weight"] = torch.cat(rows)
    assert not own, f"left over: {list(own)}"
    return weights


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def pair(request) -> tuple[CourseGPT, GPT]:
    """Both models with the same weights, as large as trained ones, so that every part matters."""
    torch.manual_seed(1337)
    course = CourseGPT(vocab_size=65, **request.param, dropout=0.2).eval()
    for parameter in course.parameters():
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data += spread * torch.randn_like(parameter)
    library = GPT(load_preset("lecture").override(vocab_size=65, **request.param).model).eval()
    library.load_state_dict(to_library(course, request.param["n_layer"]))
    return course, library


@torch.no_grad()
def test_same_logits(pair):
    course, library = pair
    idx = torch.randint(65, (3, library.config.block_size))
    ours, theirs = library(idx), course(idx)
    assert theirs.std() > 0.5  # equal values near zero would prove nothing
    assert (ours - theirs).abs().max() < 1e-5


@torch.no_grad()
def test_same_greedy_text(pair):
    course, library = pair
    idx = torch.tensor([[3, 1, 4]])
    for _ in range(11):
        idx = torch.cat([idx, course(idx)[:, -1:].argmax(-1)], dim=1)
    rows = generate_ids(library, torch.tensor([3, 1, 4]), SampleConfig(tokens=11, temperature=0))
    assert [row[0] for row in rows] == idx[0, 3:].tolist()


def test_same_parameter_count(pair):
    course, library = pair
    assert library.parameter_count == sum(p.numel() for p in course.parameters())
