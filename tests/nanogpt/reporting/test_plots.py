"""Curves from metrics.jsonl, and pictures of them."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread
from tiny import metrics, start, trained

from nanogpt.errors import UserError
from nanogpt.reporting.plots import Curve, draw_picture, draw_text, loss_range, read_plot, write_picture
from nanogpt.runs.folder import RunFolder


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Trained once; each test gets copies of its own."""
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
    assert (found.name, found.text, plot.unit, plot.title) == (
        "run",
        "tale",
        "nats/token",
        "Loss while training on tale",
    )


def test_over_tokens_and_seconds(run, other):
    tokens = read_plot([run, other], "tokens")
    assert [one.val.x for one in tokens.runs] == [(0, 4 * 3 * 12, 8 * 3 * 12), (0, 4 * 5 * 12, 8 * 5 * 12)]
    edit(run, lambda line: line | {"seconds": line["step"] / 4})
    assert read_plot([run], "seconds").runs[0].train.x == (0.5, 1, 1.5, 2)


def test_the_loss_before_the_first_step_does_not_flatten_the_rest(run):
    edit(run, lambda line: line | {"loss": {0: 9.0, 2: 3.5, 4: 3.0, 6: 2.5, 8: 2.0}[line["step"]]})
    assert loss_range(read_plot([run])) == pytest.approx((2.0 - 0.05, 3.0 + 0.1))


def test_with_different_tokenizers_losses_compare_in_bits_per_byte(run):
    byte = RunFolder(trained("byte", tokenizer="byte"))
    plot = read_plot([run, byte])
    assert (plot.unit, plot.title) == ("bits per byte", "Validation loss while training on tale")
    for found, folder in zip(plot.runs, (run, byte)):
        assert found.train.x == ()
        lines = [line for line in metrics(folder.path) if line["event"] == "eval"]
        assert found.val.y == tuple(line["bits_per_byte"] for line in lines)
    assert "bits per byte" in draw_picture(plot).axes[0].get_ylabel()


def test_a_run_without_curves(run):
    trainer = start("fresh")
    with pytest.raises(UserError, match="'fresh' has no curve yet: its training has just begun"):
        read_plot([run, trainer.folder])


def test_no_evaluation_yet(run, other):
    for one in (run, other):
        edit(one, lambda line: line if line["event"] == "step" else line | {"event": "note"})
    assert "· training" in draw_text(read_plot([run]))
    with pytest.raises(UserError, match="none of these runs has been evaluated yet"):
        draw_text(read_plot([run, other]))
    draw_picture(read_plot([run, other]))


@pytest.mark.parametrize("bad", ["x", None, True, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["loss", "seconds"])
def test_a_damaged_line(run, key, bad):
    edit(run, lambda line: line | {key: bad} if line["step"] == 4 else line)
    with pytest.raises(UserError, match=r"metrics.jsonl.*damaged: restore the file, or delete it"):
        read_plot([run])


def test_a_line_cut_off_by_a_kill_is_left_out(run):
    before = read_plot([run])
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"event": "ev')
    assert read_plot([run]) == before


def test_too_many_to_tell_apart(run):
    with pytest.raises(UserError, match="27 runs are too many"):
        read_plot([run] * 27)


def test_in_characters(run, other):
    alone = draw_text(read_plot([run]))
    assert alone.startswith("Loss while training on tale (run)\nnats/token\n")
    assert "  · training: " in alone
    assert "  o validation: " in alone
    both = draw_text(read_plot([run, other], "tokens"), width=60)
    assert both.startswith("Validation loss while training on tale\n")
    assert "  A run: " in both
    assert "  B other: " in both
    assert max(map(len, both.splitlines())) <= 60
    assert "training tokens" in both


def test_a_picture_says_what_it_shows_and_does_without_colour(run, other):
    (axes,) = draw_picture(read_plot([run, other])).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("steps", "loss (nats/token)")
    assert axes.get_title() == "Loss while training on tale"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["run", "other", "training, dotted"]
    looks = {(line.get_marker(), line.get_linestyle()) for line in axes.lines if line.get_marker() != "None"}
    assert len(looks) == 2
    (axes,) = draw_picture(read_plot([run])).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["validation", "training"]
    assert axes.get_legend().get_title().get_text() == "run"


@pytest.mark.parametrize("name", ["$\\frac{$", "_x"])
def test_a_name_is_text_and_no_formula(run, other, name):
    plot = read_plot([RunFolder(run.path.rename(name)), other])
    write_picture(plot, "a.png")
    labels = [text.get_text() for text in draw_picture(plot).axes[0].get_legend().get_texts()]
    assert labels[0] == {"_x": "./_x"}.get(name, "\\$\\frac{\\$")


def test_files(run):
    plot = read_plot([run])
    write_picture(plot, "a.png")
    assert imread("a.png").shape == (750, 1200, 4)
    write_picture(plot, "sub/a.SVG")
    assert b"<svg" in Path("sub/a.SVG").read_bytes()


def test_nothing_is_overwritten(run):
    Path("a.png").write_text("mine")
    with pytest.raises(UserError, match=r"'a.png' exists already and is not overwritten"):
        write_picture(read_plot([run]), "a.png")
    assert Path("a.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "saying"), [("a.pdf", "valid: .png, .svg"), ("a", "no kind of picture"), ("a.pngg", "did you mean '.png'")]
)
def test_no_kind_of_picture(run, path, saying):
    with pytest.raises(UserError, match=saying):
        write_picture(read_plot([run]), path)


def test_without_matplotlib(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'nanogpt\[plot\]', or leave --out out"):
        write_picture(read_plot([run]), "a.png")
    assert not Path("a.png").exists()
