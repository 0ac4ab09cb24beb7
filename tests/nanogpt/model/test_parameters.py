"""Counts from a config compared with the model."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PRESETS, tiny_model

from nanogpt.model.lora import add_lora
from nanogpt.model.parameters import count_adapter_parameters, count_parameters, table_bytes

PARTS = {
    "n_kv_head": st.sampled_from([1, 3]),
    "norm": st.sampled_from(["layer", "rms"]),
    "norm_position": st.sampled_from(["pre", "post"]),
    "position": st.sampled_from(["learned", "sinusoidal", "rope"]),
    "activation": st.sampled_from(["relu", "gelu", "swiglu"]),
    **{name: st.booleans() for name in ("tie_embeddings", "bias", "qkv_bias", "head_bias", "qk_norm")},
}


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=40)
@given(parts=st.fixed_dictionaries(PARTS))
def test_counts_are_those_of_the_model(preset, parts):
    model = tiny_model(preset, **parts)
    count = count_parameters(model.config)
    assert count.total == model.parameter_count
    assert count.matrices == sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    assert table_bytes(model.config) == sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())


def test_adapters_are_counted():
    for activation, kv_heads in (("gelu", 3), ("swiglu", 1)):
        model = tiny_model(activation=activation, n_kv_head=kv_heads)
        add_lora(model, 5, seed=3)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert count_adapter_parameters(model.config, 5) == trained
