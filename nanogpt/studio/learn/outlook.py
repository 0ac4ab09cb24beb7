"""What a training would be, asked of `nanogpt plan` in a process of its own: the machine is measured there."""

import asyncio
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.studio.learn.processes import command, environment

LONGEST_SECONDS = 300
MOST_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The plan of a training that has not begun."""

    minutes: float
    parameters: int
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    steps: int
    tokens: int
    epochs: float
    memory_bytes: int
    expected: tuple[float, float, float] | None
    """validation loss, and the interval that it should fall into"""

    def rows(self) -> list[tuple[str, str]]:
        """What is to be told, as names and values."""
        shape = f"{self.n_layer} layers, {self.n_head} heads, {self.n_embd} channels, context {self.block_size}"
        rows = [
            ("Time", f"{minutes_told(self.minutes)}, everything counted"),
            ("Size", f"{self.parameters:,} parameters: {shape}"),
            ("Steps", f"{self.steps:,}, which read {self.tokens:,} tokens: the text {self.epochs:.1f} times"),
            ("Memory", f"about {self.memory_bytes / 1e9:.1f} GB"),
        ]
        if self.expected is None:
            return [*rows, ("Expected loss", "no forecast for a training of this kind")]
        loss, low, high = self.expected
        return [*rows, ("Expected loss", f"{loss:.2f} nats a token; nine in ten fall between {low:.2f} and {high:.2f}")]


def read_outlook(said: bytes) -> Outlook:
    """What `nanogpt plan --json` printed; UserError for anything else."""
    try:
        (row,) = json.loads(said)
        model, expected = row["config"]["model"], row["expected"]
        sizes = {name: int(model[name]) for name in ("n_layer", "n_head", "n_embd", "block_size")}
        counts = {name: int(row[name]) for name in ("parameters", "steps", "tokens", "memory_bytes")}
        times = {name: _finite(row[name]) for name in ("minutes", "epochs")}
        interval = None if expected is None else tuple(_finite(expected[one]) for one in ("loss", "low", "high"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError("the plan could not be read: run `nanogpt plan` in a terminal to see what is wrong") from None
    return Outlook(**sizes, **counts, **times, expected=interval)  # type: ignore[arg-type]


async def ask_outlook(text: str, minutes: float, folder: Path) -> Outlook:
    """Plan a training on a text. The process ends with whoever waits for it. UserError tells what a terminal would."""
    process = await asyncio.create_subprocess_exec(
        *command("plan", text, "--minutes", f"{minutes:g}", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=environment(),
    )
    try:
        out, problems = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    except TimeoutError:
        raise UserError(f"planning took more than {LONGEST_SECONDS} seconds and was given up: try again") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or len(out) > MOST_BYTES:
        raise UserError(_reason(problems.decode("utf-8", "replace")))
    return read_outlook(out)


def _reason(problems: str) -> str:
    lines = [line.strip() for line in problems.splitlines() if line.strip()]
    return lines[-1].removeprefix("nanogpt: ")[:1000] if lines else "planning failed, and said nothing"


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError
    return float(value)


def minutes_told(minutes: float) -> str:
    """A time in words.

    >>> [minutes_told(one) for one in (0.1, 1, 20, 120)]
    ['6 seconds', '1 minute', '20 minutes', '2 hours']
    """
    if minutes < 1:
        return f"{minutes * 60:g} seconds"
    if minutes < 60:
        return f"{minutes:g} minute{'s' if minutes != 1 else ''}"
    return f"{minutes / 60:g} hour{'s' if minutes != 60 else ''}"
