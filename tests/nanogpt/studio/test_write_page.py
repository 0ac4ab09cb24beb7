import pytest

from nanogpt.config import SampleConfig
from nanogpt.explain.predictions import alternatives, score
from nanogpt.runs.run import load
from nanogpt.studio.generation import generate_logits, text_logits
from nanogpt.studio.labels import percent

pytestmark = pytest.mark.slow

SETTINGS = "tokens=60&temperature=1.1&seed=7"
CONFIG = SampleConfig(tokens=60, temperature=1.1, seed=7)
PANEL = ".panel .bars"


@pytest.fixture
def window(visit):
    return visit(f"{SETTINGS}&prompt=The+cat").opened()


def ids_of(run, prompt, config=CONFIG):
    ids = run.tokenizer.encode(prompt).tolist()
    return ids + [token for token, _ in generate_logits(run.model, ids, config, run.tokenizer.end_of_document)]


def test_text_and_probabilities_are_pythons(window, run):
    """In the prompt, after it, and beyond block_size."""
    assert window.write() == run.generate("The cat", config=CONFIG)
    ids = ids_of(run, "The cat")
    logits, scores = dict(text_logits(run.model, ids)), score(run.model, run.tokenizer, ids)
    wanted = {
        n: [(one.text, percent(one.probability)) for one in alternatives(logits[n], run.tokenizer)] for n in logits
    }
    for position in (1, 4, 8, 30, 50):
        window.choose(position)
        found = scores[position - 1]
        assert window.bars(PANEL) == wanted[position]
        assert window.page.locator(".panel .chosen h2").text_content() == found.text
        about = window.page.locator(".panel p").nth(1).text_content()
        assert f"{percent(found.probability)} likely here, number {found.rank} of {run.tokenizer.vocab_size}" in about
    window.page.locator(".text .token").nth(20).hover()
    window.page.locator(".tip:not([hidden])").wait_for()
    assert window.bars(".tip") == wanted[20]
    window.page.keyboard.press("Escape")
    window.page.locator(".tip").first.wait_for(state="hidden")


def test_another_choice_branches_and_back_leads_back(window, run):
    whole = window.write()
    window.choose(20)
    ids = ids_of(run, "The cat")
    others = alternatives(dict(text_logits(run.model, ids))[20], run.tokenizer)
    line = next(i for i, one in enumerate(others) if one.token != ids[20])
    window.page.locator(f"{PANEL} button").nth(line).click()
    window.page.locator(".branches li").nth(1).wait_for()
    branched = [*ids[:20], others[line].token]
    wanted = branched + [token for token, _ in generate_logits(run.model, branched, CONFIG)]
    window.wait("([wanted]) => document.querySelector('.text').textContent === wanted", run.tokenizer.decode(wanted))
    window.written()
    assert window.page.locator(".text .token.hand").count() == 1
    assert window.page.locator(".panel .chosen h2").text_content() == others[line].text
    assert window.page.locator(f"{PANEL} .marked .name").text_content() == others[line].text
    assert window.page.locator(".branches [aria-current]").text_content().startswith("2.")
    window.page.get_by_role("button", name="Back to the text").click()
    window.wait("([whole]) => document.querySelector('.text').textContent === whole", whole)
    window.page.locator(".branches button").nth(1).click()
    window.wait("([wanted]) => document.querySelector('.text').textContent === wanted", run.tokenizer.decode(wanted))


SLOW_CALLS = """() => {
    const [handle] = window.socket.listeners("run_javascript");
    window.socket.off("run_javascript");
    window.socket.on("run_javascript", ({ _id, ...call }) => setTimeout(() => handle(call), 400));
}"""
"""Tokens are sent as method calls, the status as a change of the page: delay the calls."""


def test_a_text_is_complete_when_the_status_says_so(window, run):
    window.page.evaluate(SLOW_CALLS)
    assert window.write() == run.generate("The cat", config=CONFIG)


def test_stop_stops(visit):
    window = visit("tokens=9999").opened()
    window.button("Write").click()
    window.wait("() => document.querySelectorAll('.text .token').length > 20")
    window.button("Stop").click()
    window.says(".status", "Stopped after")
    count = window.page.locator(".text .token").count()
    assert count < 9000
    window.page.wait_for_timeout(300)
    assert window.page.locator(".text .token").count() == count


