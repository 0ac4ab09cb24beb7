"""Settings: presets, precedence, TOML and back, and what a user can get wrong."""

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt import config as module
from nanogpt.config import PARTS, RUN_FORMAT, Config, ModelConfig, SampleConfig, TrainConfig, check_types, load_preset
from nanogpt.errors import UserError


@pytest.mark.parametrize("name", module.preset_names())
def test_a_preset_survives_toml(name):
    config = load_preset(name).override(vocab_size=37, n_kv_head=2, patience=3, grad_clip=math.inf)
    tables = config.to_dict()
    assert (config.preset, tables["format"]) == (name, RUN_FORMAT)
    assert "mlp_hidden" not in tables["model"]  # a setting that is None
    assert Config.from_dict(tomllib.loads(tomli_w.dumps(tables)), "there") == config


EXPECTED = {
    "lecture": {  # the lecture's settings
        **{"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "dropout": 0.2, "activation": "relu"},
        **{"norm": "layer", "position": "learned", "batch_size": 64, "learning_rate": 3e-4, "warmup": 0},
        **{"decay": 0, "tokenizer": "char", "end_of_document": False},
    },
    "gpt2": {  # nanoGPT's recipe for a CPU
        **{"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12, "norm": "layer"},
        **{"position": "learned", "activation": "gelu_tanh", "tie_embeddings": True, "qkv_bias": True},
        **{"bias": True, "head_bias": False, "init": "scaled"},
    },
    "modern": {  # Qwen3's block
        **{"norm": "rms", "norm_position": "pre", "norm_eps": 1e-6, "position": "rope", "qk_norm": True},
        **{"activation": "swiglu", "qkv_bias": False, "bias": False, "head_bias": False},
    },
}


@pytest.mark.parametrize("preset", EXPECTED)
def test_what_a_preset_is(preset):
    config = load_preset(preset)
    assert config.override(**EXPECTED[preset]) == config


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


def test_every_field_belongs_to_one_part():
    names = [field.name for kind in PARTS.values() for field in fields(kind)]
    assert len(names) == len(set(names))
    assert all(module.part_of(field.name) == part for part, kind in PARTS.items() for field in fields(kind))


def test_a_preset_by_path():
    Path("mine.toml").write_text('preset = "mine"\n[model]\nn_layer = 5\n')
    config = load_preset("mine.toml")
    assert (config.preset, config.model.n_layer, config.train) == ("mine.toml", 5, TrainConfig())


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
        *[({"dropout": value}, [f"--dropout is {value}"]) for value in (-0.1, 1.0, math.nan)],
        *[({"learning_rate": value}, [f"is {value}"]) for value in (0.0, -1.0, math.inf, math.nan)],
        *[({"weight_decay": value}, [f"is {value}", "0 or more"]) for value in (-1.0, math.inf, math.nan)],
        ({"warmup": 1.0}, ["--warmup is 1.0"]),
        ({"decay": 1.01}, ["--decay is 1.01"]),
        *[({"grad_clip": value}, ["--grad-clip", "inf"]) for value in (0, math.nan)],
        ({"n_layer": "4"}, ["--n-layer is '4'", "type str", "int"]),
        ({"n_layer": 4.0}, ["4.0", "type float"]),
        ({"n_layer": True}, ["True", "type bool"]),
        ({"bias": 1}, ["--bias is 1", "type int"]),
        ({"norm": "layr"}, ["'layr'", "'layer'"]),
        ({"n_layers": 3}, ["'n_layers'", "'n_layer'"]),
        ({"learnign_rate": 3}, ["'learning_rate'"]),
        ({"lora": 2, "optimizer": "muon"}, ["--lora 2", "--optimizer muon"]),
        ({"tokenizer_from": "folder"}, ["--tokenizer-from 'folder'", "--tokenizer bpe"]),
    ],
    ids=str,
)
def test_a_wrong_setting_says_what_to_type(settings, words):
    refuses(lambda: load_preset("modern").override(**settings), *words)


def test_settings_at_their_limits():
    config = load_preset("modern")
    config.override(n_embd=132, head_size=32)
    config.override(head_size=33, position="learned")
    config.override(n_kv_head=2, decay=1.0, final_lr=1.0, grad_clip=math.inf)
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
    ("name", "right", "wrong"),
    [
        *(("maybe", [3, None], [1.5]), ("share", [1, 0.1], [True, None]), ("kind", [2], [3])),
        *(("names", [("x",)], ["x", (1,)]), ("texts", ["x", ("x", "y")], [(1,)])),
    ],
)
def test_types(name, right, wrong):
    for value in right:
        check_types(Example(**{name: value}))
    for value in wrong:
        refuses(lambda value=value: check_types(Example(**{name: value})), f"--{name} is {value!r}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, []),
        ("[modle]\n", ["'modle'", "'model'"]),
        ("[model]\nn_layers = 3\n", ["[model]", "'n_layers'", "'n_layer'"]),
        ("[train]\nlearning_rate = 'big'\n", ["[train]", "--learning-rate", "'big'"]),
        ("model = 3\n", ["[model]"]),
        ("[model\n", ["TOML"]),
        (f"format = {RUN_FORMAT + 1}\n", [f"format {RUN_FORMAT + 1}", f"reads {RUN_FORMAT}"]),
    ],
)
def test_a_wrong_config_file(text, words):
    if text is not None:
        Path("mine.toml").write_text(text)
    refuses(lambda: load_preset("mine.toml"), "mine.toml", *words)
    refuses(lambda: load_preset("modren"), "'modren'", "'modern'")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", -0.1), ("temperature", math.nan), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.1)],
        *[("min_p", -1.0), ("repetition_penalty", 0.0), ("tokens", 0), ("samples", -2), ("seed", -1)],
        ("stop", ("a", "")),
    ],
)
def test_sampling_settings_out_of_range(name, value):
    refuses(lambda: SampleConfig(**{name: value}), f"--{name.replace('_', '-')}")
