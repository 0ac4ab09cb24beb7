"""The page as a person uses it, compared with Python on the same 8-bit weights."""

import math

import pytest
import torch
from html_pages import ALPHABET, agree, bpe, endless, grown, wait, write

from nanogpt.config import SampleConfig
from nanogpt.interop.html.export import export_html
from nanogpt.interop.html.reading import load_html
from nanogpt.model.gpt import Attention
from nanogpt.sampling.generate import generate_text
from nanogpt.text.bpe import BpeTokenizer, ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize("make_tokenizer", [lambda: CharTokenizer(ALPHABET), grown, ByteTokenizer, bpe])
@pytest.mark.parametrize("prompt", ["the cat", ""])
def test_what_the_page_shows_is_what_python_writes(make_page, open_page, make_tokenizer, prompt):
    """Byte models with random weights write much that is no text: it is shown as Python writes it."""
    tokenizer = make_tokenizer()
    file = make_page("modern", tokenizer)
    config = SampleConfig(tokens=47, temperature=0.9, seed=31, top_k=17)
    wanted = prompt + generate_text(load_html(file), tokenizer, prompt, config)[0]
    page = open_page(file)
    write(page, prompt, **{"tokens": 47, "temperature": 0.9, "seed": 31, "top-k": 17})
    assert page.page.evaluate("document.getElementById('text').textContent") == wanted
    assert page.requests == [file.resolve().as_uri()]
    assert not page.errors


def attention_of(model, window, monkeypatch):
    """Each layer's attention of the last position, (H, S)."""
    found = []

    def attend(self, q, k, v, mask=None):
        T = q.size(2)
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))).masked_fill(
            ~torch.ones(T, T).tril().bool(), -torch.inf
        )
        weights = scores.softmax(-1)  # (B, H, T, S)
        found.append(weights[0, :, -1].detach())
        return weights @ v

    with monkeypatch.context() as patch:
        patch.setattr(Attention, "attend", attend)
        model(window[None])
    return found


def shares_of(page, name):
    return [float(one.removesuffix(" %")) for one in page.page.locator(f"#{name} .share").all_inner_texts()]


def highest(shares, count):
    return pytest.approx((100 * shares.sort(descending=True)[0][:count]).tolist(), abs=0.06)


@slow
@pytest.mark.parametrize("position", [9, 23])
def test_a_selected_token_shows_alternatives_and_attention(make_page, open_page, monkeypatch, position):
    """In the first window, and in one that has moved: 11 tokens of context, the window of position 23 begins at 14."""
    file = make_page("modern", endless(), n_head=6, n_kv_head=2)
    model, page = load_html(file), open_page(file)
    write(page, tokens=29)
    page.page.locator("#text .token").nth(position).click()
    wait(page, "panel.found !== null")
    text, start = torch.tensor(page.page.evaluate("current.ids")), {9: 0, 23: 14}[position]
    window = text[start:position]
    likeliest, names = model(window[None])[0, -1].softmax(-1).topk(10)
    shown = page.page.locator("#alternatives .name").all_inner_texts()
    assert shown == [ALPHABET[i].replace(" ", "␣").replace("\n", "↵") for i in names.tolist()]
    assert shares_of(page, "alternatives") == highest(likeliest, 10)
    found = page.call("inspect", text.tolist(), position)
    wanted = attention_of(model, window, monkeypatch)
    assert found["start"] == start
    for numbers, expected in zip(found["layers"], wanted, strict=True):
        rows = torch.tensor(numbers).view(6, -1)
        assert torch.allclose(rows.sum(-1), torch.ones(6), atol=1e-6)
        agree(rows, expected)
    assert not page.errors
    assert shares_of(page, "attended") == highest(torch.stack(wanted).mean((0, 1)), 8)
    page.page.select_option("#layer", label="2")
    page.page.select_option("#head", label="4")
    assert shares_of(page, "attended") == highest(wanted[1][3], 8)


@slow
def test_a_long_text_can_be_stopped_while_the_page_responds(make_page, open_page):
    # So large that ten thousand tokens take minutes: a busy machine may need many seconds for the clicks.
    page = open_page(make_page("modern", endless(), n_embd=264, n_layer=3))
    page.page.fill("#tokens", "10000")
    page.page.click("#write")
    wait(page, "current.ids.length > 50")
    page.page.locator("#text .token").nth(20).click()
    wait(page, "panel.found !== null")
    page.page.click("#stop")
    wait(page, "!document.getElementById('write').disabled")
    count = page.page.evaluate("current.ids.length")
    assert 50 < count < 10_000
    assert page.page.inner_text("#status").startswith("Stopped after")


HOSTILE = "</script><script>window.taken=1</script><img src=x onerror=window.taken=1>" + "x" * 90


@slow
def test_a_small_screen_and_a_hostile_name(make_run, open_page, tmp_path):
    """No horizontal scrolling at 360 pixels, also with a long name; the name is shown, and nothing of it runs."""
    tokenizer = BpeTokenizer.train(["<img src=x onerror=window.taken=1> "] * 99, 300)
    file = export_html(make_run("modern", tokenizer, text=HOSTILE), tmp_path / "a.html")
    page = open_page(file, width=360, height=640, dark=True)

    def widest():
        return page.page.evaluate("document.documentElement.scrollWidth")

    assert page.page.title() == f"{HOSTILE} · Nano-GPT"
    assert page.page.inner_text("h1") == HOSTILE
    assert widest() == 360
    write(page, "<img src=x onerror=window.taken=1>", tokens=100)
    assert widest() == 360
    page.page.evaluate("choose(20)")
    wait(page, "panel.found !== null")
    assert widest() == 360
    assert page.page.evaluate("[window.taken ?? null, document.images.length]") == [None, 0]
    box = page.page.locator("#text .chosen").bounding_box()
    assert box["y"] + box["height"] < page.page.locator("#panel").bounding_box()["y"]  # seen above the panel
    fields = "[...document.querySelectorAll('button, select, input, textarea')]"
    assert page.page.evaluate(f"{fields}.filter(one => one.offsetHeight && one.offsetHeight < 44).length") == 0
    named = "one.labels?.length || one.ariaLabel || one.textContent.trim()"
    assert page.page.evaluate(f"{fields}.filter(one => !({named})).map(one => one.id)") == []
    assert page.requests == [file.resolve().as_uri()]
    assert not page.errors


@slow
def test_the_policy_stops_what_a_mistake_might_let_in(make_page, open_page):
    page = open_page(make_page())
    failures = []
    page.page.on("requestfailed", lambda request: failures.append(request.failure))
    page.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.taken = 1";
          const image = document.createElement("img");
          image.src = "http://127.0.0.1:9/x.png";
          document.body.append(script, image);
        }"""
    )
    page.page.wait_for_timeout(300)
    assert page.page.evaluate("window.taken ?? null") is None
    assert failures == ["csp"]
    assert sum("Content Security Policy" in error for error in page.errors) == 2