def test_two_models_continue_one_prompt(visit, runs_folder):
    window = visit(f"{SETTINGS}&prompt=The+cat&run2=gpt2").opened()
    window.count(".column:not(.hidden) .hint", 2)
    window.button("Write").click()
    window.wait("() => (document.querySelector('.status').textContent.match(/a second/g) || []).length === 2")
    for number, name in enumerate(("modern", "gpt2")):
        wanted = load(runs_folder / name, device="cpu").generate("The cat", config=CONFIG)
        assert window.text(number) == wanted
    assert window.text(0) != window.text(1)
    window.choose(15, column=1)
    assert window.page.locator(".text").nth(1).locator(".chosen").count() == 1


def test_the_address_shows_the_same_elsewhere(visit):
    first = visit(f"{SETTINGS}&prompt=The+cat&top_k=9").opened()
    first.write()
    first.choose(12)
    first.page.locator(f"{PANEL} li:not(.marked) button").first.click()
    first.page.locator(".branches li").nth(1).wait_for()
    first.written()
    first.choose(25)
    fragment = first.wait_for_fragment("token=25")
    second = visit(fragment).opened()
    second.page.locator(".branches li").nth(1).wait_for()
    second.page.locator(".panel.open").wait_for()
    assert second.text() == first.text()
    assert second.bars(PANEL) == first.bars(PANEL)
    assert second.page.locator(".text .chosen").text_content() == first.page.locator(".text .chosen").text_content()
    assert second.page.get_by_label("Top-k").input_value() == "9"
    assert second.page.get_by_label("Seed").input_value() == "7"
    levels = "spans => spans.map(span => [span.dataset.level, span.className])"
    tokens = ".text .token"
    assert second.page.eval_on_selector_all(tokens, levels) == first.page.eval_on_selector_all(tokens, levels)


def test_names_and_texts_are_never_html(visit):
    hostile = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    window = visit(f"run={hostile}&prompt=%3Cscript%3Ealert(2)%3C/script%3E&tokens=9999").opened()
    assert window.write().startswith("<script>alert(2)</script>")
    assert "The text ended by itself" in window.page.locator(".status").text_content()
    window.choose(9)
    assert window.page.locator("img[src='x']").count() == 0
    assert window.page.locator("main script, .content script").count() == 0


def test_the_keyboard_alone_is_enough(visit):
    window = visit(SETTINGS).opened()
    keys, page = window.page.keyboard, window.page

    def tab_to(script: str) -> None:
        for _ in range(60):
            if page.evaluate(script):
                return
            keys.press("Tab")
        raise AssertionError(f"the keyboard does not lead to {script}")

    tab_to("document.activeElement.tagName === 'TEXTAREA'")
    keys.press("Control+a")
    keys.type("The red ")
    keys.press("Control+Enter")
    text = window.written()
    assert text.startswith("The red ")
    tab_to("document.activeElement.classList.contains('text')")
    for _ in range(12):
        keys.press("ArrowRight")
    window.wait("() => /token 13\\b/.test(document.querySelector('.panel').textContent)")
    tab_to("document.activeElement.matches('.panel li:not(.marked) button')")
    name = page.evaluate("document.activeElement.querySelector('.name').textContent")
    keys.press("Enter")
    page.locator(".branches li").nth(1).wait_for()
    window.written()
    assert page.locator(".text .hand").text_content() == name.replace("␣", " ").replace("↵", "\n")
    assert page.evaluate("document.activeElement.matches('.panel li button')")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_everyone_can_use_it(visit, width, dark):
    window = visit(f"{SETTINGS}&run2=gpt2", width=width, dark=dark).opened()
    assert window.violations() == []
    window.write()
    window.choose(12)
    window.page.locator(f"{PANEL} li:not(.marked) button").first.click()
    window.page.locator(".branches li").nth(1).wait_for()
    window.written()
    assert window.violations() == []
    assert window.overhang() <= 0
    background = window.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 384) == dark
