"""Models from Transformers as runs: the same logits, the same bytes on the way back, and nothing is trusted."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_run, refuses, token_ids, write_text
from vocabularies import (
    END,
    MERGES,
    SPEAK,
    STOP,
    TEMPLATE,
    TOKENS,
    chat_tables,
    gpt2_tables,
    llama_tables,
    qwen_tables,
    smollm_tables,
)

import nanogpt
from nanogpt.config import SampleConfig
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.hugging_face.importing import import_model
from nanogpt.interop.verify.compare import make_contexts
from nanogpt.interop.verify.exports import verify_export
from nanogpt.sampling.generate import generate_ids
from nanogpt.text.bpe import BpeTokenizer, ByteTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

V = END + 2
AS_LLAMA = {"qk_norm": False, "n_embd": 15}
AS_QWEN2 = {"qk_norm": False, "qkv_bias": True, "tokenizer": ForeignTokenizer(qwen_tables(), V, END)}
QWEN3 = [
    {"hidden_size": 13, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 10, "intermediate_size": 17},
    {"hidden_size": 29, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 14, "intermediate_size": 23},
    {"hidden_size": 7, "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 3},
    {"hidden_size": 37, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 22}
    | {"tie_word_embeddings": True},
    {"hidden_size": 19, "num_attention_heads": 7, "num_key_value_heads": 7, "head_dim": 6, "rms_norm_eps": 1e-2},
]
GPT2 = [
    {"n_embd": 39, "n_head": 3, "n_inner": 17},
    {"n_embd": 35, "n_head": 5, "n_inner": 23, "tie_word_embeddings": False},
    {"n_embd": 7, "n_head": 1},
    {"n_embd": 22, "n_head": 2, "activation_function": "relu", "layer_norm_epsilon": 1e-2},
    {"n_embd": 77, "n_head": 7, "activation_function": "gelu"},
]
LLAMA = [sizes | {"hidden_size": sizes["num_attention_heads"] * n} for sizes, n in zip(QWEN3, (7, 13, 3, 11, 5))]
QWEN2 = [sizes | {"hidden_size": sizes["num_attention_heads"] * sizes["head_dim"], "head_dim": None} for sizes in QWEN3]
WINDOWS = (None, 31, None, 37, 31)
"""A context has 31 positions: none of these windows hides any."""
FAMILIES = {
    "qwen3": QWEN3,
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral": [sizes | {"sliding_window": window} for sizes, window in zip(LLAMA, WINDOWS)],
    "qwen2": [{key: size for key, size in sizes.items() if size is not None} for sizes in QWEN2],
}
MODELS = [(kind, sizes) for kind, family in FAMILIES.items() for sizes in family]


def save_theirs(kind, sizes, out="theirs", **how):
    """A model of Transformers with weights that were drawn, saved with a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    common = {"vocab_size": V, "eos_token_id": END, "bos_token_id": END}
    defaults = {"num_hidden_layers": 2, "intermediate_size": 41, "max_position_embeddings": 31}
    defaults = {"n_layer": 3, "n_positions": 29} if kind == "gpt2" else defaults
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **common | defaults | sizes))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((p.ndim == 1) + 0.3 * torch.randn(p.shape, generator=generator))
    model = model.to(how.pop("dtype", torch.float32))
    model.save_pretrained(out, **how)
    tables = gpt2_tables() if kind == "gpt2" else qwen_tables()
    Path(out, "tokenizer.json").write_text(json.dumps(tables), encoding="utf-8")
    return model.float().eval()


