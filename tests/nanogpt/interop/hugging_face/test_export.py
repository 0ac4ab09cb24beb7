import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import make_run, raising, refuses, token_ids
from vocabularies import END, STOP, TOOL, chat_tables, gpt2_tables, qwen_tables

from nanogpt.config import SampleConfig
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.hugging_face.importing import import_model
from nanogpt.interop.hugging_face.tokenizer import read_tokenizer
from nanogpt.runs.run import load
from nanogpt.sampling.generate import generate_ids
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer, train_tokenizer

TEXT = "der Fuß, ¿qué? 漢字 🙂\n" * 7
QWEN3 = [
    {"n_layer": 2, "n_head": 3, "n_embd": 13, "head_size": 10, "mlp_hidden": 17, "block_size": 11},
    {"n_layer": 3, "n_head": 6, "n_kv_head": 2, "n_embd": 29, "head_size": 14, "mlp_hidden": 23, "block_size": 31},
    {"n_layer": 1, "n_head": 5, "n_kv_head": 1, "n_embd": 7, "head_size": 2, "mlp_hidden": 3, "block_size": 2},
    {"n_layer": 5, "n_head": 2, "n_embd": 37, "head_size": 22, "mlp_hidden": 41, "block_size": 19, "rope_theta": 1e6},
    {"n_layer": 2, "n_head": 7, "n_kv_head": 7, "n_embd": 19, "head_size": 6, "tie_embeddings": True, "norm_eps": 1e-2},
]
GPT2 = [
    {"n_layer": 2, "n_head": 3, "n_embd": 39, "mlp_hidden": 17, "block_size": 11},
    {"n_layer": 3, "n_head": 5, "n_embd": 35, "mlp_hidden": 23, "block_size": 31, "tie_embeddings": False},
    {"n_layer": 1, "n_head": 1, "n_embd": 7, "mlp_hidden": 3, "block_size": 2, "norm_eps": 1e-2},
    {"n_layer": 5, "n_head": 2, "n_embd": 22, "mlp_hidden": 41, "block_size": 19, "activation": "relu"},
    {"n_layer": 2, "n_head": 7, "n_embd": 77, "mlp_hidden": 13, "bias": False, "qkv_bias": False, "activation": "gelu"},
]
LLAMA = [
    sizes | {"n_embd": sizes["n_head"] * factor, "qk_norm": False} for sizes, factor in zip(QWEN3, (13, 7, 3, 11, 5))
]
QWENS = ForeignTokenizer(qwen_tables(), TOOL + 3, END)
QWEN2 = [sizes | {"qk_norm": False, "qkv_bias": True, "tokenizer": QWENS} for sizes in QWEN3]
FAMILIES = {
    "Qwen3ForCausalLM": [("modern", sizes) for sizes in QWEN3],
    "LlamaForCausalLM": [("modern", sizes) for sizes in LLAMA],
    "Qwen2ForCausalLM": [("modern", sizes) for sizes in QWEN2],
    "GPT2LMHeadModel": [("gpt2", sizes | {"head_size": None}) for sizes in GPT2],
}
SECOND = [models[1] for models in FAMILIES.values()]


def exported(preset, sizes, **rest):
    run = make_run("run", preset, **rest | sizes)
    export_hugging_face(run, "out")
    return run


def theirs():
    from transformers import AutoModelForCausalLM

    model, problems = AutoModelForCausalLM.from_pretrained("out", output_loading_info=True)
    assert not any(problems.values()), problems
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "preset", "sizes"), [(name, *model) for name, models in FAMILIES.items() for model in models]
)
def test_transformers_gives_the_same_logits(family, preset, sizes):
    run = exported(preset, sizes)
    T = run.config.model.block_size  # a full context
    idx = token_ids(3, T, vocab_size=run.config.model.vocab_size)
    model = theirs()
    assert type(model).__name__ == family
    with torch.no_grad():
        ours, other = run.model(idx), model(idx).logits
    assert ours.std() > 0.1  # not all alike
    torch.testing.assert_close(other, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "sizes"), SECOND)
def test_prompts_of_two_lengths_in_one_batch(preset, sizes):
    from transformers import pipeline

    exported(preset, sizes, text="abcdefghij klmnop")
    write = pipeline("text-generation", "out", do_sample=False, max_new_tokens=5)
    prompts = ["abc", "klm hij"]
    together = [found[0]["generated_text"] for found in write(prompts, batch_size=2)]
    assert together == [write(prompt)[0]["generated_text"] for prompt in prompts]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "sizes"), SECOND)
