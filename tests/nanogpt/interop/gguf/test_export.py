"""The file itself, read with the official package. What llama.cpp makes of it is in `test_llama.py`."""

from pathlib import Path

import pytest
from tiny import make_run, refuses
from vocabularies import END, SPEAK, STOP, TEMPLATE, chat_tables

from nanogpt.interop.gguf.export import export_gguf
from nanogpt.text.foreign import ForeignTokenizer

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install 'nanogpt[gguf]'")

GPT2 = {"n_head": 3, "n_embd": 15, "head_size": None, "norm_eps": 3e-5}
MODERN = {"n_head": 6, "n_kv_head": 2, "head_size": 10, "rope_theta": 777.0, "norm_eps": 3e-6}


def fields(path: Path) -> dict:
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def test_the_architecture_of_a_modern_model():
    found = fields(export_gguf(make_run("run", **MODERN), "x.gguf", "f16"))
    expected = {
        "context_length": 11, "embedding_length": 13, "block_count": 2, "feed_forward_length": 17,
        "attention.head_count": 6, "attention.head_count_kv": 2, "attention.key_length": 10,
        "attention.value_length": 10, "attention.layer_norm_rms_epsilon": pytest.approx(3e-6),
        "rope.freq_base": 777.0, "rope.dimension_count": 10,
    }  # fmt: skip
    assert {name: found[f"qwen3.{name}"] for name in expected} == expected
    assert found["general.architecture"] == "qwen3"
    assert found["general.file_type"] == 1
    assert "a tale" in found["general.name"]


def test_the_architecture_of_a_gpt2():
    found = fields(export_gguf(make_run("run", "gpt2", **GPT2), "x.gguf"))
    assert found["general.architecture"] == "gpt2"
    assert found["gpt2.attention.layer_norm_epsilon"] == pytest.approx(3e-5)
    assert found["gpt2.attention.head_count"] == 3
    assert found["gpt2.attention.key_length"] == 5
    assert "gpt2.rope.freq_base" not in found


def test_the_tokens_and_what_ends_a_text():
    run = make_run("run")
    end = run.tokenizer.end_of_document
    found = {name.removeprefix("tokenizer.ggml."): value for name, value in fields(export_gguf(run, "x.gguf")).items()}
    assert found["tokens"] == ["Ġ" if one == " " else one for one in run.tokenizer.characters] + ["<|endoftext|>"]
    assert found["token_type"] == [1] * end + [3]
    assert (found["bos_token_id"], found["eos_token_id"], found["eot_token_id"]) == (0, end, end)  # no newline
    run.tokenizer.bos = end
    assert fields(export_gguf(run, "y.gguf"))["tokenizer.ggml.bos_token_id"] == end
    assert (found["add_bos_token"], found["add_eos_token"]) == (False, False)
    assert (found["model"], found["pre"], len(found["merges"])) == ("gpt2", "gpt-2", 1)


def test_a_chat_model_keeps_template_stops_and_special_tokens():
    tokenizer = ForeignTokenizer(chat_tables(), STOP + 3, STOP)
    templates = [{"name": "default", "template": TEMPLATE}, {"name": "tools", "template": "x"}]
    tokenizer.imported = {
        **{"chat_template": templates, "pad_token_id": SPEAK},
        "eos_token_id": [STOP, END, SPEAK],
    }
    tokenizer.bos = END
    path = export_gguf(make_run("run", tokenizer=tokenizer), "x.gguf")
    found = {name.removeprefix("tokenizer."): value for name, value in fields(path).items()}
    assert (found["chat_template"], found["chat_template.tools"]) == (TEMPLATE, "x")
    keys = ("eos", "eot", "padding", "bos")
    assert [found[f"ggml.{key}_token_id"] for key in keys] == [STOP, END, SPEAK, END]
    control, unused, own = 3, 5, 4
    assert found["ggml.token_type"][END:] == [control, own, control, control, unused, unused]
    assert "TEMPLATE" not in Path("x.Modelfile").read_text()


@pytest.mark.parametrize("tied", [True, False])
def test_the_output_layer(tied):
    path = export_gguf(make_run("run", tie_embeddings=tied), "x.gguf")
    assert ("output.weight" in {one.name for one in gguf.GGUFReader(path).tensors}) != tied


def test_the_same_run_gives_the_same_bytes():
    run = make_run("run")
    assert export_gguf(run, "a/x.gguf").read_bytes() == export_gguf(run, "b/x.gguf").read_bytes()


@pytest.mark.parametrize("name", ["x.gguf", "x.Modelfile"])
def test_nothing_is_overwritten(name):
    run = make_run("run")
    Path(name).write_text("mine")
    refuses(lambda: export_gguf(run, "x.gguf"), name, "exists")
    assert Path(name).read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == sorted(["run", name])


def test_blocks_of_ones_own_are_refused():
    run = make_run("run")
    object.__setattr__(run.plan, "block", "Mine")
    refuses(lambda: export_gguf(run, "x.gguf"), "Mine")


def test_q8_0_needs_rows_of_32():
    refuses(lambda: export_gguf(make_run("run"), "x.gguf", "q8_0"), "q8_0", "token_embd.weight", "13")
    assert not Path("x.gguf").exists()