def write_theirs(change=lambda config: None, tensors=lambda found: found, out="theirs"):
    """A folder as Transformers would write it, made without it: a run of ours exported, then changed."""
    run = make_run("ours", "gpt2", n_embd=12, n_head=3, head_size=None, tokenizer=ByteTokenizer())
    export_hugging_face(run, out)
    path = Path(out, "config.json")
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    save_file(tensors(load_file(Path(out, "model.safetensors"))), Path(out, "model.safetensors"))
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sizes"), MODELS)
def test_theirs_to_ours_and_back(kind, sizes):
    theirs = save_theirs(kind, sizes)
    run = nanogpt.load(import_model("theirs", "run").path)
    idx = token_ids(3, run.config.model.block_size, vocab_size=V)
    with torch.no_grad():
        ours, other = run.model(idx), theirs(idx).logits
    assert other.std() > 0.1
    torch.testing.assert_close(ours, other, atol=5e-5, rtol=1e-5)  # no QK-norm: attention is sharp, magnifies rounding
    tokens = run.config.model.block_size - 3
    written = theirs.generate(idx[:1, :3], do_sample=False, max_new_tokens=tokens, eos_token_id=-1)[0, 3:].tolist()
    greedy = SampleConfig(temperature=0, tokens=tokens)
    assert [row[0] for row in generate_ids(run.model, idx[0, :3], greedy)] == written
    export_hugging_face(run, "back")
    before, after = load_file("theirs/model.safetensors"), load_file("back/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = nanogpt.load(import_model("back", "again").path)
    same = {"head_size": run.config.model.head_channels}  # exported also where it is n_embd / n_head
    assert again.config.override(**same).model == run.config.override(**same).model
    assert again.tokenizer.to_dict() == run.tokenizer.to_dict()


@pytest.mark.parametrize("preset", ["modern", "gpt2"])
@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "char without end", "char extended"])
def test_a_run_comes_back_as_it_was(preset, kind):
    tokenizers = {
        "char": CharTokenizer.train(["né 漢 <|endoftext|>"]),
        "char without end": CharTokenizer.train(["né 漢"], end_of_document=False),
        "char extended": CharTokenizer.train(["né 漢"]).extend("☃a"),
        "byte": ByteTokenizer(),
        "bpe": BpeTokenizer.train(["low lower lowest"] * 9, vocab_size=263),
    }
    run = make_run("run", preset, n_embd=12, n_head=3, head_size=None, tokenizer=tokenizers[kind])
    export_hugging_face(run, "out")
    back = nanogpt.load(import_model("out", "back").path)
    assert back.tokenizer.to_dict() == run.tokenizer.to_dict()
    ours = dict(run.model.named_parameters())
    theirs = dict(back.model.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(ours[name].detach().numpy().tobytes() == theirs[name].detach().numpy().tobytes() for name in ours)
    same = {"dropout": 0.0, "attention_dropout": 0.0, "embedding_dropout": 0.0, "n_kv_head": 3, "head_size": 4}
    assert back.config.override(**same).model == run.config.override(**same).model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "tables", "end"),
    [
        ("qwen3", qwen_tables(), END),
        ("gpt2", gpt2_tables(), END),
        ("llama", llama_tables(), END + 1),
        ("llama", smollm_tables(), 0),
        ("qwen2", qwen_tables(), END),
        ("mistral", qwen_tables(), END),
    ],
)
def test_their_tokenizer_gives_their_ids_before_and_after(kind, tables, end):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    save_theirs(kind, FAMILIES[kind][-1] | {"eos_token_id": end, "vocab_size": V + 4})
    Path("theirs/tokenizer.json").write_text(json.dumps(tables))
    other = PreTrainedTokenizerFast.from_pretrained("theirs", split_special_tokens=True)
    run = nanogpt.load(import_model("theirs", "run").path)
    export_hugging_face(run, "back")
    back, tokenizer = AutoTokenizer.from_pretrained("back"), run.tokenizer
    assert isinstance(tokenizer, BpeTokenizer if kind == "gpt2" else ForeignTokenizer)
    assert tokenizer.end_of_document == back.eos_token_id == end
    texts = ["", "the and in 1234's\n\n  x", "e\u0301té <|endoftext|> a hello<tool>", "漢字 🙂\r\n\u0085"]
    for text in [*texts, "".join(map(chr, range(1, 999)))]:
        ids = tokenizer.encode(text).tolist()
        assert ids == other(text).input_ids == back(text).input_ids
        assert tokenizer.decode(ids) == other.decode(ids) == back.decode(ids)
        decoder = tokenizer.decoder()
        assert "".join(map(decoder.feed, ids)) + decoder.flush() == tokenizer.decode(ids)


