"""Pictures are always drawn the same, and their numbers are those that the pages speak of."""

from xml.etree import ElementTree

import pytest

from benchmarks.pictures import FROM_RECORDS, FROM_THE_LIBRARY, draw, stream_sizes

pytest.importorskip("matplotlib")


@pytest.mark.slow
@pytest.mark.parametrize("name", FROM_RECORDS)
def test_a_picture_of_a_record_always_has_the_same_bytes(name, tmp_path):
    first = draw(name, tmp_path).read_bytes()
    assert draw(name, tmp_path).read_bytes() == first
    assert len(list(ElementTree.fromstring(first).iter())) > 50


def axes_of(name):
    from matplotlib.figure import Figure

    figure = Figure()
    FROM_THE_LIBRARY[name](figure)
    return figure.axes


def test_scaled_weights_keep_the_stream_small_and_zeros_keep_it_as_it_is():
    (axes,) = axes_of("initialisation")
    sizes = {line.get_label().partition(":")[0]: list(line.get_ydata()) for line in axes.lines}
    assert all(len(one) == 9 and one[0] == 1 for one in sizes.values())
    assert sizes["zero"] == [1] * 9
    assert sizes["scaled"] == sorted(sizes["scaled"])
    assert sizes["scaled"][-1] == pytest.approx(1.4, abs=0.05)  # as the page says
    assert sizes["0.02 for all weights"][-1] == pytest.approx(5.6, abs=0.05)
    assert stream_sizes("normal", n_layer=2)[0] == pytest.approx(0.02, rel=0.05)
    assert stream_sizes("zero", n_layer=2) == pytest.approx([0.3] * 3, rel=0.05)


def test_layer_norm_ignores_what_is_added_and_rms_norm_does_not():
    bars = {
        (axes.get_title(loc="left"), group.get_label()): [bar.get_height() for bar in group]
        for axes in axes_of("rmsnorm")
        for group in axes.containers
    }
    for label in ("x", "x + 10"):
        assert bars["LayerNorm", label] == pytest.approx([-1.147, -0.229, -0.229, 1.606], abs=1e-3)
    assert bars["RMSNorm", "x"] == pytest.approx([0.4, 0.8, 0.8, 1.6])
    assert bars["RMSNorm", "x + 10"] == pytest.approx([0.894, 0.976, 0.976, 1.138], abs=1e-3)
