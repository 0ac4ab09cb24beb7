from pathlib import Path

import pytest
import torch
from tiny import make_run, refuses

from nanogpt.interop.gguf import export
from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.gguf.reading import read_gguf, read_settings
from nanogpt.runs.weights import model_tensors

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install 'nanogpt[gguf]'")

GPT2 = {"n_head": 3, "n_embd": 15, "head_size": None}


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("modern", {}),
        ("modern", {"tie_embeddings": True, "n_head": 6, "n_kv_head": 2}),
        ("gpt2", GPT2),
        ("gpt2", GPT2 | {"tie_embeddings": False, "bias": False, "qkv_bias": False}),
    ],
)
def test_f32_gives_every_weight_back_bit_for_bit(preset, settings):
    run = make_run("run", preset, **settings)
    ours, found = model_tensors(run.model), read_gguf(export_gguf(run, "x.gguf"), run.config.model)
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[name], ours[name]) for name in ours)


@pytest.mark.parametrize(("precision", "bound"), [("f16", 1e-3), ("q8_0", 1e-2)])
def test_the_weights_are_the_files_not_the_runs(precision, bound):
    run = make_run("run", n_embd=32, mlp_hidden=96, head_size=16, n_head=2)
    path = export_gguf(run, "x.gguf", precision)
    assert read_settings(path) == (precision, 11, run.tokenizer.end_of_document)
    ours = model_tensors(run.model)
    for name, weights in read_gguf(path, run.config.model).items():
        difference = (weights - ours[name]).abs().max()
        assert (difference == 0) == (weights.ndim == 1)
        assert difference < bound


@pytest.mark.parametrize(
    ("preset", "settings", "words"),
    [
        ("modern", {"mlp_hidden": 19}, ["ffn_down.weight is [13, 17] in the file and [13, 19]"]),
        ("modern", {"n_layer": 3}, ["blk.2", "missing in the file"]),
        ("gpt2", GPT2, ["qwen3", "gpt2"]),
    ],
)
def test_a_file_of_another_model_is_refused(preset, settings, words):
    path = export_gguf(make_run("run"), "x.gguf")
    refuses(lambda: read_gguf(path, make_run("other", preset, **settings).config.model), *words)


@pytest.mark.parametrize("number", [2, 7])  # llama.cpp's q4_0; q8_0's, whose rounding would explain much
def test_another_number_format_than_the_matrices_have_is_refused(monkeypatch, number):
    monkeypatch.setattr(export, "FILE_TYPES", {"f32": number})
    path = export_gguf(make_run("run"), "x.gguf")
    refuses(lambda: read_settings(path), f"file type {number}", "matrices in f32")


def test_a_bias_that_the_model_lacks_is_refused():
    path = export_gguf(make_run("run", "gpt2", **GPT2), "x.gguf")
    without = make_run("without", "gpt2", qkv_bias=False, **GPT2).config.model
    refuses(lambda: read_gguf(path, without), "qkv.bias", "no such bias")


def test_a_damaged_file_is_refused():
    run = make_run("run")
    whole = export_gguf(run, "x.gguf").read_bytes()
    cut = Path("cut.gguf")
    for size in (0, 3, 20, 100, 1000, len(whole) - 200):
        cut.write_bytes(whole[:size])
        refuses(lambda: read_gguf(cut, run.config.model), "cut.gguf")
    cut.write_bytes(b"no GGUF" * 100)
    refuses(lambda: read_gguf(cut, run.config.model), "damaged")
    refuses(lambda: read_gguf("nothing.gguf", run.config.model), "no such file")


def test_a_length_beyond_the_end_of_the_file_is_refused_at_once():
    """The package alone would count on to 2^62."""
    run = make_run("run")
    data = bytearray(export_gguf(run, "x.gguf").read_bytes())
    field = gguf.GGUFReader("x.gguf").fields["tokenizer.ggml.token_type"]
    length = field.offset + 8 + len(field.name) + 4 + 4
    assert int.from_bytes(data[length : length + 8], "little") == run.tokenizer.vocab_size
    data[length : length + 8] = (1 << 62).to_bytes(8, "little")
    Path("x.gguf").write_bytes(data)
    refuses(lambda: read_gguf("x.gguf", run.config.model), "damaged")