def write_chat(tables, template=True, out="theirs"):
    """A chat model with its special tokens, template and stops."""
    write_theirs(
        lambda config: config.update(vocab_size=STOP + 5, eos_token_id=STOP),
        lambda found: padded(found, 257, STOP + 5),
        out,
    )
    pad = {"content": "<|endoftext|>", "__type": "AddedToken", **dict.fromkeys(("lstrip", "rstrip"), False)}
    config = {"eos_token": "<|im_end|>", "pad_token": pad, "unk_token": "<none>", "sep_token": "x"}
    config |= {"additional_special_tokens": ["<|im_start|>", "<none>"], "auto_map": "code.Code"}
    generation = {"eos_token_id": [STOP, END, 10**9], "pad_token_id": END, "top_k": 20, "bos_token_id": -1}
    if template == "file":
        Path(out, "chat_template.jinja").write_text(TEMPLATE)
    elif template:
        config["chat_template"] = TEMPLATE
    for name, content in (
        ("tokenizer", chat_tables(tables)),
        ("tokenizer_config", config),
        ("generation_config", generation),
    ):
        Path(out, f"{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("tables", [qwen_tables, gpt2_tables])
@pytest.mark.parametrize("template", ["file", True])
def test_a_chat_model_keeps_template_special_tokens_and_stops(tables, template):
    write_chat(tables, template)
    run = nanogpt.load(import_model("theirs", "run").path)
    names = run.tokenizer.special_token_names()
    assert [names[one] for one in (END, SPEAK, STOP)] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    export_hugging_face(run, "out")
    config, generation, written = (
        json.loads(Path("out", f"{name}.json").read_text())
        for name in ("tokenizer_config", "generation_config", "tokenizer")
    )
    assert config["chat_template"] == TEMPLATE
    assert [config[f"{name}_token"] for name in ("bos", "eos", "pad")] == [None, "<|im_end|>", "<|endoftext|>"]
    assert config["additional_special_tokens"] == ["<|im_start|>"]  # no row of the model is <none>
    assert not {"unk_token", "auto_map"} & config.keys()
    assert (generation["eos_token_id"], generation["pad_token_id"]) == ([STOP, END], END)
    special = {one["id"]: one["content"] for one in written["added_tokens"] if one["special"]}
    assert special.items() >= {END: "<|endoftext|>", SPEAK: "<|im_start|>", STOP: "<|im_end|>"}.items()
    again = nanogpt.load(import_model("out", "again").path).tokenizer
    assert (again.to_dict(), again.imported) == (run.tokenizer.to_dict(), run.tokenizer.imported)
    tuned = nanogpt.train(write_text(), start_from="run", steps=1, out="tuned", batch_size=2, progress=False)
    own, tuned_to = (json.loads(Path(name, "tokenizer.json").read_text()) for name in ("run", "tuned"))
    own.pop("bos")  # a text of one document begins after a newline
    assert own == tuned_to
    assert tuned.tokenizer.encode("<|im_end|>").tolist() == run.tokenizer.encode("<|im_end|>").tolist()
    assert len(run.tokenizer.encode("<|im_end|>")) == 10  # input never becomes a special token


@pytest.mark.slow
@pytest.mark.parametrize("tables", [qwen_tables, gpt2_tables])
def test_transformers_applies_the_template_of_an_export(tables):
    from transformers import AutoTokenizer

    write_chat(tables)
    run = nanogpt.load(import_model("theirs", "run").path)
    export_hugging_face(run, "out")
    other = AutoTokenizer.from_pretrained("out")
    said = other.apply_chat_template([{"role": "user", "content": "the"}]).input_ids
    assert said == [SPEAK, *run.tokenizer.encode("the"), STOP, *run.tokenizer.encode("1")]
    typed = other("<|im_end|>", split_special_tokens=True).input_ids
    assert typed == run.tokenizer.encode("<|im_end|>").tolist()
    assert verify_export(run, make_contexts(run.model, run.tokenizer), Path("out")).passed


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", {"chat_template": 3}),
        ("tokenizer_config.json", {"chat_template": "x" * 10**6 + "y"}),
        ("tokenizer_config.json", {"chat_template": "\ud800"}),
        ("tokenizer_config.json", {"eos_token": 3}),
        ("tokenizer_config.json", []),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"special": True}}}),
        ("tokenizer_config.json", {"pad_token": {"special": True}}),
        ("generation_config.json", {"eos_token_id": "2"}),
    ],
)
def test_damaged_files_next_to_a_tokenizer(file, content):
    write_chat(gpt2_tables)
    Path("theirs", file).write_text(json.dumps(content))
    refuses(lambda: import_model("theirs", "run"), "theirs", "download")
    assert not Path("run").exists()


