"""The view in Chromium, as a person uses it."""

import pytest

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
