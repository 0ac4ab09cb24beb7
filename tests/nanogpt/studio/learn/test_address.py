"""The view's address in Chromium: copied to another browser it shows the same."""

import os
import re
import shutil

import pytest
from tiny import trained, write_text

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="as the other tests of this view")]

MACHINE = "section:has(.found)"
TEMPERATURE = f"{MACHINE} input[type=range] >> nth=0"
LAYER, HEAD = ".found select >> nth=0", ".found select >> nth=1"
COMPARED = "section:has(.checks)"


@pytest.fixture
def first(open_studio):
    """A run of eight steps, and one that is older."""
    write_text()
    older = trained("shelf/older", steps=4, seed=7)
    run = trained("shelf/run", steps=8)
    os.utime(older / "metrics.jsonl", (0, 0))
    return run


@pytest.fixture
def studio(first, open_studio):
    return open_studio(first.parent)


def says(window, place, words):
    window.page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.textContent.includes(words)", arg=[place, words]
    )


def address(window, part):
    """The fragment, without the view's name, once something is in it."""
    window.page.wait_for_function("part => location.hash.includes(part)", arg=part)
    return window.page.url.partition("#view=")[2]


def shown(window):
    """All that the time machine says."""
    page = window.page
    fields = [page.get_by_label(name).input_value() for name in ("Prompt", "Seed", "Length, tokens")]
    chosen = [page.locator(one).evaluate("e => e.selectedOptions[0].text") for one in (LAYER, HEAD)]
    found = page.locator(".found")
    return (
        *fields,
        *chosen,
        page.locator(TEMPERATURE).input_value(),
        page.get_by_role("slider", name="Step").get_attribute("aria-valuetext"),
        page.locator(".live select").input_value(),
        found.locator(".sample").inner_text(),
        found.locator("[role=img]").get_attribute("aria-label"),
        found.locator(".lens").inner_text(),
        found.locator(".hint").inner_text(),
    )


def test_a_moment_is_the_same_elsewhere(studio, open_window):
    window = open_window(studio, "learn&run=older")
    page = window.page
    says(window, ".live .status", "Done")
    page.wait_for_function("document.querySelector('input[aria-valuetext=\"4\"]')")
    page.get_by_label("Prompt").fill("7 cats & <b>")
    page.locator(TEMPERATURE).fill("1.5")
    page.get_by_label("Seed").fill("11")
    page.get_by_label("Length, tokens").fill("33")
    page.get_by_role("slider", name="Step").press("ArrowLeft")
    says(window, f"{MACHINE} .status", "After 2 steps.")
    page.locator(LAYER).select_option("block 1")
    says(window, ".found .hint", "block 1, the mean")
    page.locator(HEAD).select_option("head 2")
    says(window, ".found .hint", "block 1, head 2")
    fragment = address(window, "head=1")
    for part in ("run=older", "step=2", "temperature=1.5", "tokens=33", "seed=11", "layer=0"):
        assert f"&{part}" in fragment
    assert re.search(r"&model=[0-9a-f]{12}&", fragment)

    other = open_window(studio, fragment)
    says(other, f"{MACHINE} .status", "After 2 steps.")
    says(other, ".found .hint", "block 1, head 2")
    assert shown(other) == shown(window)
    assert address(other, "head=1") == fragment
    assert other.page.locator(f"{MACHINE} .status").inner_text() == "After 2 steps."
    assert window.errors == other.errors == []


def test_compared_runs_are_the_same_elsewhere(studio, open_window):
    window = open_window(studio, "learn")
    page = window.page
    for name in ("older", "run"):
        page.get_by_label(name, exact=True).check()
    page.get_by_label("Over").select_option("seconds in training steps")
    page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 2")
    fragment = address(window, "axis=seconds")
    assert "compared=older&compared=run" in fragment

    other = open_window(studio, fragment)
    other.page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 2")
    for name in ("older", "run"):
        assert other.page.get_by_label(name, exact=True).is_checked()
    assert other.page.get_by_label("Over").input_value() == "seconds"
    for part in (".keys", ".x-name", ".tag >> nth=0"):
        assert other.page.locator(f"{COMPARED} {part}").inner_text() == page.locator(f"{COMPARED} {part}").inner_text()
    other.page.get_by_label("older", exact=True).uncheck()
    other.page.wait_for_function("!location.hash.includes('compared=older')")
    assert "compared=run" in other.page.url


def test_nothing_is_computed_before_a_person_asks(studio, open_window):
    """Not by an address without a step, nor by the way from a view that has one."""
    window = open_window(studio, "write&run=older&step=2")
    page = window.page
    address(window, "model=")
    page.get_by_role("link", name="Watch it learn").click()
    says(window, ".live .status", "Done")
    page.wait_for_function("document.querySelector('input[aria-valuetext=\"4\"]')")
    page.wait_for_timeout(1500)
    assert page.url.endswith("#view=learn&run=older")
    assert page.locator(".found").is_hidden()
    assert page.locator(f"{MACHINE} .status").inner_text() == ""

    page.get_by_role("button", name="Look", exact=True).click()
    moment = address(window, "step=4")
    model = re.search(r"model=\w+", moment)[0]
    page.get_by_role("link", name="Look inside").click()
    inside = address(window, "text=")
    for part in ("run=older", "step=4", model):
        assert part in inside
    page.get_by_role("link", name="Follow the course").click()
    page.locator(".rung").first.wait_for()
    assert page.url.endswith("#view=course")
    page.get_by_role("link", name="Watch it learn").click()
    says(window, f"{MACHINE} .status", "After 4 steps.")  # as it was left
    assert address(window, "step=4") == moment


def test_what_is_not_here_is_told(studio, open_window, first):
    window = open_window(studio, "learn&run=gone&step=2&model=000000000000&compared=gone&compared=run")
    says(window, ".learn > .warning", "the run 'gone', which is not here; this is run")
    says(window, ".learn > .warning", "It compares runs that are not here: 'gone'")
    window.page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 1")
    assert window.page.locator(".live select").input_value() == "run"
    assert window.page.locator(".found").is_hidden()
    assert window.violations() == []
    window = open_window(studio, "learn&run=run&step=3")
    says(window, f"{MACHINE} .status", "The address means step 3, which is not kept here")
    assert window.page.locator(".found").is_hidden()
    window = open_window(studio, "learn&run=run&step=8&model=000000000000")
    says(window, f"{MACHINE} .status", "After 8 steps. The address means other weights (000000000000)")
    fragment = address(window, "prompt=")

    shutil.move(first, first.with_name("renamed"))
    window = open_window(studio, fragment)
    says(window, f"{MACHINE} .status", "After 8 steps.")
    assert window.page.locator(".live select").input_value() == "renamed"
    assert window.page.locator(".learn > .warning").is_hidden()
