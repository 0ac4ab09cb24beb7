"""The page in Chromium compared with Python on the same 8-bit weights."""

import sys

import pytest
import torch
from html_pages import ALPHABET, agree, bpe
from tiny import PRESETS, refuses

from nanogpt.config import SampleConfig
from nanogpt.interop.html import browser
from nanogpt.interop.html.reading import load_html
from nanogpt.random_streams import uniform
from nanogpt.sampling.generate import generate_ids, generate_text
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer

slow = pytest.mark.slow

ODD = {
    "post-norm, sinusoids, GELU, every bias": (
        "gpt2",
        {"norm_position": "post", "position": "sinusoidal", "activation": "gelu", "head_bias": True},
    ),
    "layer norm without bias, shared keys": ("lecture", {"bias": False, "n_head": 6, "n_kv_head": 2}),
    "one key head, own head size, untied": ("modern", {"n_head": 5, "n_kv_head": 1, "head_size": 14}),
    "tied, biased, without query norms": (
        "modern",
        {"tie_embeddings": True, "qkv_bias": True, "bias": True, "head_bias": True, "qk_norm": False},
    ),
    "rms after the sub-layer, odd heads": (
        "lecture",
        {"norm": "rms", "norm_position": "post", "head_size": 7, "qk_norm": True, "activation": "gelu"},
    ),
    "another base of the rotation, one layer": ("modern", {"rope_theta": 311.0, "n_layer": 1, "norm_eps": 0.01}),
    "gated, learned positions": ("gpt2", {"activation": "swiglu", "tie_embeddings": False}),
}


MODELS = {preset: (preset, {}) for preset in PRESETS} | ODD


@slow
@pytest.mark.parametrize("name", MODELS)
def test_logits(make_page, open_page, ids, name):
    preset, settings = MODELS[name]
    file = make_page(preset, **settings)
    wanted = load_html(file)(ids[None])[0].detach()
    assert wanted.std() > 0.1
    page = open_page(file)
    agree(page.logits(ids.tolist()), wanted)
    agree(page.logits(ids[:1].tolist()), wanted[:1])
    assert not page.errors


@slow
@pytest.mark.parametrize(("preset", "settings"), [("modern", {}), ("gpt2", {"position": "sinusoidal"})])
def test_logits_far_from_the_start(make_page, open_page, preset, settings):
    file = make_page(preset, block_size=701, **settings)
    ids = torch.randint(37, (701,), generator=torch.Generator().manual_seed(5))
    agree(open_page(file).logits(ids.tolist()), load_html(file)(ids[None])[0].detach())


@slow
@pytest.mark.parametrize(("length", "tokens"), [(7, 41), (27, 7)])
def test_greedy_text_beyond_the_context(make_page, open_page, length, tokens):
    """The window of 11 tokens moves several times; one prompt is longer than it."""
    file = make_page()
    prompt = torch.randint(37, (length,), generator=torch.Generator().manual_seed(7))
    found = generate_ids(load_html(file), prompt, SampleConfig(tokens=tokens, temperature=0.0))
    wanted = [row[0] for row in found]
    assert len(set(wanted)) > 3
    assert open_page(file).greedy(prompt.tolist(), tokens) == wanted


@slow
@pytest.mark.parametrize(
    "settings", [{"temperature": 0.8}, {"temperature": 1.3, "top_k": 5, "seed": 12345678901234567}]
)
def test_the_same_text_is_drawn(make_page, open_page, settings):
    """Also where it ends by itself, for an empty prompt, and with characters of four bytes."""
    file = make_page()
    model, tokenizer = load_html(file), CharTokenizer(ALPHABET)
    page = open_page(file)
    lengths = set()
    for prompt in ("", "the cat", "🦊"):
        for tokens in (29, 53):
            config = SampleConfig(tokens=tokens, **settings)
            wanted = generate_text(model, tokenizer, prompt, config)[0]
            asked = {"tokens": tokens, "temperature": config.temperature, "topK": config.top_k}
            assert page.call("generate", prompt, asked | {"seed": str(config.seed)}) == wanted
            lengths.add(len(wanted))
    assert max(lengths) > 1


@slow
def test_uniform_numbers_are_pythons(make_page, open_page):
    page = open_page(make_page())
    for seed in (0, 1337, 2**64, int("9" * 150)):  # the last one takes two blocks of the hash
        for place in (0, 1, 11, 999_999):
            assert page.call("uniform", str(seed), 0, place) == uniform(seed, "sample", 0, place)


TEXTS = [
    "",
    "Hello, world! It's 1st; they'll've. don't DON'T 'S",
    "  two  spaces\t\ttab \n\n newline \r\n end   ",
    "\x85 next line \u00a0 no-break \u3000 wide \u2028 line \u2029 paragraph \u200b zero \ufeff mark",
    "\ufeffstart",
    "\x1c\x1d\x1e\x1f separators",
    "naïve café e\u0301 \u0301 combining a\u0308\u0304",
    "中文，没有空格。日本語テキスト 한국어",
    "العربية ١٢٣ עברית",
    "🦊👩‍👩‍👧‍👦🇨🇭 🦊🦊 x🦊y",
    "½ ² Ⅷ 𝟘𝟙 ①",
    "a" * 300 + " " + "ab" * 200,
    "\0\x7f\x01",
    "\x85\x85x \x85\x85 x wow!\ufeff\ufeff wow\ufeff!",
    "</script><!-- &amp; {{weights}}",
]


@slow
@pytest.mark.parametrize(
    "make_tokenizer", [ByteTokenizer, bpe, lambda: CharTokenizer("".join(sorted(set("".join(TEXTS)))))]
)
def test_ids_and_texts_are_pythons(make_page, open_page, make_tokenizer):
    tokenizer = make_tokenizer()
    page = open_page(make_page("modern", tokenizer))
    drawn = [_drawn(n, "".join(TEXTS)) for n in range(200)]
    for text in [*TEXTS, *drawn]:
        wanted = tokenizer.encode(text).tolist()
        assert page.encode(text) == wanted, text
        assert page.call("decode", wanted) == tokenizer.decode(wanted) == text


def _drawn(seed, characters):
    """A text of characters that the others have, mixed."""
    generator = torch.Generator().manual_seed(seed)
    return "".join(characters[i] for i in torch.randint(len(characters), (17,), generator=generator))


def test_without_chromium_or_playwright_the_remedy_is_named(make_page, monkeypatch):
    file = make_page()
    with monkeypatch.context() as patch:
        patch.setattr(browser.shutil, "which", lambda name: None)
        refuses(lambda: browser.BrowserPage(file), "Chromium is not installed")
    monkeypatch.setattr(browser, "find_chromium", lambda: "/bin/false")
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    refuses(lambda: browser.BrowserPage(file), "pip install 'nanogpt[browser]'")
