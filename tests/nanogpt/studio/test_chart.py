import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("nicegui")

from nanogpt.studio.chart import Curve, draw, frame_of, legend, table

FALL = Curve(name="a <b> & c", x=[0, 10, 20, 30, 40, 50], y=[9.0, 4.0, 3.0, 2.5, 2.2, 2.0], tag="A", style=2)


def test_the_loss_at_step_0_does_not_flatten_the_rest():
    frame = frame_of([FALL])
    assert frame.right == 50
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
