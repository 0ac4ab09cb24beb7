import json
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from tiny import metrics, refuses, start, trained

from nanogpt.reporting.plots import Curve, draw_curves, draw_picture, loss_range, nice_ticks, read_plot, write_picture
from nanogpt.runs.folder import RunFolder


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Train once; each test gets copies."""
    home = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGPT_CACHE", str(home / "cache"))
        patch.chdir(home)
        trained("run", log_every=2)
        trained("other", seed=3, batch_size=5, log_every=2)
    return home


@pytest.fixture
def run(originals):
    return RunFolder(shutil.copytree(originals / "run", "run"))


@pytest.fixture
def other(originals):
    return RunFolder(shutil.copytree(originals / "other", "other"))


def edit(run, change):
    path = run.path / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in map(change, lines)))


def test_the_curves_are_those_of_the_metrics(run):
    plot = read_plot([run])
    (found,) = plot.runs
    for curve, event in ((found.train, "step"), (found.val, "eval")):
        lines = [line for line in metrics(run.path) if line["event"] == event]
        assert curve == Curve(tuple(line["step"] for line in lines), tuple(line["loss"] for line in lines))
    assert found.train.x == (2, 4, 6, 8)
    assert found.val.x == (0, 4, 8)
    assert (found.name, found.text, plot.unit) == ("run", "tale", "nats/token")


def test_over_tokens_and_seconds(run, other):
    tokens = read_plot([run, other], "tokens")
    assert [one.val.x for one in tokens.runs] == [(0, 4 * 3 * 12, 8 * 3 * 12), (0, 4 * 5 * 12, 8 * 5 * 12)]
    edit(run, lambda line: line | {"seconds": line["step"] / 4})
    assert read_plot([run], "seconds").runs[0].train.x == (0.5, 1, 1.5, 2)


def test_the_loss_before_the_first_step_is_not_shown(run):
    edit(run, lambda line: line | {"loss": {0: 9.0, 2: 3.5, 4: 3.0, 6: 2.5, 8: 2.0}[line["step"]]})
    assert loss_range(read_plot([run])) == pytest.approx((2.0 - 0.05, 3.0 + 0.1))


def test_with_different_tokenizers_losses_compare_in_bits_per_byte(run):
    byte = RunFolder(trained("byte", tokenizer="byte"))
    plot = read_plot([run, byte])
    assert plot.unit == "bits per byte"
    for found, folder in zip(plot.runs, (run, byte)):
        assert found.train.x == ()
        lines = [line for line in metrics(folder.path) if line["event"] == "eval"]
        assert found.val.y == tuple(line["bits_per_byte"] for line in lines)
    assert "bits per byte" in draw_picture(plot).axes[0].get_ylabel()


def test_a_run_without_curves(run):
    refuses(lambda: read_plot([run, start("fresh").folder]), "'fresh' has no curve")


@pytest.mark.parametrize(
    ("key", "bad"), [("loss", "x"), ("loss", None), ("loss", True), ("loss", float("nan")), ("seconds", float("inf"))]
)
def test_a_damaged_line(run, key, bad):
    edit(run, lambda line: line | {key: bad} if line["step"] == 4 else line)
    refuses(lambda: read_plot([run]), "metrics.jsonl", "damaged")


def test_a_line_cut_off_by_a_kill_is_left_out(run):
    before = read_plot([run])
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "ev')
    assert read_plot([run]) == before


def test_files(run):
    plot = read_plot([run])
    write_picture(plot, "a.png")
    assert imread("a.png").shape == (750, 1200, 4)
    write_picture(plot, "sub/a.SVG")
    assert b"<svg" in Path("sub/a.SVG").read_bytes()


def test_nothing_is_overwritten(run):
    Path("a.png").write_text("mine")
    refuses(lambda: write_picture(read_plot([run]), "a.png"), "'a.png' exists")
    assert Path("a.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "saying"), [("a.pdf", "valid: .png, .svg"), ("a", "'a'"), ("a.pngg", "did you mean '.png'")]
)
def test_an_unknown_picture_format(run, path, saying):
    refuses(lambda: write_picture(read_plot([run]), path), saying)


def test_without_matplotlib(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    refuses(lambda: write_picture(read_plot([run]), "a.png"), "nanogpt[plot]")
    assert not Path("a.png").exists()


FRAME = ("nats/token", "steps")


def curve(x, *y):
    return Curve(x, y)


def test_a_drawing_by_hand():
    curves = {"A one": curve((0, 10), 4.0, 0.0), "B two": curve((0, 5), 2.0, 2.0)}
    assert draw_curves(curves, *FRAME, (0.0, 4.0), width=17, height=5) == [
        "nats/token",
        " 4 ┤AA",
        " 3 ┤  AAA",
        " 2 ┤BBBBBBAA",
        " 1 ┤        AAA",
        " 0 ┤           AA",
        "   └─────────────",
        "    0 2  4 6  8",  # no space for 10
        "            steps",
        "  A one: 0.0000 at the end",
        "  B two: 2.0000 at the end",
    ]


def test_nothing_is_drawn_outside_the_limits():
    lines = draw_curves({"o one": curve((0, 1, 2), 9.0, 2.0, 1.0)}, *FRAME, (0.9, 2.1), width=40, height=9)[1:10]
    assert min(line.index("o") for line in lines if "o" in line) > 15  # at 9 the curve is above the frame


@given(st.floats(-10, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low, width):
    high = low + width
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert low - 1e-6 * width <= ticks[0] <= ticks[-1] <= high + 1e-6 * width
