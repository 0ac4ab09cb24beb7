import time

import pytest
import torch

from nanogpt.explain.head_ablation import ablation_effects, head_importance
from nanogpt.explain.predictions import alternatives
from nanogpt.explain.trace import logit_lens_at, trace, trace_text
from nanogpt.studio.inside_analysis import effect_bars, encode_text, growth_bars, importance_bars, lens_rows
from nanogpt.studio.labels import percent

pytestmark = pytest.mark.slow

TEXT = "The cat sat there"
AT = "view=inside&run=modern&text=The+cat+sat+there"
NEXT, ATTENDED = "[aria-label='The ten likeliest tokens after it']", ".panel .attention"


@pytest.fixture
def inspect(visit):
    """Opens windows on the text, and waits until everything is drawn."""

    def open_window(more="", **settings):
        window = visit(f"{AT}{more}", **settings).opened()
        window.page.locator(".lens tbody tr").first.wait_for()
        return window

    return open_window


def weights_of(window) -> torch.Tensor:
    """The attention in the large picture, (T, T): colours grow with the square root."""
    script = """rects => rects.map(one => ['y', 'x', 'fill-opacity'].map(name => Number(one.getAttribute(name))))"""
    cells = window.page.eval_on_selector_all(".map .weight", script)
    count = window.page.locator(".map .name").count() // 2
    found = torch.zeros(count, count)
    for y, x, opacity in cells:
        found[round((y - 52) / 12), round((x - 52) / 12)] = opacity**2
    return found


