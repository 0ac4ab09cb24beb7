"""What is no lesson: flags, progress, JSON lines and the place of pictures, so that the sections hold ideas only.

A section calls four functions, all of them in cells guarded by `if __name__ == "__main__":`

    show(demo, ...)       run a demonstration; a picture that it returns is saved, or displayed in a notebook
    result = run(main)    train, with progress; steps, seed and text come from the flags, where there are any
    finish(result)        print what the section reached: its last cell

and names `quiet` as the default for its `report` argument. A report is called as `report("step", step=..., ...)`.

Flags are read only in a process that was started as `python -m course` or `python -m course.sNN_...`. In a notebook
`__name__` is "__main__" as well, but the arguments there are the kernel's, not ours; steps, seed and text are chosen by
`choose(steps=500)`, in a cell before the training.
"""

import argparse
import contextlib
import functools
import inspect
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

from nanogpt.corpus import load_corpus

PICTURES = Path("runs/course")
BAR_WIDTH = 30
LARGEST_SEED = 2**63 - 1


class InputError(ValueError):
    """Something the reader can put right: the message names the value and the next action."""


class Report(Protocol):
    """Called with an event's name and its fields: step, loss, sample, note."""

    def __call__(self, event: str, **fields: Any) -> None: ...


def quiet(event: str, **fields: Any) -> None:
    """Report nothing: what `main` does when it is called from Python."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asked for; None leaves a section's own default."""

    section: str = ""
    steps: int | None = None
    seed: int | None = None
    text: str | None = None
    """The text itself, already read."""
    notes: tuple[str, ...] = ()
    events: bool = False
    sections: tuple[int, ...] = ()
    """Numbers of the sections to climb; only `python -m course` has this flag."""

    def arguments(self) -> dict[str, Any]:
        """Those of steps, seed and text that were given, as keyword arguments for a section's `main`."""
        given = {"steps": self.steps, "seed": self.seed, "text": self.text}
        return {name: value for name, value in given.items() if value is not None}


_chosen: dict[str, Any] = {}
"""What `choose` was given."""


def choose(*, steps: int | None = None, seed: int | None = None, text: str | None = None) -> None:
    """In a notebook, where there are no flags: what the trainings below take in place of a section's own."""
    _chosen.update(steps=steps, seed=seed, text=text)


# What a section calls


def show(demo: Callable[..., Any], *arguments: Any) -> None:
    """Run a demonstration: what it prints is printed, and a matplotlib figure that it returns is kept or displayed."""
    with friendly_exit():
        options = read_options()
        printed = io.StringIO()
        name = demo.__name__.replace("_", "-")
        with one_thread(), contextlib.redirect_stdout(printed) if options.events else contextlib.nullcontext():
            figure, missing = _call_demo(demo, arguments)
        report = reporter(options)
        if options.events and printed.getvalue():
            report("demo", name=name, text=printed.getvalue())
        if missing or (figure is not None and not _display_in_notebook(figure)):
            section = options.section or Path(inspect.getfile(demo)).stem
            _keep(report, f"{section}-{name}", figure, missing)
        if not options.events:
            print()


def run(function: Callable[..., Any]) -> Any:
    """Call a section's `main` (or another function with its arguments) with the flags given and progress shown."""
    with friendly_exit():
        options = read_options()
        report = reporter(options)
        for note in options.notes:
            report("note", text=note)
        with one_thread():
            return function(**options.arguments(), report=report)


def finish(result: Any) -> None:
    """Print what a section reached, from its Result; with `--events`, the sample and the last event, `done`."""
    with friendly_exit():
        options = read_options()
        if options.events:
            report = reporter(options)
            report("sample", text=result.sample)
            report("done", **done_fields(result))
        else:
            print(summary(result))


# What `python -m course` uses as well


def done_fields(result: Any) -> dict[str, Any]:
    """A Result as the fields of a `done` event; variants measured on the way are rows of their own."""
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
    """A Result in a few lines for the terminal."""
    lines = []
    for one in (*result.others, result):
        lines += [
            f"{one.label}: {one.parameters:,} parameters, {one.steps:,} steps in {one.seconds:.1f} s",
            f"  untrained   train {one.before.train:.4f}   val {one.before.val:.4f}",
            f"  trained     train {one.after.train:.4f}   val {one.after.val:.4f}",
        ]
    lines += [f"  ({result.protocol})", "", "It writes:", result.sample.strip("\n")]
    return "\n".join(lines)


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


def keep_picture(report: Report, name: str, draw: Callable[[], Any]) -> None:
    """Draw a figure, save it and report where; without matplotlib, report how to get it."""
    _keep(report, name, *_call_demo(draw, ()))