def test_transformers_writes_the_same_text(preset, sizes):
    run = exported(preset, sizes, text="abcdefghij klmnop")
    prompt = torch.tensor([3, 1, 4])
    tokens = run.config.model.block_size - len(prompt)
    ours = [row[0] for row in generate_ids(run.model, prompt, SampleConfig(temperature=0, tokens=tokens))]
    config = theirs().generation_config
    assert (config.eos_token_id, config.do_sample) == (run.tokenizer.end_of_document, True)
    other = theirs().generate(prompt[None], do_sample=False, max_new_tokens=tokens, eos_token_id=-1)
    assert other[0, 3:].tolist() == ours


@pytest.mark.slow
@pytest.mark.parametrize(
    "tokenizer",
    [
        CharTokenizer.train([TEXT]),
        CharTokenizer.train(["ab \n"], end_of_document=False),
        CharTokenizer.train(["edr "]).extend("é漢\n"),
        ByteTokenizer(),
        ByteTokenizer(end_of_document=False),
        train_tokenizer("bpe", [TEXT + "one and two, 34 and 567 's it's\t\r\n  "] * 9, vocab_size=300),
    ],
    ids=["char", "char without end", "char extended", "byte", "byte without end", "bpe"],
)
def test_auto_tokenizer_gives_the_same_ids(tokenizer):
    from transformers import AutoTokenizer

    run = make_run("run", tokenizer=tokenizer)
    export_hugging_face(run, "out")
    other = AutoTokenizer.from_pretrained("out")
    assert other.eos_token_id == other.pad_token_id == tokenizer.end_of_document
    assert other.model_max_length == run.config.model.block_size
    for text in [
        *["", " ", "one and two 34 it's", TEXT, "a<|endoftext|>b", "\r\n\t x\u0085\ufeff y", "e\u0301 ﷽ שלום 👩‍👩‍👧‍👦"],
        "".join(map(chr, range(1, 0x3000, 7))),
    ]:
        ids = tokenizer.encode(text, "skip").tolist()
        assert other(text).input_ids == ids
        assert other.decode(ids) == tokenizer.decode(ids)
    if tokenizer.end_of_document is not None:
        end = [*tokenizer.encode("der"), tokenizer.end_of_document]
        assert other.decode(end, skip_special_tokens=True) == "der"


TYPED = "a<|endoftext|>b <|im_start|><|other|><|unused_268|><tool>"


@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "gpt2", "qwen"])
def test_the_library_that_reads_tokenizer_json_alone_finds_no_special_token_in_a_text(kind):
    import tokenizers

    made = {
        "char": lambda: CharTokenizer.train([TEXT + TYPED]),
        "byte": ByteTokenizer,
        "bpe": lambda: train_tokenizer("bpe", [TEXT] * 9, vocab_size=283),
        "gpt2": lambda: their_tokenizer(gpt2_tables),
        "qwen": lambda: their_tokenizer(qwen_tables),
    }
    tokenizer = made[kind]()
    run = make_run("run", "gpt2", n_embd=12, n_head=3, head_size=None, tokenizer=tokenizer)
    export_hugging_face(run, "out")
    bare = tokenizers.Tokenizer.from_file("out/tokenizer.json")
    ids = tokenizer.encode(TYPED, "skip").tolist()
    assert bare.encode(TYPED).ids == ids
    assert (TOOL in ids) == (kind == "qwen")
    settings = json.loads(Path("out/tokenizer_config.json").read_text())
    decoder = settings["added_tokens_decoder"].items()
    listed = {int(one): token["content"] for one, token in decoder if token["special"]}
    assert listed.items() <= tokenizer.special_token_names().items()
    assert all(bare.token_to_id(name) == number for number, name in listed.items())
    back = load(import_model("out", "back").path).tokenizer
    assert (back.to_dict(), back.imported) == (tokenizer.to_dict(), tokenizer.imported)


def their_tokenizer(tables):
    """A tokenizer with special tokens of a chat, and rows of the model that have no token."""
    Path("theirs").mkdir()
    Path("theirs/tokenizer.json").write_text(json.dumps(chat_tables(tables)))
    return read_tokenizer(Path("theirs"), STOP + 3, END)