def test_the_page_shows_what_python_computes(inspect, run):
    window = inspect("&token=9&layer=1&head=2")
    found, page = trace_text(run, TEXT), window.page
    assert page.locator(".text .chosen").text_content() == TEXT[9]
    wanted = alternatives(found.logits[9], run.tokenizer)
    assert window.bars(NEXT) == [(one.text, percent(one.probability)) for one in wanted]

    weights = weights_of(window)
    torch.testing.assert_close(weights, found.attention[1, 2], atol=0.005, rtol=0)
    assert (weights.sum(1) - 1).abs().max() < 0.04  # squares too faint to see are left out
    assert weights.triu(1).sum() == 0
    shares = [float(share.split()[0]) for _, share in window.bars(ATTENDED)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert shares == sorted(shares, reverse=True)

    rows, lines = lens_rows(logit_lens_at(run.model, found, 9), run.tokenizer), page.locator(".lens tbody tr")
    assert lines.count() == 4
    for i, row in enumerate(rows):
        assert lines.nth(i).locator(".name").all_text_contents() == [one.text for one in row.choices]
        assert lines.nth(i).locator("td").last.text_content().startswith(percent(row.final.probability))
    assert lines.last.locator(".name").all_text_contents() == [name for name, _ in window.bars(NEXT)[:5]]
    growth = window.bars("[aria-label='The size of the residual stream']")
    assert growth == [(one.name, one.value) for one in growth_bars(found, 9)]


def test_the_mean_over_heads_and_their_importance_are_pythons(inspect, run):
    window = inspect("&token=16")
    torch.testing.assert_close(weights_of(window), trace_text(run, TEXT).attention.mean((0, 1)), atol=0.005, rtol=0)
    assert window.page.locator(".heads button").count() == 3 * 4
    assert window.page.locator(".arcs path").count() > 0
    window.button("Which heads matter for this text?").click()
    bars = "[aria-label='The heads that matter most']"
    window.page.locator(f"{bars} li").first.wait_for()
    wanted = importance_bars(head_importance(run.model, encode_text(run, TEXT)))
    assert window.bars(bars) == [(one.name, one.value) for one in wanted]


def test_a_head_can_be_switched_off_and_on(inspect, run):
    window = inspect("&token=9")
    before = window.bars(NEXT)
    window.page.get_by_role("button", name="layer 2, head 3").click()
    window.wait("() => document.querySelector('.heads [aria-pressed=true]')")
    window.button("Switch this head off").click()
    window.button("Switch this head on").wait_for()
    ids = encode_text(run, TEXT)
    wanted = effect_bars(ablation_effects(run.model, ids, [(1, 2)], 9), run.tokenizer)
    assert window.bars("[aria-label='What switching off changes']") == [(one.name, one.value) for one in wanted]
    logits = trace(run.model, ids, [(1, 2)]).logits[9]
    assert window.bars(NEXT) == [(one.text, percent(one.probability)) for one in alternatives(logits, run.tokenizer)]
    assert window.bars(NEXT) != before
    assert window.page.locator(".heads .off").count() == 1
    window.button("Switch all on").click()
    window.wait("() => !document.querySelector('.heads .off')")
    assert window.bars(NEXT) == before


@pytest.mark.parametrize(("name", "drawn"), [("modern", 0), ("gpt2", 1), ("%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", 1)])
def test_embeddings_of_tokens_and_positions(visit, name, drawn):
    """RoPE has no position vectors, which the page says; learned and sinusoidal ones are drawn."""
    window = visit(f"view=inside&run={name}&text=The").opened()
    window.page.locator("summary").click()
    window.page.locator(".plane:not(.hidden) text").first.wait_for()
    assert window.page.locator(".plane:not(.hidden) polyline").count() == drawn
    assert ("RoPE" in window.page.locator("details").text_content()) == (not drawn)
    assert window.page.locator("details p", has_text="Nearest to").count() == 1


def test_the_address_shows_the_same_elsewhere(inspect, visit):
    first = inspect("&token=9&layer=2&head=1&off=0.3,2.1")
    fragment = first.wait_for_fragment("model=")
    second = visit(fragment).opened()
    second.page.locator(".lens tbody tr").first.wait_for()
    for what in (NEXT, ATTENDED, "[aria-label='What switching off changes']"):
        assert second.bars(what) == first.bars(what)
        assert second.bars(what)
    torch.testing.assert_close(weights_of(second), weights_of(first))
    assert second.page.locator(".map + *, h3", has_text="Layer 3, head 2").count() == 1
    assert second.page.locator(".heads .off").count() == 2
    assert second.fragment() == fragment


def test_from_write_to_the_token_that_predicted_the_chosen_one(visit, run):
    window = visit("run=modern&tokens=30&prompt=The+cat").opened()
    text = window.write()
    window.choose(12)
    shares = window.bars(".panel .bars")
    window.page.get_by_role("link", name="Look inside the model here").click()
    window.page.locator(".lens tbody tr").first.wait_for()
    assert window.page.locator("textarea").input_value() == text
    assert window.bars(NEXT) == shares
    assert window.page.locator(f"{NEXT} .marked .name").text_content() == text[12].replace(" ", "␣")
    window.page.get_by_role("link", name="Write", exact=True).click()
    window.wait("([text]) => document.querySelector('.column .text')?.textContent === text", text)


def test_of_fifty_thousand_tokens_those_around_the_chosen_one_are_read(visit):
    window = visit("view=inside&run=modern&text=The").opened()
    long = "The cat sat there in a red tree. " * 1500
    window.page.locator("textarea").fill(long)
    began = time.perf_counter()
    window.button("Look").click()
    window.says(".status", "of 49,500 are read together")
    assert time.perf_counter() - began < 10
    assert window.page.locator(".text .token").count() == 300
    window.button("Earlier").click()
    window.wait("() => /Tokens 48,\\d+ to 49,\\d+ of/.test(document.body.textContent)")
    fragment = window.wait_for_fragment("sha256:")
    assert len(fragment) < 400
    second = visit(fragment).opened()
    second.wait("() => document.querySelector('.chosen h2')?.textContent")
    assert second.page.locator("textarea").input_value() == long


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_everyone_can_use_it(inspect, width, dark):
    window = inspect("&token=9&layer=1&head=2&off=0.1", width=width, dark=dark)
    window.page.locator("summary").click()
    window.page.locator(".plane:not(.hidden) text").first.wait_for()
    assert window.violations() == []
    assert window.overhang() <= 0
