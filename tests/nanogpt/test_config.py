"""Settings: presets, precedence, TOML and back, and what a user can get wrong."""

import re
import tomllib
from dataclasses import FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import Literal

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
    check_types,
    load_preset,
    part_of,
    preset_names,
)
from nanogpt.errors import UserError
from nanogpt.files import FORMAT


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
    assert (model.norm, model.position, model.activation) == ("layer", "learned", "gelu_tanh")
    assert model.tie_embeddings
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


# A wrong value is named as a flag, with what to type instead


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_embd": 130}, ["--n-embd 130", "--n-head 4", "128", "132", "--head-size"]),
        ({"n_embd": 3}, ["--n-embd 4 or 4"]),  # never 0
        ({"head_size": 33}, ["rope", "--head-size is 33", "even"]),
        ({"n_embd": 12, "n_head": 4}, ["rope", "--head-size is 3"]),
        ({"n_kv_head": 3}, ["--n-head 4", "--n-kv-head 3", "divisor of 4"]),
        *[({name: 0}, [f"--{name.replace('_', '-')} is 0", "above 0"]) for name in ("n_layer", "n_embd", "log_every")],
        *[({"batch_size": value}, [f"--batch-size is {value}"]) for value in (0, -1)],
        *[({"dropout": value}, [f"--dropout is {value}"]) for value in (-0.1, 1.0, float("nan"))],
        *[({"learning_rate": value}, [f"is {value}"]) for value in (0.0, -1.0, float("inf"), float("nan"))],
        *[({"weight_decay": value}, [f"is {value}", "0 or more"]) for value in (-1.0, float("inf"), float("nan"))],
        ({"warmup": 1.0}, ["--warmup is 1.0"]),
        ({"decay": 1.01}, ["--decay is 1.01"]),
        *[({"grad_clip": value}, ["--grad-clip", "inf"]) for value in (0, float("nan"))],
        ({"n_layer": "4"}, ["--n-layer is '4'", "type str", "int"]),
        ({"n_layer": 4.0}, ["4.0", "type float"]),
        ({"n_layer": True}, ["True", "type bool"]),
        ({"bias": 1}, ["--bias is 1", "type int"]),
        ({"norm": "layr"}, ["'layr'", "did you mean 'layer'?"]),
        ({"position": "rop"}, ["did you mean 'rope'?"]),
        ({"n_layers": 3}, ["'n_layers'", "did you mean 'n_layer'?"]),
        ({"learnign_rate": 3}, ["did you mean 'learning_rate'?"]),
        ({"lora": 2, "optimizer": "muon"}, ["--lora 2", "--optimizer muon"]),
        ({"tokenizer_from": "folder"}, ["--tokenizer-from 'folder'", "--tokenizer bpe"]),
    ],
    ids=str,
)
def test_a_wrong_setting_says_what_to_type(settings, words):
    with pytest.raises(UserError) as caught:
        load_preset("modern").override(**settings)
    assert all(word in str(caught.value) for word in words), caught.value


def test_settings_at_their_limits():
    config = load_preset("modern")
    config.override(n_embd=132, head_size=32)
    config.override(head_size=33, position="learned")
    config.override(n_kv_head=2, decay=1.0, final_lr=1.0, grad_clip=float("inf"))
    assert config.override(learning_rate=1).train.learning_rate == 1
    SampleConfig(temperature=0.0, top_p=1.0, min_p=1.0, top_k=1, tokens=1)


@given(st.integers(1, 64), st.integers(1, 400))
def test_the_advice_on_n_embd_can_be_followed(n_head, n_embd):
    try:
        ModelConfig(n_head=n_head, n_embd=n_embd)
    except UserError as error:
        advice = str(error).split("choose --n-embd ")[1].split(", or")[0]
        for choice in advice.split(" or "):
            ModelConfig(n_head=n_head, n_embd=int(choice))
    else:
        assert n_embd % n_head == 0


@dataclass
class Example:
    maybe: int | None = None
    share: float = 0.5
    kind: Literal["one", 2] = "one"
    names: tuple[str, ...] = ()
    texts: str | tuple[str, ...] | None = None


@pytest.mark.parametrize(
    "settings",
    [{}, {"maybe": 3}, {"share": 1}, {"kind": 2}, {"names": ("x",)}, {"texts": "x"}, {"texts": ("x", "y")}],
)
def test_right_types_pass(settings):
    check_types(Example(**settings))


@pytest.mark.parametrize(
    "settings",
    [{"maybe": 1.5}, {"share": True}, {"share": None}, {"kind": 3}, {"names": "x"}, {"names": (1,)}, {"texts": (1,)}],
)
def test_wrong_types_are_refused(settings):
    ((name, value),) = settings.items()
    with pytest.raises(UserError, match=re.escape(f"--{name} is {value!r}")):
        check_types(Example(**settings))


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="'modren'; did you mean 'modern'"):
        load_preset("modren")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[modle]\n", ["'modle'", "did you mean 'model'?"]),
        ("[model]\nn_layers = 3\n", ["[model]", "'n_layers'", "did you mean 'n_layer'?"]),
        ("[train]\nlearning_rate = 'big'\n", ["[train]", "--learning-rate", "'big'"]),
        ("model = 3\n", ["[model]", "not a table"]),
        ("[model\n", ["not valid TOML"]),
        (f"format = {FORMAT + 1}\n", [f"format {FORMAT + 1}", f"reads {FORMAT}", "upgrade"]),
    ],
)
def test_a_config_file_that_is_wrong(text, words):
    Path("mine.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        load_preset("mine.toml")
    assert all(word in str(caught.value) for word in ("mine.toml", *words)), caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", -0.1), ("temperature", float("nan")), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.1)],
        *[("min_p", -1.0), ("repetition_penalty", 0.0), ("tokens", 0), ("samples", -2), ("seed", -1)],
        ("stop", ("a", "")),
    ],
)
def test_sampling_settings_out_of_range(name, value):
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')}"):
        SampleConfig(**{name: value})
