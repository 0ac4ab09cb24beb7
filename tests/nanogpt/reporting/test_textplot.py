"""Curves in characters: every mark where it belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.reporting.textplot import Series, nice_ticks, plot_text

WORDS = {"title": "Loss", "unit": "nats/token", "axis": "steps"}


def test_as_a_whole():
    falling = Series("A", "one", (0, 10), (4.0, 0.0))
    flat = Series("B", "two", (0, 5), (2.0, 2.0))
    found = plot_text([falling, flat], **WORDS, limits=(0.0, 4.0), width=17, height=5)
    assert found == "\n".join(
        [
            "Loss",
            "nats/token",
            " 4 ┤AA",
            " 3 ┤  AAA",
            " 2 ┤BBBBBBAA",
            " 1 ┤        AAA",
            " 0 ┤           AA",
            "   └─────────────",
            "    0 2  4 6  8",  # no room for 10
            "            steps",
            "  A one: 0.0000 at the end",
            "  B two: 2.0000 at the end",
        ]
    )


def test_the_numbers_below_stand_at_their_places():
    curve = Series("o", "one", (0, 2000), (2.0, 1.0))
    lines = plot_text([curve], **WORDS, limits=(1.0, 2.0), width=80, height=20).splitlines()
    start = lines[2].index("┤") + 1 if "┤" in lines[2] else lines[2].index("│") + 1
    columns = 80 - start
    for tick, text in ((0, "0"), (500, "500"), (1000, "1k"), (1500, "1.5k")):
        place = start + round(tick / 2000 * (columns - 1))
        assert lines[-3][place - len(text) // 2 :].startswith(text)
    assert lines[-3].endswith("2k")
    assert max(map(len, lines)) == 80
    assert lines[-1] == "  o one: 1.0000 at the end"


def test_where_two_curves_meet_their_marks_take_turns():
    curves = [Series(mark, mark, (0, 1), (1.0, 1.0)) for mark in "AB"]
    found = plot_text(curves, **WORDS, limits=(0.5, 1.5), width=40, height=3).splitlines()[3]
    assert found.split("┤")[-1].startswith("ABABABAB")


def test_outside_the_limits_nothing_is_drawn():
    curve = Series("o", "one", (0, 1, 2), (9.0, 2.0, 1.0))
    drawing = plot_text([curve], **WORDS, limits=(0.9, 2.1), width=40, height=9).splitlines()[2:11]
    assert all(line.split("┤")[-1].split("│")[-1].lstrip()[:1] in ("", "o") for line in drawing)
    first = min(line.index("o") for line in drawing if "o" in line)
    assert first > 15  # at 9 the curve is above the frame


def test_the_lowest_is_told_where_it_is_not_the_end():
    found = plot_text([Series("o", "x", (0, 1, 2), (3.0, 1.0, 2.0))], **WORDS, limits=(1, 3), width=30, height=4)
    assert found.endswith("  o x: 2.0000 at the end, 1.0000 at the lowest")


def test_a_single_point():
    found = plot_text([Series("o", "x", (7,), (1.5,))], **WORDS, limits=(1.4, 1.6), width=30, height=5)
    assert sum(line.count("o") for line in found.splitlines()[2:7]) == 1
    found = plot_text([Series("o", "x", (0,), (1.5,))], **WORDS, limits=(1.4, 1.6), width=30, height=5)
    assert sum(line.count("o") for line in found.splitlines()[2:7]) == 1


@pytest.mark.parametrize(("x", "y"), [(0, 4.0), (5, 3.0), (10, 2.0), (15, 2.5), (20, 3.0), (-1, None), (21, None)])
def test_between_points_a_curve_is_a_line(x, y):
    assert Series("o", "x", (0, 10, 20), (4.0, 2.0, 3.0)).at(x) == y


@given(st.floats(-10, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, width):
    high = low + width
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert low - 1e-6 * width <= ticks[0] <= ticks[-1] <= high + 1e-6 * width