@pytest.mark.slow
def test_sixteen_bit_weights_and_shards():
    from transformers import AutoModelForCausalLM

    save_theirs(*MODELS[1], dtype=torch.bfloat16, max_shard_size="20kB")
    theirs = AutoModelForCausalLM.from_pretrained("theirs", dtype=torch.float32).eval()
    assert len(list(Path("theirs").glob("*.safetensors"))) > 2
    run = nanogpt.load(import_model("theirs", "run").path)
    idx = token_ids(2, 7, vocab_size=V)
    with torch.no_grad():
        torch.testing.assert_close(run.model(idx), theirs(idx).logits, atol=1e-5, rtol=1e-5)


def test_openais_own_file_has_shorter_names_and_tables():
    def bare(found):
        mask = {"h.0.attn.bias": torch.ones(1, 1, 11, 11), "h.1.attn.masked_bias": torch.tensor(-1e4)}
        return mask | {name.removeprefix("transformer."): tensor for name, tensor in found.items()}

    run = write_theirs(tensors=bare)
    back = nanogpt.load(import_model("theirs", "back").path)
    assert torch.equal(back.model.blocks[1].mlp.up.weight, run.model.blocks[1].mlp.up.weight)


def test_gpt2s_own_tokenizer_files():
    write_theirs(lambda config: config.update(vocab_size=V + 4), lambda found: padded(found, 257, V + 4))
    Path("theirs/tokenizer.json").unlink()
    vocab = {token: number for number, token in enumerate([*TOKENS, "<|endoftext|>"])}
    Path("theirs/vocab.json").write_text(json.dumps(vocab))
    Path("theirs/merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in MERGES))
    tokenizer = nanogpt.load(import_model("theirs", "back").path).tokenizer
    assert tokenizer.encode(" the and").tolist() == [vocab["Ġthe"], vocab["Ġ"], vocab["and"]]
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (V + 4, None)  # config.json's end has a text here


def padded(found, rows, size):
    """More rows in the embedding than tokens: as many models have, for speed."""
    name = "transformer.wte.weight"
    return found | {name: torch.cat([found[name], torch.zeros(size - rows, found[name].size(1))])}


def test_a_shorter_context():
    run = write_theirs()
    back = nanogpt.load(import_model("theirs", "back", block_size=7).path)
    assert torch.equal(back.model.position_embedding.weight, run.model.position_embedding.weight[:7])
    idx = token_ids(2, 7, vocab_size=257)
    with torch.no_grad():
        torch.testing.assert_close(back.model(idx), run.model(idx))
    refuses(lambda: import_model("theirs", "longer", block_size=12), "12", "1 to 11")


def test_an_imported_run_generates_and_is_evaluated_but_has_no_text():
    write_theirs()
    run = nanogpt.load(import_model("theirs", "back").path)
    assert run.plan.imported
    assert len(run.generate("abc", tokens=5, temperature=0)) >= 4
    assert run.evaluate(write_text()).tokens == 1000
    refuses(run.evaluate, "was imported", "--text", "--from back")
    refuses(lambda: nanogpt.train(resume="back", progress=False), "was imported")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gemma"}, ["model_type is 'gemma'", "llama, mistral, qwen3, qwen2, gpt2"]),
        ({"model_type": None}, ["model_type is None"]),
        ({"activation_function": "quick_gelu"}, ["activation_function is 'quick_gelu'"]),
        ({"scale_attn_by_inverse_layer_idx": True}, ["scale_attn_by_inverse_layer_idx is True"]),
        ({"n_embd": None}, ["config.json"]),
        ({"n_embd": "12"}, ["config.json"]),
        ({"n_embd": 13}, ["13", "not divisible"]),
        ({"n_inner": 24}, ["[17]", "[24]"]),
        ({"n_layer": 3}, ["transformer.h.2."]),
        ({"n_layer": 1}, ["transformer.h.1."]),
        ({"n_layer": 10**12}, ["1,000,000,000,000 layers"]),
        ({"vocab_size": 10**12}, ["vocab_size is 1,000,000,000,000"]),
        ({"n_positions": 10**12}, ["[11, 12]", "[1000000000000, 12]"]),
    ],
)
def test_a_gpt2_config_that_cannot_be_imported(change, words):
    write_theirs(lambda config: config.update(change))
    refuses(lambda: import_model("theirs", "back"), *words)
    assert not Path("back").exists()


