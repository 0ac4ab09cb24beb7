"""Settings: presets, precedence, TOML and back, and what a user can get wrong."""

import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.config import (
    PARTS,
    Config,
    DataConfig,
    ModelConfig,
    SampleConfig,
    TrainConfig,
    load_preset,
    part_of,
    preset_names,
)
from nanogpt.errors import UserError
from nanogpt.files import FORMAT


def test_the_presets():
    assert preset_names() == ["gpt2", "lecture", "modern"]


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_toml(name):
    config = load_preset(name).override(vocab_size=37, n_kv_head=2, patience=3, grad_clip=float("inf"))
    assert config.preset == name
    assert Config.from_dict(tomllib.loads(tomli_w.dumps(config.to_dict())), "there") == config


def test_the_lecture_preset_is_the_lectures_setting():
    config = load_preset("lecture")
    model, train = config.model, config.train
    assert (model.n_layer, model.n_head, model.n_embd, model.block_size) == (6, 6, 384, 256)
    assert (model.dropout, model.activation, model.norm, model.position) == (0.2, "relu", "layer", "learned")
    assert (train.batch_size, train.learning_rate, train.warmup, train.decay) == (64, 3e-4, 0, 0)
    assert (config.data.tokenizer, config.data.end_of_document) == ("char", False)


def test_the_gpt2_preset_is_nanogpts_recipe_for_a_cpu():
    config = load_preset("gpt2")
    model, train = config.model, config.train
    assert (model.n_layer, model.n_head, model.n_embd, model.block_size, train.batch_size) == (4, 4, 128, 64, 12)
    assert (model.norm, model.position, model.activation, model.tie_embeddings) == (
        "layer",
        "learned",
        "gelu_tanh",
        True,
    )
    assert (model.qkv_bias, model.bias, model.head_bias, model.init) == (True, True, False, "scaled")


def test_the_modern_preset_is_qwen3s_block():
    model = load_preset("modern").model
    assert (model.norm, model.norm_position, model.norm_eps) == ("rms", "pre", 1e-6)
    assert (model.position, model.qk_norm, model.activation) == ("rope", True, "swiglu")
    assert (model.qkv_bias, model.bias, model.head_bias) == (False, False, False)


def test_precedence_is_default_then_preset_then_caller():
    assert TrainConfig().learning_rate == 1e-3
    assert load_preset("modern").train.learning_rate == 0.03
    assert load_preset("modern").override(learning_rate=7e-3).train.learning_rate == 7e-3
    assert load_preset("modern").train.weight_decay == TrainConfig().weight_decay == 0.1


def test_override_changes_what_is_named_and_nothing_else():
    before = load_preset("gpt2")
    after = before.override(n_layer=5, tokenizer="byte", seed=3)
    assert (after.model.n_layer, after.data.tokenizer, after.train.seed) == (5, "byte", 3)
    assert after.override(n_layer=4, tokenizer="char", seed=1337) == before


def test_every_field_has_one_home():
    names = [field.name for kind in PARTS.values() for field in fields(kind)]
    assert len(names) == len(set(names))
    for part, kind in PARTS.items():
        assert all(part_of(field.name) == part for field in fields(kind))


@pytest.mark.parametrize("kind", [ModelConfig, DataConfig, TrainConfig, SampleConfig, Config])
def test_configs_are_frozen_and_named(kind):
    with pytest.raises(FrozenInstanceError):
        setattr(kind(), fields(kind)[0].name, None)
    with pytest.raises(TypeError):
        kind(1)


def test_a_preset_by_path():
    Path("mine.toml").write_text('preset = "mine"\n[model]\nn_layer = 5\n')
    config = load_preset("mine.toml")
    assert (config.preset, config.model.n_layer, config.train) == ("mine.toml", 5, TrainConfig())


def test_a_missing_setting_is_left_out_of_toml():
    assert "n_kv_head" not in Config().to_dict()["model"]
    assert Config().to_dict()["format"] == FORMAT


# What goes wrong says what and what to do


def fails(*words, **settings):
    with pytest.raises(UserError) as caught:
        load_preset("modern").override(**settings)
    for word in words:
        assert word in str(caught.value), caught.value


def test_n_embd_that_n_head_does_not_divide():
    fails("n_embd 130", "n_head 4", "128", "132", "head_size", n_embd=130)
    load_preset("modern").override(n_embd=128)
    load_preset("modern").override(n_embd=132, head_size=32)
    fails("choose n_embd 4 or 4", n_embd=3)  # never 0


