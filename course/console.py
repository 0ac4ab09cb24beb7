"""Progress, JSON lines and pictures, kept out of the sections.

A section calls these functions, in cells guarded by `if __name__ == "__main__":`

    show(demo, ...)       run a demonstration; save the picture that it returns, or display it in a notebook
    result = run(main)    train, with progress; steps, seed and text come from the flags
    finish(result)        print the result, in the last cell

The default of a `report` argument is `quiet`. A report is called as `report("step", step=..., ...)`.
"""

import contextlib
import io
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from course.flags import Options, read_options, started_as

PICTURES = Path("runs/course")
BAR_WIDTH = 30


class InputError(ValueError):
    """A mistake in the input; the message names the value and says what to do."""


class Report(Protocol):
    """A function that is called with an event's name and its fields: step, loss, sample, note."""

    def __call__(self, event: str, **fields: Any) -> None: ...


def quiet(event: str, **fields: Any) -> None:
    """Report nothing; the default when `main` is called from Python."""


# What a section calls


def show(demo: Callable[..., Any], *arguments: Any) -> None:
    """Run a demonstration; a matplotlib figure that it returns is saved, or displayed in a notebook."""
    with exit_without_traceback():
        options = read_options()
        printed = io.StringIO()
        name = demo.__name__.replace("_", "-")
        with one_thread(), contextlib.redirect_stdout(printed) if options.events else contextlib.nullcontext():
            figure, missing = _call_demo(demo, arguments)
        report = make_report(options)
        if options.events and printed.getvalue():
            report("demo", name=name, text=printed.getvalue())
        if missing or (figure is not None and not _display_in_notebook(figure)):
            section = options.section or demo.__module__.rpartition(".")[2].strip("_")
            _save_and_report(report, f"{section}-{name}", figure, missing)
        if options.section and not options.events:
            print()  # in a notebook the cells are already apart


def run(function: Callable[..., Any]) -> Any:
    """Call a section's `main`, or a function with the same arguments, with the given flags, and show progress."""
    with exit_without_traceback():
        options = read_options()
        report = make_report(options)
        for note in options.notes:
            report("note", text=note)
        with one_thread():
            return function(**options.arguments(), report=report)


def finish(result: Any) -> None:
    """Print a section's Result; with `--events`, report the sample and the last event, `done`."""
    with exit_without_traceback():
        options = read_options()
        if options.events:
            report = make_report(options)
            report("sample", text=result.sample)
            report("done", **done_fields(result))
        else:
            print(summary(result))
            if options.section:
                print(f"\nNow write its parts yourself: python -m course.check {options.section[:3]}")


# Also used by `python -m course`


def done_fields(result: Any) -> dict[str, Any]:
    """Return the fields of a `done` event for a Result and its variants."""
    fields = {
        "label": result.label,
        "steps": result.steps,
        "parameters": result.parameters,
        "train_loss_before": result.before.train,
        "val_loss_before": result.before.val,
        "train_loss": result.after.train,
        "val_loss": result.after.val,
        "seconds": result.seconds,
        "protocol": result.protocol,
        "sample": result.sample,
    }
    if result.others:
        fields["others"] = [done_fields(other) for other in result.others]
    return fields


def summary(result: Any) -> str:
    """Return a Result as a few lines for the terminal."""
    lines = []
    for one in (*result.others, result):
        lines += [
            f"{one.label}: {one.parameters:,} parameters, {one.steps:,} steps in {one.seconds:.1f} s",
            f"  untrained   train {one.before.train:.4f}   val {one.before.val:.4f}",
            f"  trained     train {one.after.train:.4f}   val {one.after.val:.4f}",
        ]
    protocol = textwrap.fill(f"({result.protocol})", 100, initial_indent="  ", subsequent_indent="   ")
    return "\n".join([*lines, protocol, "", "It writes:", result.sample.strip("\n")])