@pytest.mark.parametrize(
    ("parts", "changes", "words"),
    [
        ({}, {"model_type": "bert"}, "model_type is 'bert'"),
        ({}, {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({}, {"attention_bias": True}, "attention_bias is True"),
        ({}, {"use_sliding_window": True}, "use_sliding_window is True"),
        ({}, {"rope_scaling": {"factor": 2}}, "rope_scaling is"),
        ({}, {"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({}, {"layer_types": ["sliding_attention"] * 2}, "layer_types"),
        ({}, {"max_position_embeddings": 10**11}, "--block-size"),
        (AS_LLAMA, {"attention_bias": True}, "attention_bias is True"),
        (AS_LLAMA, {"mlp_bias": True}, "mlp_bias is True"),
        (AS_LLAMA, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling is {'rope_type': 'llama3'"),
        (AS_LLAMA, {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_type is 'llama3'"),
        (AS_LLAMA, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
        (AS_LLAMA, {"partial_rotary_factor": 0.25}, "partial_rotary_factor is 0.25"),
        (AS_LLAMA, {"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        (AS_LLAMA, {"model_type": "mistral", "sliding_window": 10}, "sliding_window is 10"),
        (AS_LLAMA, {"model_type": "mistral", "max_position_embeddings": 4099}, "sliding_window is 4,096"),  # by default
        (AS_QWEN2, {"use_sliding_window": True}, "use_sliding_window is True"),
        (AS_QWEN2, {"model_type": "llama"}, "self_attn.k_proj.bias, which config.json does not ask for"),
    ],
)
def test_a_config_that_cannot_be_imported(parts, changes, words):
    export_hugging_face(make_run("run", **parts), "theirs")
    path = Path("theirs/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert refuses(lambda: import_model("theirs", "back"), words).count("config.json") == 1


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, '{"model_type": "gpt2"}'])
def test_a_damaged_config(text):
    write_theirs()
    Path("theirs/config.json").write_text(text)
    refuses(lambda: import_model("theirs", "back"), "config.json")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_never_read(name):
    write_theirs()
    Path("theirs/model.safetensors").rename(Path("theirs", name))
    refuses(lambda: import_model("theirs", "back"), name, "could run code", "safetensors")


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("adapter_config.json", "other", ["merge_and_unload()", "save_pretrained()"]),
        ("ckpt.pt", "other", ["other/ckpt.pt", "weights_only=True", "GPT-2"]),
        ("ckpt.pt", "other/ckpt.pt", ["other/ckpt.pt", "weights_only=True", "GPT-2"]),
    ],
)
def test_adapters_and_checkpoints_are_refused_with_the_way_that_works(file, source, words):
    Path("other").mkdir()
    Path("other", file).write_bytes(b"{}")
    refuses(lambda: import_model(source, "back"), *words)


def test_weights_that_are_not_what_the_header_says():
    write_theirs(tensors=lambda found: found | {"transformer.wpe.weight": torch.zeros(11, 12, dtype=torch.float64)})
    refuses(lambda: import_model("theirs", "back"), "transformer.wpe.weight", "F64")
    path = Path("theirs/model.safetensors")
    path.write_bytes(path.read_bytes()[:-9])
    refuses(lambda: import_model("theirs", "back"), "model.safetensors is damaged")
    path.write_bytes((10**15).to_bytes(8, "little") + b"{}")
    refuses(lambda: import_model("theirs", "back"), "1,000,000,000,000,000 bytes")


def split_theirs():
    """Divide the weights into two shards with an index."""
    whole = Path("theirs/model.safetensors")
    tensors = sorted(load_file(whole).items())
    whole.unlink()
    shards = {"model-1.safetensors": dict(tensors[:5]), "model-2.safetensors": dict(tensors[5:])}
    for file, part in shards.items():
        save_file(part, Path("theirs", file))
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    Path("theirs/model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("sharded", [False, True])
def test_other_weights_in_the_folder_are_not_read(sharded):
    """A backup or a stale shard; Transformers leaves them out too."""
    write_theirs()
    expected = load_file("theirs/model.safetensors")
    if sharded:
        split_theirs()
    for name in ("a_backup.safetensors", "pytorch_model.safetensors"):
        save_file({name: tensor + 1 for name, tensor in expected.items()}, Path("theirs", name))
    import_model("theirs", "back")
    found = nanogpt.load("back").model.state_dict()
    assert torch.equal(found["token_embedding.weight"], expected["transformer.wte.weight"])


def test_a_tensor_that_two_files_have_is_refused():
    write_theirs()
    Path("theirs/model.safetensors").rename("theirs/one.safetensors")
    shutil.copy("theirs/one.safetensors", "theirs/two.safetensors")
    refuses(lambda: import_model("theirs", "back"), "one.safetensors", "two.safetensors")


@pytest.mark.parametrize("file", ["../secret.safetensors", "gone.safetensors", 3, None])
def test_an_index_that_names_no_file_of_the_folder(file):
    write_theirs()
    split_theirs()
    index = {"weight_map": {"transformer.wte.weight": file}} if file else {}
    Path("theirs/model.safetensors.index.json").write_text(json.dumps(index))
    refuses(lambda: import_model("theirs", "back"), str(file) if file == "gone.safetensors" else "index.json")
    assert sorted(path.name for path in Path().iterdir()) == ["ours", "theirs"]


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_pipe_is_not_read():
    write_theirs()
    Path("theirs/model.safetensors").unlink()
    os.mkfifo("theirs/model.safetensors")
    refuses(lambda: import_model("theirs", "back"), "model.safetensors")


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (gpt2_tables(model={"type": "Unigram", "vocab": []}), ["Unigram"]),
        (qwen_tables(r"(a+)+$"), ["pattern"]),
        (qwen_tables(normalizer={"type": "Lowercase"}), ["NFC"]),
        (qwen_tables(decoder={"type": "Fuse"}), ["bytes"]),
        (qwen_tables(pre_tokenizer={"type": "Sequence", "pretokenizers": []}), []),
        (gpt2_tables(model=gpt2_tables()["model"] | {"byte_fallback": True}, pre_tokenizer=None), ["SentencePiece"]),
        ({"model": 3}, []),
        (gpt2_tables(), ["263", "257"]),  # more tokens than the model
        (qwen_tables(), ["263", "257"]),
    ],
)
def test_a_tokenizer_that_cannot_be_imported(tables, words):
    write_theirs()
    Path("theirs/tokenizer.json").write_text(json.dumps(tables))
    Path("theirs/tokenizer_config.json").unlink()  # it lists the tokens of another file
    refuses(lambda: import_model("theirs", "back"), "tokenizer.json", *words)
    assert not Path("back").exists()


def test_sources_and_targets_that_are_refused():
    write_theirs()
    Path("back").mkdir()
    refuses(lambda: import_model("theirs", "back"), "back", "exists")
    refuses(lambda: import_model("back"), "config.json")
    refuses(lambda: import_model("no/such/folder/here"), "no/such/folder/here")
    Path("model.bin").write_bytes(b"")
    refuses(lambda: import_model("model.bin"), "model.bin")


def test_a_model_of_the_hub(monkeypatch):
    asked = {}

    def snapshot_download(self, name, **options):
        asked.update(options, name=name)
        return shutil.move("theirs", "cached")

    write_theirs()
    monkeypatch.setattr("huggingface_hub.HfApi.snapshot_download", snapshot_download)
    run = import_model("someone/small-gpt")
    assert run.path == Path("runs/small-gpt")
    assert asked["name"] == "someone/small-gpt"
    assert not any(pattern.endswith((".bin", ".py", ".pt")) or pattern == "*" for pattern in asked["allow_patterns"])


def test_a_hub_that_cannot_be_reached():
    refuses(lambda: import_model("someone/small-gpt"), "someone/small-gpt", "local folder")
