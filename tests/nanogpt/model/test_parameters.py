"""What a model has, counted from its config, against the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tiny import PRESETS, tiny_model

from nanogpt.model.parameters import count_parameters, table_bytes


@pytest.mark.parametrize("preset", PRESETS)
@given(
    kv=some.sampled_from([1, 3]),
    tied=some.booleans(),
    flags=some.fixed_dictionaries({name: some.booleans() for name in ("bias", "qkv_bias", "head_bias", "qk_norm")}),
    parts=some.fixed_dictionaries(
        {
            "norm": some.sampled_from(["layer", "rms"]),
            "norm_position": some.sampled_from(["pre", "post"]),
            "position": some.sampled_from(["learned", "sinusoidal", "rope"]),
            "activation": some.sampled_from(["relu", "gelu", "swiglu"]),
        }
    ),
)
def test_parameters_are_those_of_the_model(preset, kv, tied, flags, parts):
    model = tiny_model(preset, n_kv_head=kv, tie_embeddings=tied, **flags, **parts)
    count = count_parameters(model.config)
    assert count.total == model.parameter_count
    assert count.matrices == sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    assert table_bytes(model.config) == sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
