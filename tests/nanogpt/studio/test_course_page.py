import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def open_view(start_studio, visit, tmp_path):
    """Opens windows on the view, all of one server on a folder without runs."""
    studio = start_studio(tmp_path)
    return lambda fragment="", **settings: visit(f"view=course{fragment}", at=studio, **settings)


def steps_of(window):
    return window.page.get_by_label("Steps", exact=True)


def result_of(number):
    return f".section-card:nth-child({number}) .reached"


def train(window, number):
    window.page.locator(".section-card button").nth(number - 1).click()


def test_sections_are_trained(open_view):
    window = open_view()
    window.count(".section-card", 10)
    steps_of(window).fill("20")
    for number in (1, 2):
        train(window, number)
        window.says(result_of(number), "Validation loss")
        window.says(result_of(number), "20 steps on python.")
        window.count(".curves polyline", number)
        assert window.page.locator(".section-card").nth(number - 1).locator(".sample").inner_text().strip()
    described = window.page.locator(".curves").get_attribute("aria-label")
    assert "The simplest language model" in described
    assert "the mean of the past" in described
    assert window.violations() == []


def test_a_section_is_stopped(open_view):
    window = open_view(width=360, dark=True)
    first = window.page.locator(".section-card button").nth(0)
    steps_of(window).fill("20000")
    train(window, 4)
    window.says(result_of(4), "Step ")
    assert first.is_disabled()
    window.button("Stop").click()
    window.says(".status", "Stopped.")
    window.says(result_of(4), "Stopped.")
    assert first.is_enabled()
    assert window.overhang() <= 0
    assert window.violations() == []


def test_a_trained_section_stays_while_the_studio_runs(open_view):
    """In each window, also after another view; a running one ends with the page that started it."""
    window = open_view("&steps=20")
    page = window.page
    train(window, 1)
    window.says(result_of(1), "Validation loss")
    parts = (result_of(1), ".section-card .sample")
    texts = [page.locator(one).first.inner_text() for one in parts]
    steps_of(window).fill("20000")
    train(window, 4)
    window.says(result_of(4), "Step ")
    page.get_by_role("link", name="Write").click()
    window.count(".section-card", 0)
    page.get_by_role("link", name="Follow the course").click()
    for shown in (window, open_view()):
        shown.says(result_of(1), "Validation loss")
        assert [shown.page.locator(one).first.inner_text() for one in parts] == texts
        shown.count(".curves polyline", 1)
        shown.says(result_of(4), "Not trained yet.")
        assert shown.page.locator(".section-card button").nth(3).is_enabled()
    assert steps_of(window).input_value() == "20000"
