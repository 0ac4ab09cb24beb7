"""llama.cpp opens what was exported: the same tokens, the same logits, the same text."""

import unicodedata
from contextlib import closing, contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_run, refuses
from vocabularies import END, TOOL, added, llama_tables, qwen_tables, smollm_tables

from nanogpt.config import SampleConfig
from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.gguf.llama import LlamaCpp
from nanogpt.interop.gguf.reading import read_gguf
from nanogpt.interop.gguf.tensors import TOLERANCE, llama_architecture
from nanogpt.interop.verify.compare import allowed_difference, make_contexts
from nanogpt.interop.verify.exports import verify_export
from nanogpt.sampling.generate import generate_ids
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, ByteTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

here = find_spec("llama_cpp") is not None and find_spec("gguf") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.llama,
    pytest.mark.skipif(not here, reason="needs llama.cpp: pip install 'nanogpt[gguf,llama]', which compiles it"),
]

SPANISH = "¿Qué tal, señor? «Añejo» — dijo él, 'y no más'. 日本語 𝄞 ñandú\n"
SENTENCES = "It's one  two, three; 'tis 1234 and we'll see.\n\tThe end — of   it?\n"
FITTING = {"n_head": 4, "n_embd": 64, "head_size": 32, "mlp_hidden": 96}
"""Rows that q8_0 can divide."""
GPT2 = {"n_head": 3, "n_embd": 15, "head_size": None}
NUMBERS = count()


@contextmanager
def opened(run, precision="f32", change=lambda path: None):
    """A run's export in llama.cpp; the run's model gets the weights of the file."""
    path = export_gguf(run, f"{next(NUMBERS)}.gguf", precision)
    run.model.load_state_dict(read_gguf(path, run.config.model), strict=False)
    change(path)
    with closing(LlamaCpp(path, run.config.model.block_size)) as llama:
        yield llama


TOKENIZERS = {
    "char": CharTokenizer.train([SENTENCES]),
    "char, not ASCII": CharTokenizer.train([SPANISH]),
    "char, without an end": CharTokenizer("né–—𝄞", end_of_document=False),
    "char, extended": CharTokenizer.train([SENTENCES]).extend("".join(sorted(set(SPANISH) - set(SENTENCES)))),
    "byte": ByteTokenizer(),
    "byte, without an end": ByteTokenizer(end_of_document=False),
    "bpe": BpeTokenizer.train([SENTENCES * 5, SPANISH * 5], vocab_size=400),
}
some_text = st.text(st.one_of(st.sampled_from(SPANISH + SENTENCES), st.characters(exclude_categories=["Cs", "Cn"])))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_text_has_the_same_ids(name):
    tokenizer = TOKENIZERS[name]
    with opened(make_run("run", tokenizer=tokenizer)) as llama:

        @settings(max_examples=500)
        @given(some_text)
        def same(text):
            assert llama.encode(text) == tokenizer.encode(text, "skip").tolist()

        same()
        for text in (SENTENCES, SPANISH, "", "<|endoftext|>", "\0", "á ë̈", "\r\n \x85\xa0\u2028 \u3000x", "‘’“”" * 99):
            assert llama.encode(text) == tokenizer.encode(text, "skip").tolist()


@pytest.mark.parametrize("tables", [None, qwen_tables, llama_tables, smollm_tables])
def test_text_is_split_the_same_at_every_character(tables):
    """A vocabulary that joins whatever stands side by side in a word, with every character of an old Unicode."""
    letter_of = {byte: letter for letter, byte in BYTE_OF.items()}
    pairs = [(letter_of[first], letter_of[second]) for first in b"a1! \n" for second in range(256)]
    tokens = [*BYTE_OF, *("".join(pair) for pair in pairs)]
    tokenizer = BpeTokenizer(tokens, pairs, None)
    if tables:
        model = {"vocab": {token: number for number, token in enumerate(tokens)}, "merges": pairs}
        end = [added(len(tokens), "<|endoftext|>", True)]
        changed = tables(model=tables()["model"] | model, added_tokens=end, normalizer=None)
        tokenizer = ForeignTokenizer(changed, len(tokens) + 1, len(tokens))
    with opened(make_run("run", tokenizer=tokenizer)) as llama:
        for point in range(0x10000):
            one = chr(point)
            if unicodedata.ucd_3_2_0.category(one) in ("Cn", "Cs"):
                continue
            text = f"a{one}a1{one}1!{one}! {one} \n{one}\n{one}  {one}{one}'{one}r'{one}"
            assert llama.encode(text) == tokenizer.encode(text).tolist(), hex(point)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_each_token_has_its_text_and_only_the_end_ends_one(name):
    from llama_cpp import llama_vocab_is_eog

    tokenizer = TOKENIZERS[name]
    with opened(make_run("run", tokenizer=tokenizer)) as llama:
        inside = llama._llama
        sizes = tokenizer.token_bytes().tolist()
        texts = [inside.detokenize([token]) for token in range(tokenizer.vocab_size)]
        assert list(map(len, texts)) == sizes
        sample = tokenizer.encode(SPANISH, "skip")
        assert b"".join(texts[token] for token in sample).decode() == tokenizer.decode(sample)
        ends = [token for token in range(tokenizer.vocab_size) if llama_vocab_is_eog(inside._model.vocab, token)]
        assert [texts[end] for end in ends] in ([b""], [b"\xff"], [])
        if tokenizer.end_of_document is not None:
            assert ends == [tokenizer.end_of_document]


