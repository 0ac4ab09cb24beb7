"""The numbers in the pictures of docs/beyond/ are those that their pages speak of."""

import pytest

from benchmarks.beyond_pictures import DRAWN, stream_sizes


@pytest.fixture
def axes_of():
    """The axes of a picture, by its name."""
    figure = pytest.importorskip("matplotlib.figure")

    def drawn(name):
        made = figure.Figure()
        DRAWN[name](made)
        return made.axes

    return drawn


def test_scaled_weights_keep_the_stream_small_and_zeros_keep_it_as_it_is(axes_of):
    (axes,) = axes_of("initialisation")
    told = {line.get_label().partition(":")[0]: list(line.get_ydata()) for line in axes.lines}
    assert list(told) == ["0.02 for all weights", "scaled", "zero"]
    assert all(len(sizes) == 9 and sizes[0] == 1 for sizes in told.values())
    assert told["zero"] == [1] * 9
    assert told["scaled"] == sorted(told["scaled"])
    assert told["scaled"][-1] == pytest.approx(1.4, abs=0.05), "'to 1.4 times'"
    assert told["0.02 for all weights"][-1] == pytest.approx(5.6, abs=0.05), "'to 5.6 times'"


def test_the_stream_begins_at_the_size_of_the_embeddings():
    assert stream_sizes("normal", n_layer=2)[0] == pytest.approx(0.02, rel=0.05)
    assert stream_sizes("zero", n_layer=2) == pytest.approx([0.3] * 3, rel=0.05)


def test_layer_norm_does_not_see_what_is_added_and_rms_norm_does(axes_of):
    bars = {
        (axes.get_title(loc="left"), group.get_label()): [bar.get_height() for bar in group]
        for axes in axes_of("rmsnorm")
        for group in axes.containers
    }
    by_hand = [-1.147, -0.229, -0.229, 1.606]
    assert bars["LayerNorm", "x"] == pytest.approx(by_hand, abs=1e-3)
    assert bars["LayerNorm", "x + 10"] == pytest.approx(by_hand, abs=1e-3)
    assert bars["RMSNorm", "x"] == pytest.approx([0.4, 0.8, 0.8, 1.6])
    assert bars["RMSNorm", "x + 10"] == pytest.approx([0.894, 0.976, 0.976, 1.138], abs=1e-3)
