"""Tokenizers of others for tests: byte-level BPE with a few merges, as Hugging Face's `tokenizer.json` has them."""

from nanogpt.text.bpe import BYTE_OF
from nanogpt.text.foreign import LLAMA_WORDS, QWEN_WORDS

MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("a", "n"), ("an", "d")]
TOKENS = [*BYTE_OF, *("".join(pair) for pair in MERGES)]
END, TOOL = len(TOKENS), len(TOKENS) + 1
"""Ids of two added tokens: the first is special, the second matched in a text."""
SPEAK, STOP = TOOL + 1, TOOL + 2
"""Ids of two special tokens that a chat model has besides."""
TEMPLATE = "{% for one in messages %}<|im_start|>{{ one.content }}<|im_end|>{% endfor %}{{ 1 // (messages | length) }}"
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}


def added(number, content, special):
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, "special": special, **flags}


def gpt2_tables(**changes):
    """With GPT-2's rule of dividing a text."""
    return {
        "version": "1.0",
        "added_tokens": [added(END, "<|endoftext|>", True)],
        "normalizer": None,
        "pre_tokenizer": {**LEVEL, "use_regex": True},
        "post_processor": None,
        "decoder": {**LEVEL, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(TOKENS)},
            "merges": [" ".join(pair) for pair in MERGES],
        },
        **changes,
    }


def smollm_tables(**changes):
    """With SmolLM's rule, and as there: the end comes first, bytes that are rare or never in UTF-8 are missing."""
    digits = {"type": "Digits", "individual_digits": True}
    rule = {"type": "Sequence", "pretokenizers": [digits, {**LEVEL, "use_regex": True}]}
    model = gpt2_tables()["model"]
    kept = ["<|endoftext|>", *(token for token in TOKENS if BYTE_OF.get(token, 0) < 0xF1)]
    model["vocab"] = {token: number for number, token in enumerate(kept)}
    return gpt2_tables(**{"pre_tokenizer": rule, "model": model, "added_tokens": [added(0, kept[0], True)]} | changes)


def llama_tables(**changes):
    """With Llama 3's rule, and as there with a word that is a token although no merges lead to it."""
    both = [added(END + 1, "<|endoftext|>", True), added(END + 2, "<tool>", False)]
    tables = qwen_tables(LLAMA_WORDS, normalizer=None, added_tokens=both)
    vocab = tables["model"]["vocab"] | {"Ġhello": END}
    return tables | {"model": tables["model"] | {"vocab": vocab, "ignore_merges": True}} | changes


def qwen_tables(pattern=QWEN_WORDS, **changes):
    """With Qwen's rule, or by another pattern."""
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    rule = {"type": "Sequence", "pretokenizers": [split, {**LEVEL, "use_regex": False}]}
    both = [added(END, "<|endoftext|>", True), added(TOOL, "<tool>", False)]
    return gpt2_tables(**{"normalizer": {"type": "NFC"}, "pre_tokenizer": rule, "added_tokens": both} | changes)


def chat_tables(tables=qwen_tables):
    """With the special tokens of a chat."""
    both = [added(SPEAK, "<|im_start|>", True), added(STOP, "<|im_end|>", True)]
    first = [] if tables is qwen_tables else [added(TOOL, "<|other|>", True)]
    return tables(added_tokens=[*tables()["added_tokens"], *first, *both])