def _keep(report: Report, name: str, figure: Any, missing: bool) -> None:
    if missing:
        report("note", text=f"no picture {name}: matplotlib is missing; get it with: pip install matplotlib")
    else:
        report("picture", path=str(save_picture(figure, name)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread meanwhile, and then in as many as before.

    Products as small as these are done before a second thread has woken up, and where another program keeps a core
    busy, the threads wait for each other: section 4 then takes ten times as long with two threads as with one.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class JsonLines:
    """Reports every event as one JSON object a line on standard output, for programs that show a section at work."""

    def __init__(self, section: str) -> None:
        self.section = section

    def __call__(self, event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, "section": self.section, **fields}), flush=True)


class Terminal:
    """Reports to a person: a progress bar on standard error where that is a terminal, plain lines where not."""

    def __init__(self, prefix: str = "", lines: int = 5) -> None:
        """`prefix` stands before the bar; where there is no terminal, `lines` lines stand for the bar."""
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


# Flags


def started_as() -> str:
    """The section this process was started for: `s04_self_attention`, `course` for `python -m course`, else ''."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec is not None else ""
    if name == "course.__main__":
        return "course"
    return name.removeprefix("course.") if re.fullmatch(r"course\.s\d\d_\w+", name) else ""


def read_options() -> Options:
    """The flags of this process, read once; where it was not started as a section, what was chosen."""
    section = started_as()
    return _parse(section, tuple(sys.argv[1:])) if section else Options(**_chosen)


@functools.cache
def _parse(section: str, arguments: tuple[str, ...]) -> Options:
    parser = _parser(section)
    given = parser.parse_args(arguments)
    try:
        corpus = load_corpus(given.text)
        text = corpus.text
    except ValueError as error:  # nanogpt's UserError: no such file, not a text, no network
        parser.error(str(error))
    return Options(
        section=section,
        steps=given.steps,
        seed=given.seed,
        text=text,
        notes=corpus.notes,
        events=given.events,
        sections=tuple(given.sections) if section == "course" else (),
    )


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line: a wall of usage text hides what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser(section: str) -> argparse.ArgumentParser:
    whole = section == "course"
    command = "python -m course" if whole else f"python -m course.{section}"
    parser = Parser(
        prog=command,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Climb the ten sections: train each, print the table of losses, draw the ladder."
        if whole
        else "Run one section: its demonstrations, its training, its pictures.",
        epilog=f"example:\n  {command} --steps 500 --seed 7 --text my_book.txt\n\n"
        "Pictures are written below runs/course in the current folder, if matplotlib is installed.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps", type=_steps, metavar="N", help="optimizer steps of each training (default: the section's own)"
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="seed of weights, batches and samples (default: 1337)")
    parser.add_argument(
        "--text",
        metavar="TEXT",
        help="a file, a folder, - for standard input, or a corpus by name: shakespeare, python "
        "(default: shakespeare where it can be had, else python)",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="print JSON lines (step, loss, sample, demo, picture, done) instead of text",
    )
    if whole:
        parser.add_argument(
            "--sections",
            type=_sections,
            metavar="A-B",
            default=tuple(range(1, 11)),
            help="climb only these, for example 1-8 or 4 (default: 1-10)",
        )
    return parser


def _steps(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value) or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of steps; give a whole number from 1, such as 500")
    return int(value)


def _seed(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value) or not 0 <= int(value) <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{value!r} is no seed; give a whole number from 0, such as 1337")
    return int(value)


def _sections(value: str) -> Sequence[int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= 10:
        raise argparse.ArgumentTypeError(f"{value!r} names no sections; give one or a range from 1 to 10, such as 1-8")
    return range(first, last + 1)


# How a run ends, and where a picture goes


@contextlib.contextmanager
def friendly_exit() -> Iterator[None]:
    """In a section's own process, end without a traceback on input errors, Ctrl-C and a closed pipe."""
    if not started_as():
        yield
        return
    try:
        yield
    except InputError as error:
        sys.exit(_last_line(str(error), 2))
    except KeyboardInterrupt:
        sys.exit(_last_line("stopped; nothing is kept of an unfinished section, so run it again when you like", 130))
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): point it elsewhere, or Python complains again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _last_line(message: str, code: int) -> int:
    section = started_as()
    command = "python -m course" if section == "course" else f"python -m course.{section}"
    print(f"{command}: {message}", file=sys.stderr)
    return code


def reporter(options: Options) -> Report:
    return JsonLines(options.section) if options.events else Terminal()


def _call_demo(demo: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, bool]:
    """What the demonstration returned, and whether it failed only because matplotlib is missing."""
    try:
        return demo(*arguments), False
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        return None, True


def _display_in_notebook(figure: Any) -> bool:
    """Show a figure below the cell, as a PNG: IPython draws only those that were made by pyplot."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return False
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    ipython.display.display(ipython.display.Image(drawn.getvalue()))
    return True
