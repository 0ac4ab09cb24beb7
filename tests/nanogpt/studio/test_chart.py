"""Curves as HTML, and the same in words and numbers."""

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("nicegui")

from nanogpt.studio.chart import Curve, describe, draw, frame_of, legend, table, ticks

FALL = Curve(name="a <b> & c", x=[0, 10, 20, 30, 40, 50], y=[9.0, 4.0, 3.0, 2.5, 2.2, 2.0], tag="A", style=2)


def test_the_loss_at_step_0_does_not_flatten_the_rest():
    frame = frame_of([FALL])
    assert (frame.left, frame.right) == (0, 50)
    assert frame.low < 2.0
    assert 4.0 < frame.high < 4.5


def test_names_are_text_and_the_html_is_well_formed():
    for html in (draw([FALL], "steps", "nats", "<script>"), legend([FALL]), table([FALL], "steps")):
        assert "<b> &" not in html
        assert "<script>" not in html
        ElementTree.fromstring(html)


def test_the_line_is_where_its_numbers_are():
    html = draw([Curve(name="v", x=[1, 2, 3, 4, 5], y=[1.0, 2.0, 3.0, 4.0, 5.0])], "steps", "nats", "Loss")
    points = [tuple(map(float, one.split(","))) for one in re.search(r'points="([^"]+)"', html)[1].split()]
    assert [x for x, _ in points] == [200, 400, 600, 800, 1000]
    heights = [y for _, y in points]
    assert heights == sorted(heights, reverse=True)
    assert heights[2] == pytest.approx(200)


def test_one_point_and_none():
    assert "points=" in draw([Curve(name="v", x=[0], y=[3.0])], "steps", "nats", "Loss")
    assert "no curve" in draw([], "steps", "nats", "Loss")
    assert legend([]) == ""


def test_the_description_has_the_numbers_of_the_curve():
    assert describe([FALL], "nats") == "a <b> & c: from 9.000 to 2.000 nats, lowest 2.000 at 50"
    assert 'aria-label="Loss. a &lt;b&gt;' in draw([FALL], "steps", "nats", "Loss")


def test_the_table_has_few_rows_and_the_last_point():
    long = Curve(name="v", x=list(range(1000)), y=[float(x) for x in range(1000)])
    rows = re.findall(r'<th scope="row">([\d,]+)</th><td>([\d.]+)</td>', table([long], "steps"))
    assert len(rows) == 12
    assert (rows[0], rows[-1]) == (("0", "0.000"), ("999", "999.000"))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1.93, 1.97), (0, 123456), (0.00012, 0.9), (-3, 7)])
def test_ticks_lie_between_the_limits_and_are_few(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= one <= high + 1e-9 for one in found)