def largest_difference(run, llama, seed=3):
    """The largest difference of a logit on a prompt that fills the block, and our logits."""
    model = run.config.model
    ids = torch.randint(model.vocab_size, (model.block_size,), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        ours = run.model(ids[None])[0]
    return (llama.logits(ids.tolist()) - ours).abs().max().item(), ours


ODD = [
    ("modern", {"qk_norm": False, "n_embd": 15}),
    ("modern", {"qk_norm": False, "n_embd": 21, "n_head": 7, "n_kv_head": 1, "tie_embeddings": True}),
    ("modern", {"qk_norm": False, "n_embd": 42, "n_head": 6, "n_kv_head": 2, "block_size": 97, "rope_theta": 777.0}),
    ("modern", {"qk_norm": False, "qkv_bias": True, "n_embd": 42, "head_size": None, "tie_embeddings": True}),
    ("modern", {"qk_norm": False, "qkv_bias": True, "n_embd": 60, "n_head": 6, "n_kv_head": 2, "block_size": 97}),
    ("modern", {}),
    ("modern", {"tie_embeddings": True, "rope_theta": 777.0, "norm_eps": 1e-3}),
    ("modern", {"n_head": 6, "n_kv_head": 2, "block_size": 97}),
    ("gpt2", GPT2 | {"n_layer": 3, "block_size": 97}),
    ("gpt2", GPT2 | {"tie_embeddings": False, "bias": False, "qkv_bias": False, "norm_eps": 1e-3}),
]
EVEN = [
    ("modern", FITTING | {"qk_norm": False, "block_size": 61}),
    ("modern", FITTING | {"qk_norm": False, "qkv_bias": True, "head_size": None, "n_kv_head": 2, "block_size": 61}),
    ("modern", FITTING | {"n_kv_head": 1, "block_size": 600}),  # llama.cpp reads 512 tokens at once
    ("modern", FITTING | {"tie_embeddings": True, "block_size": 61}),
    ("gpt2", FITTING | {"head_size": None, "block_size": 300}),
]


@pytest.mark.parametrize(
    ("preset", "settings", "precision"),
    [(*model, precision) for model in ODD for precision in ("f32", "f16")]
    + [(*model, precision) for model in EVEN for precision in ("f32", "f16", "q8_0")],
)
def test_logits_are_ours_on_the_same_weights(preset, settings, precision):
    run = make_run("run", preset, **settings)
    if preset == "modern" and not run.config.model.qk_norm:  # else attention is so sharp that it magnifies rounding
        for block in run.model.blocks:
            block.attention.qkv.weight.data *= 0.5
    with opened(run, precision) as llama:
        difference, ours = largest_difference(run, llama)
        family = llama_architecture(run.config.model).model_type
        assert difference <= allowed_difference(TOLERANCE[family][precision], ours)
        assert 0.3 < ours.std() < 10  # neither flat nor absurd


def setting(key, value):

    def change(path: Path) -> None:
        import gguf

        reader = gguf.GGUFReader(path, "r+")
        reader.fields[key].parts[-1][0] = value
        reader.data.flush()

    return change


def swapped(first: str, second: str):

    def change(path: Path) -> None:
        import gguf

        tensors = {one.name: one.data for one in gguf.GGUFReader(path, "r+").tensors}
        kept = tensors[first].copy()
        tensors[first][:], tensors[second][:] = tensors[second], kept

    return change


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize(
    ("preset", "change", "seen"),
    [
        ("modern", setting("qwen3.rope.freq_base", 500_000.0), ("f32", "f16", "q8_0")),
        ("modern", setting("qwen3.rope.freq_base", 9_900.0), ("f32",)),
        ("modern", setting("qwen3.attention.layer_norm_rms_epsilon", 1e-4), ("f32",)),
        ("modern", swapped("blk.1.attn_q_norm.weight", "blk.1.attn_k_norm.weight"), ("f32", "f16")),
        ("modern", swapped("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"), ("f32", "f16", "q8_0")),
        ("modern", swapped("blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"), ("f32", "f16", "q8_0")),
        ("gpt2", setting("gpt2.attention.layer_norm_epsilon", 1e-2), ("f32",)),
        ("gpt2", swapped("blk.0.ffn_up.weight", "blk.1.ffn_up.weight"), ("f32", "f16", "q8_0")),
        ("gpt2", swapped("blk.0.attn_norm.bias", "blk.0.ffn_norm.bias"), ("f32", "f16", "q8_0")),
    ],
)
def test_the_tolerance_sees_a_wrong_file(preset, change, seen, precision):
    run = make_run("run", preset, **FITTING | ({"head_size": None} if preset == "gpt2" else {}), block_size=61)
    with opened(run, precision, change) as llama:
        difference, ours = largest_difference(run, llama)
        allowed = allowed_difference(TOLERANCE["gpt2" if preset == "gpt2" else "qwen3"][precision], ours)
        if precision in seen:
            assert difference > allowed


@pytest.mark.parametrize("name", ["char", "char, not ASCII", "byte", "bpe"])
@pytest.mark.parametrize("preset", ["modern", "gpt2"])
def test_the_same_200_tokens(name, preset):
    tokenizer = TOKENIZERS[name]
    run = make_run("run", preset, tokenizer=tokenizer, block_size=211, **GPT2 if preset == "gpt2" else {})
    prompt = tokenizer.encode(SPANISH if name != "char" else SENTENCES, "skip")[:11].tolist()
    sampled = generate_ids(run.model, torch.tensor(prompt), SampleConfig(tokens=200, temperature=0.0))
    ours = [row[0] for row in sampled]
    with opened(run) as llama:
        theirs = llama.greedy(prompt, 200)
    same = next((n for n, (one, other) in enumerate(zip(ours, theirs)) if one != other), 200)
    assert len(theirs) == 200
    assert len(set(ours)) > 1
    if same < 200:
        with torch.no_grad():
            first, second = run.model(torch.tensor([prompt + ours[:same]]))[0, -1].topk(2).values
        assert first - second < 1e-4, f"{same} tokens are the same"


@pytest.mark.parametrize(("tables", "end"), [(qwen_tables(), END), (llama_tables(), END + 1), (smollm_tables(), 0)])
def test_a_vocabulary_with_another_rule(tables, end):
    tokenizer = ForeignTokenizer(tables, 271, end)  # some rows of the model have no token
    with opened(make_run("run", tokenizer=tokenizer)) as llama:

        @settings(max_examples=300)
        @given(some_text)
        def same(text):
            text = unicodedata.normalize("NFC", text)
            assert llama.encode(text) == tokenizer.encode(text, "skip").tolist()

        same()
        for text in [" the and in's 1234\r\n\n  x", "a<tool>b <|endoftext|>", " hello a hello", SPANISH, SENTENCES]:
            assert llama.encode(text) == tokenizer.encode(text).tolist()


def test_a_vocabulary_that_composes_characters_does_not_pass():
    run = make_run("run", tokenizer=ForeignTokenizer(qwen_tables(), TOOL + 3, END))
    row = verify_export(run, make_contexts(run.model, run.tokenizer), export_gguf(run, "nfc.gguf"))
    assert (row.ids, len(row.problems)) == ("not the same", 1)
    assert "combining marks" in row.problems[0]
    run.tokenizer = ForeignTokenizer(qwen_tables(normalizer=None), TOOL + 3, END)
    assert verify_export(run, make_contexts(run.model, run.tokenizer), Path("nfc.gguf")).passed


def test_what_would_end_the_process_is_refused():
    for run in (make_run("modern"), make_run("gpt2", "gpt2", **GPT2)):
        with opened(run) as llama:
            assert llama.logits([1] * 11).shape == (11, run.config.model.vocab_size)
            first = llama.logits([1])
            assert first.shape == (1, run.config.model.vocab_size)
            assert len(llama.greedy([1, 2, 3], 9)) == 9  # the last one is written and not read
            assert torch.equal(llama.logits([1]), first)  # nothing is left of the prompt before
            refuses(lambda: llama.logits([1] * 12), "12 tokens", "block_size 11")
            refuses(lambda: llama.greedy([1, 2, 3], 10), "12 tokens", "block_size 11")
            for ids in ([], [-1], [1, run.config.model.vocab_size]):
                refuses(lambda ids=ids: llama.logits(ids), "token ids")