def test_the_weights_keep_their_bits():
    run = exported("modern", QWEN3[0])
    found = load_file("out/model.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    whole = run.model.blocks[1].attention.qkv.weight
    rows = torch.cat([found[f"model.layers.1.self_attn.{one}_proj.weight"] for one in "qkv"])
    assert torch.equal(rows, whole)
    assert sum(tensor.numel() for tensor in found.values()) == run.model.parameter_count


@pytest.mark.parametrize(
    ("preset", "settings", "part"),
    [
        ("lecture", {}, "head_bias (its output layer has no bias)"),
        ("modern", {"norm": "layer"}, "norm ("),
        ("modern", {"norm_position": "post"}, "norm_position ("),
        ("modern", {"position": "sinusoidal"}, "position ("),
        ("modern", {"activation": "relu"}, "activation ("),
        ("modern", {"qk_norm": False, "n_embd": 13, "n_head": 3, "head_size": 4, "mlp_hidden": 17}, "n_embd ("),
        ("modern", {"qkv_bias": True}, "qkv_bias ("),
        ("modern", {"bias": True}, "bias ("),
        ("modern", {"head_bias": True}, "head_bias ("),
        ("modern", {"mask_documents": True, "document_token": 3}, "mask_documents ("),
        ("gpt2", {"norm": "rms"}, "norm ("),
        ("gpt2", {"norm_position": "post"}, "norm_position ("),
        ("gpt2", {"position": "sinusoidal"}, "position ("),
        ("gpt2", {"activation": "swiglu"}, "activation ("),
        ("gpt2", {"qk_norm": True}, "qk_norm ("),
        ("gpt2", {"n_kv_head": 1}, "n_kv_head ("),
        ("gpt2", {"head_size": 2}, "head_size ("),
        ("gpt2", {"mask_documents": True, "document_token": 3}, "mask_documents ("),
    ],
)
def test_a_part_that_no_family_has_is_refused_by_name(preset, settings, part):
    run = make_run("run", preset, **{"n_embd": 12, "n_head": 3, "head_size": None} | settings)
    refuses(lambda: export_hugging_face(run, "out"), part)
    assert not Path("out").exists()


@pytest.mark.parametrize("tokenizer", [None, ByteTokenizer(), ForeignTokenizer(qwen_tables(normalizer=None), 271, END)])
def test_a_tokenizer_that_transformers_would_replace_is_refused(tokenizer):
    run = make_run("run", qk_norm=False, qkv_bias=True, tokenizer=tokenizer)
    refuses(lambda: export_hugging_face(run, "out"), "Qwen2", run.tokenizer.kind, "--qkv-bias")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_all_files_have_the_permissions_of_a_new_file():
    export_hugging_face(make_run("run"), "out")
    Path("new").touch()
    files = [path for folder in ("out", "run") for path in Path(folder).rglob("*") if path.is_file()]
    assert {path.stat().st_mode for path in files} == {Path("new").stat().st_mode}


def test_refusals(monkeypatch):
    run = make_run("run")
    Path("out").mkdir()
    refuses(lambda: export_hugging_face(run, "out"), "out", "exists")
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr("nanogpt.interop.hugging_face.export.save_file", raising(full))
        refuses(lambda: export_hugging_face(run, "second"), "second", "No space left")
    run.tokenizer = CharTokenizer("ab\ud800")  # no text file has it; a text from Python could
    refuses(lambda: export_hugging_face(run, "second"), "half a character")
    object.__setattr__(run.plan, "block", "Mine")
    refuses(lambda: export_hugging_face(run, "second"), "Mine")
    assert sorted(path.name for path in Path().iterdir()) == ["out", "run"]


def card_of(run, **settings):
    export_hugging_face(run, "out", **settings)
    card = Path("out/README.md").read_text(encoding="utf-8")
    shutil.rmtree("out")
    return card


def test_the_model_card_of_a_trained_model(finished_run):
    run = load(finished_run)
    card = card_of(run, licence="mit")
    done = json.loads((finished_run / "metrics.jsonl").read_text().splitlines()[-1])
    for part in ("license: mit", "cats", f"{done['loss']:.4f} nats per token", "whole split", "2 layers", "muon"):
        assert part in card
    assert f"{run.model.parameter_count:,}" in card