def test_an_odd_head_size_with_rope():
    fails("rope", "head_size is 33", "even", head_size=33)
    fails("rope", "head_size is 3", n_embd=12, n_head=4)
    load_preset("modern").override(head_size=33, position="learned")


def test_key_heads_that_do_not_divide_the_heads():
    fails("n_head 4", "n_kv_head 3", "divisor of 4", n_kv_head=3)
    load_preset("modern").override(n_kv_head=2)


@pytest.mark.parametrize(
    "name", ["block_size", "n_layer", "n_head", "n_embd", "batch_size", "accumulation", "log_every"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_are_above_zero(name, value):
    fails(f"{name} is {value}", "above 0", **{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_dropout_is_a_share(value):
    fails(f"dropout is {value}", dropout=value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_the_learning_rate_is_a_number_above_zero(value):
    fails(f"learning_rate is {value}", learning_rate=value)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_the_weight_decay_is_a_number_from_zero(value):
    fails(f"weight_decay is {value}", weight_decay=value)


def test_the_decay_may_be_the_whole_run_and_dropout_may_not_be_all():
    load_preset("modern").override(decay=1.0, final_lr=1.0)
    fails("warmup is 1.0", warmup=1.0)


def test_the_clip_may_be_infinite_but_not_zero():
    load_preset("modern").override(grad_clip=float("inf"))
    fails("grad_clip is 0", grad_clip=0)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("n_layer", "4", "str"), ("n_layer", 4.0, "float"), ("n_layer", True, "bool"), ("bias", 1, "int")],
)
def test_a_value_of_another_type_names_both(name, value, kind):
    fails(f"{name} is {value!r}", f"type {kind}", **{name: value})


def test_a_whole_number_is_a_number():
    assert load_preset("modern").override(learning_rate=1).train.learning_rate == 1


@pytest.mark.parametrize(
    ("name", "value", "near"),
    [
        ("norm", "layr", "layer"),
        ("activation", "swigul", "swiglu"),
        ("position", "rop", "rope"),
        ("tokenizer", "chars", "char"),
    ],
)
def test_a_choice_names_the_nearest(name, value, near):
    fails(repr(value), f"did you mean {near!r}?", **{name: value})


def test_an_unknown_setting_names_the_nearest():
    fails("unknown setting 'n_layers'", "did you mean 'n_layer'?", n_layers=3)
    fails("unknown setting 'learnign_rate'", "'learning_rate'", learnign_rate=3)


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="unknown preset 'modren'; did you mean 'modern'"):
        load_preset("modren")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[modle]\n", ["mine.toml", "'modle'", "did you mean 'model'?"]),
        ("[model]\nn_layers = 3\n", ["mine.toml", "[model]", "'n_layers'", "did you mean 'n_layer'?"]),
        ("[train]\nlearning_rate = 'big'\n", ["mine.toml", "[train]", "learning_rate", "'big'"]),
        ("model = 3\n", ["mine.toml", "[model]", "not a table"]),
        ("[model\n", ["mine.toml", "not valid TOML"]),
        (f"format = {FORMAT + 1}\n", ["mine.toml", f"format {FORMAT + 1}", f"reads {FORMAT}", "upgrade"]),
    ],
)
def test_a_config_file_that_is_wrong(text, words):
    Path("mine.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_preset("mine.toml")
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": -1.0}, "min_p is -1.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"tokens": 0}, "tokens is 0"),
        ({"samples": -2}, "samples is -2"),
        ({"seed": -1}, "seed is -1"),
        ({"stop": ("a", "")}, "stop string is empty"),
    ],
)
def test_sampling_settings_out_of_range(settings, words):
    with pytest.raises(UserError, match=words):
        SampleConfig(**settings)


def test_sampling_settings_at_their_edges():
    SampleConfig(temperature=0.0, top_p=1.0, min_p=1.0, top_k=1, tokens=1)


@given(st.integers(1, 64), st.integers(1, 400))
def test_the_advice_on_n_embd_can_be_followed(n_head, n_embd):
    try:
        ModelConfig(n_head=n_head, n_embd=n_embd)
    except UserError as error:
        advice = str(error).split("choose n_embd ")[1].split(", or")[0]
        for choice in advice.split(" or "):
            ModelConfig(n_head=n_head, n_embd=int(choice))
    else:
        assert n_embd % n_head == 0