def save_picture(figure: Any, name: str) -> Path:
    """Write a matplotlib figure as `runs/course/NAME.png` below the current folder; returns the path."""
    path = PICTURES / f"{name}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise InputError(
            f"cannot write the picture {str(path)!r}: {error.strerror}; run from a folder you can write to"
        ) from None
    return path


def draw_and_save(report: Report, name: str, draw: Callable[[], Any]) -> None:
    """Draw a figure, save it and report its path; without matplotlib, report how to install it."""
    _save_and_report(report, name, *_call_demo(draw, ()))


def _save_and_report(report: Report, name: str, figure: Any, missing: bool) -> None:
    if missing:
        report("note", text=f"no picture {name}: matplotlib is not installed; run: pip install matplotlib")
    else:
        report("picture", path=str(save_picture(figure, name)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread inside the `with` block.

    The course's matrix products are too small for several threads. Where another program keeps a core busy, threads
    wait for each other: section 4 then takes ten times as long with two threads as with one.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class JsonLines:
    """A report that prints every event as one line of JSON on standard output, for other programs."""

    def __init__(self, section: str) -> None:
        self.section = section

    def __call__(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, "section": self.section, **fields}), flush=True)


class Terminal:
    """A report for people: a progress bar on standard error if that is a terminal, otherwise plain lines."""

    def __init__(self, prefix: str = "", lines: int = 5) -> None:
        """Print `prefix` before the bar, and `lines` lines instead of the bar if there is no terminal."""
        self.prefix = prefix
        self.lines = lines
        self.started = 0.0
        self.last_drawn = 0.0

    def __call__(self, event: str, **fields: Any) -> None:
        if event == "step":
            self._step(**fields)
        elif event == "loss":
            label = f"{fields['label']}, " if fields.get("label") else ""
            print(f"{self.prefix}{label}step {fields['step']:,}: train {fields['train']:.4f}, val {fields['val']:.4f}")
        elif event == "note":
            print(f"note: {fields['text']}")
        elif event == "picture":
            print(f"picture: {fields['path']}")

    def _step(self, *, step: int, steps: int, loss: float, label: str = "") -> None:
        now = time.monotonic()
        if step == 1:
            self.started, self.last_drawn = now, 0.0
        if not sys.stderr.isatty():
            if step % max(1, steps // self.lines) == 0:
                print(f"{self.prefix}step {step:,} of {steps:,}, loss {loss:.3f}", file=sys.stderr)
            return
        if step == steps:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        elif now - self.last_drawn > 0.1:
            self.last_drawn = now
            done = BAR_WIDTH * step // steps
            left_seconds = (now - self.started) / step * (steps - step)
            bar = "█" * done + "░" * (BAR_WIDTH - done)
            line = f"{self.prefix}{bar} {step:,}/{steps:,}  loss {loss:.3f}  {left_seconds:.0f} s left"
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)


# Exits, and figures in a notebook


@contextlib.contextmanager
def exit_without_traceback() -> Iterator[None]:
    """In a section's own process, exit without a traceback on input errors, Ctrl-C and a closed pipe."""
    if not started_as():
        yield
        return
    try:
        yield
    except InputError as error:
        sys.exit(_print_error(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_print_error("stopped; an unfinished section is not saved, run it again to start over", 130))
    except BrokenPipeError:  # the reader of our output is gone (`| head`)
        # Redirect standard output, or Python reports the error again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _print_error(message: str, code: int) -> int:
    section = started_as()
    command = "python -m course" if section == "course" else f"python -m course.{section}"
    print(f"{command}: {message}", file=sys.stderr)
    return code


def make_report(options: Options) -> Report:
    """Return the report that the options ask for."""
    return JsonLines(options.section) if options.events else Terminal()


def _call_demo(demo: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """Call a demonstration; return its figure, and whether matplotlib is missing."""
    try:
        return demo(*arguments), False
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None, True


def _display_in_notebook(figure: Any) -> bool:
    """Display a figure below the cell, as a PNG, because IPython only draws figures made with pyplot."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return False
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    ipython.display.display(ipython.display.Image(drawn.getvalue()))
    return True
