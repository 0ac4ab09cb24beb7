"""The view in Chromium, as a person uses it."""

import pytest

from nanogpt.studio.learn.texts import save_text

pytestmark = pytest.mark.slow


def says(window, place, words):
    window.page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.textContent.includes(words)", arg=[place, words]
    )


def test_sections_are_trained_beside_each_other(studio, open_window):
    window = open_window(studio())
    page = window.page
    page.locator(".rung").nth(9).wait_for()
    assert page.locator(".rung").count() == 10
    page.get_by_label("Steps", exact=True).fill("20")
    for number in (1, 2):
        page.locator(".rung button").nth(number - 1).click()
        says(window, f".rung:nth-child({number}) .reached", "Validation loss")
        says(window, f".rung:nth-child({number}) .reached", "20 steps on python.")
        page.wait_for_function("n => document.querySelectorAll('.curves polyline').length === n", arg=number)
        assert page.locator(".rung").nth(number - 1).locator(".sample").inner_text().strip()
    told = page.locator(".curves").get_attribute("aria-label")
    assert "The simplest language model" in told
    assert "the mean of the past" in told
    assert window.violations() == []
    assert window.errors == []
    assert window.strangers == []


def test_a_section_is_stopped(studio, open_window):
    window = open_window(studio(), width=360, dark=True)
    page = window.page
    page.get_by_label("Steps", exact=True).fill("20000")
    page.locator(".rung button").nth(3).click()
    says(window, ".rung:nth-child(4) .reached", "Step ")
    assert page.locator(".rung button").nth(0).is_disabled()
    page.get_by_role("button", name="Stop", exact=True).click()
    says(window, ".status", "Stopped.")
    says(window, ".rung:nth-child(4) .reached", "Stopped.")
    assert page.locator(".rung button").nth(0).is_enabled()
    assert window.fits()
    assert window.violations() == []


@pytest.mark.parametrize("steps", ["0", "1.5", "", "20001"])
def test_steps_that_are_none(studio, open_window, steps):
    window = open_window(studio())
    window.page.get_by_label("Steps", exact=True).fill(steps)
    window.page.locator(".rung button").nth(0).click()
    says(window, ".status", "whole number from 1")


def test_an_installed_package_without_the_course_says_so(studio, open_window):
    window = open_window(studio(first="import nanogpt.studio.course.rungs as r; r.find_course = lambda: None"))
    says(window, ".course", "in the repository and not in the installed package")
    assert window.page.locator(".rung").count() == 0
    assert window.violations() == []


def test_text_and_steps_are_the_same_elsewhere(studio, open_window, tmp_path):
    kept = save_text(tmp_path / "shelf", b"the cat sat. " * 100, "My tale.txt").name
    server = studio()
    window = open_window(server)
    page = window.page
    page.locator("select").select_option(kept)
    page.get_by_label("Steps", exact=True).fill("20")
    page.wait_for_function("location.hash.includes('steps=20')")
    page.get_by_label("Steps", exact=True).fill("0")  # makes no sense: the address keeps what did
    page.locator(".rung button").first.click()
    says(window, ".status", "whole number from 1")
    fragment = page.url.partition("#view=")[2]
    assert fragment == f"course&corpus=kept:{kept}&steps=20"

    other = open_window(server, fragment).page
    assert other.locator("select").input_value() == f"kept:{kept}"
    assert other.get_by_label("Steps", exact=True).input_value() == "20"
    other.get_by_role("link", name="Write").click()
    other.locator(".rung").first.wait_for(state="detached")
    other.get_by_role("link", name="Follow the course").click()
    other.wait_for_function("document.querySelector('.course select')?.value.startsWith('kept:')")
    other.wait_for_function("part => location.href.endsWith(part)", arg=fragment)
    (tmp_path / "shelf" / "texts" / kept).unlink()
    last = open_window(server, fragment)
    says(last, ".status", f"The address means the text '{kept}', which is not here; this is python.")
    assert last.page.locator("select").input_value() == "python"
    assert last.page.get_by_label("Steps", exact=True).input_value() == "20"


def test_what_was_trained_stays_while_the_studio_runs(studio, open_window):
    """In each window, also after another view; but a section that is being trained ends with the page that asked."""
    server = studio()
    window = open_window(server, "course&steps=20")
    page = window.page
    page.locator(".rung button").first.click()
    says(window, ".rung:nth-child(1) .reached", "Validation loss")
    reached = page.locator(".rung .reached").first.inner_text()
    sample = page.locator(".rung .sample").first.inner_text()
    page.get_by_label("Steps", exact=True).fill("20000")
    page.locator(".rung button").nth(3).click()
    says(window, ".rung:nth-child(4) .reached", "Step ")
    page.get_by_role("link", name="Write").click()
    page.locator(".rung").first.wait_for(state="detached")
    page.get_by_role("link", name="Follow the course").click()
    for shown in (window, open_window(server)):
        says(shown, ".rung:nth-child(1) .reached", "Validation loss")
        assert shown.page.locator(".rung .reached").first.inner_text() == reached
        assert shown.page.locator(".rung .sample").first.inner_text() == sample
        assert shown.page.locator(".curves polyline").count() == 1
        assert shown.page.locator(".rung .reached").nth(3).inner_text() == "Not trained yet."
        assert shown.page.locator(".rung button").nth(3).is_enabled()
    assert page.get_by_label("Steps", exact=True).input_value() == "20000"
    assert window.errors == []
