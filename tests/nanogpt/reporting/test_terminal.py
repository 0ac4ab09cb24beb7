import io

import pytest
from rich.console import Console
from tiny import finish, resume_run, start

from nanogpt.reporting import terminal
from nanogpt.reporting.terminal import show_training


@pytest.fixture
def screen(monkeypatch):
    """Return standard error as a file, which may be a terminal."""
    file = io.StringIO()

    def use(is_terminal):
        monkeypatch.setattr(
            terminal, "Console", lambda **kw: Console(file=file, force_terminal=is_terminal, width=120, highlight=False)
        )
        return file

    return use


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_shown(screen, is_terminal):
    file = screen(is_terminal)
    events = list(show_training(start("run", steps=20, eval_every=2)))
    shown = file.getvalue()
    done = events[-1]
    assert "run: modern," in shown
    assert f"{events[0].parameters:,} parameters (2 layers, 2 heads, 16 channels, block 12) on cpu" in shown
    assert "20 steps of 3 x 12 tokens: 720 tokens, 0.8 times the training text" in shown
    assert "dropout 0" in shown
    assert f"validation loss {done.evaluation.loss:.4f} nats/token" in shown
    assert f"{done.evaluation.bits_per_byte:.4f} bits per byte" in shown
    assert done.evaluation.protocol in shown
    assert shown.count("step ") >= 10
    if is_terminal:
        assert "20/20" in shown
        assert "tokens/s" in shown
    else:
        assert "\x1b" not in shown


def test_events_are_passed_on(screen):
    file = screen(False)
    quiet = [type(event) for event in show_training(start("one"), quiet=True)]
    assert file.getvalue() == ""
    assert quiet == [type(event) for event in show_training(start("two"))] == [type(e) for e in finish(start("three"))]


def test_a_resumed_run_its_notes_and_text_with_brackets(screen, monkeypatch):
    file = screen(False)
    monkeypatch.setattr(
        "nanogpt.training.trainer.generate_text", lambda *args, **kwargs: ["[bold]a[/] [/none] :smile:"]
    )
    finish(start("run", stop_at=3, patience=5, eval_every=1, learning_rate=1e-9))
    trainer = resume_run("run")
    trainer.notes = ("mind the gap",)
    list(show_training(trainer))
    for shown in ("step 3", "mind the gap", "[bold]a[/] [/none] :smile:", "stopped early"):
        assert shown in file.getvalue()
