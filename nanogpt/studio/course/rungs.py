"""The course's ten sections, each run as a process of its own whose JSON lines are read.

`course` is in the repository and not in the installed package. It is looked for and read as text here; only the process
runs it.
"""

import ast
import asyncio
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.studio.learn.curves import Point, Points
from nanogpt.studio.learn.processes import environment, home

LINE_BYTES = 1_000_000
MOST_LINES = 50_000
MOST_POINTS = 300
MOST_TEXT = 4_000
LONGEST_SECONDS = 900
GRACE_SECONDS = 3
SOURCE_BYTES = 1_000_000

ABSENT = (
    "The course is in the repository and not in the installed package. Clone the repository and start the studio from "
    "there: then its ten sections can be trained here."
)


@dataclass(frozen=True)
class Section:
    """A section of the course."""

    number: int
    module: str
    title: str
    idea: str


@dataclass(eq=False)
class Attempt:
    """What a section's process told so far."""

    section: Section
    text: str = ""
    """what it is trained on, as a person calls it"""
    steps: int = 0
    curve: Points = field(default_factory=lambda: Points(MOST_POINTS))
    """losses of batches"""
    measured: list[Point] = field(default_factory=list)
    """validation losses"""
    sample: str = ""
    result: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    running: bool = True
    label: str = ""
    """of the training that is under way: some sections make several, and the last one is the section's own"""

    @property
    def step(self) -> int:
        """How far it is."""
        return 0 if self.curve.newest is None else int(self.curve.newest.step)

    def feed(self, raw: bytes) -> None:
        """Take in a line; one that makes no sense is left out."""
        try:
            line = json.loads(raw)
            event = line["event"]
            if event == "step":
                self._begin(str(line["label"]))
                self.steps = int(line["steps"])
                self.curve.add(Point(float(line["step"]), 0.0, float(line["loss"])))
            elif event == "loss":
                self._begin(str(line["label"]))
                if len(self.measured) < MOST_POINTS:
                    self.measured.append(Point(float(line["step"]), 0.0, float(line["val"])))
            elif event == "sample":
                self.sample = str(line["text"])[:MOST_TEXT]
            elif event == "note" and len(self.notes) < 10:
                self.notes.append(str(line["text"])[:MOST_TEXT])
            elif event == "done":
                numbers = {name: float(line[name]) for name in ("parameters", "val_loss", "train_loss", "seconds")}
                self.result = numbers | {"protocol": str(line.get("protocol", ""))[:MOST_TEXT]}
        except (ValueError, KeyError, TypeError, RecursionError):
            return

    def _begin(self, label: str) -> None:
        if label != self.label:
            self.label, self.measured, self.curve = label, [], Points(MOST_POINTS)


def find_course() -> Path | None:
    """The folder of the course's sections; None where it is not here, or is another package of that name."""
    try:
        spec = importlib.util.find_spec("course")  # of a package this runs nothing
    except (ImportError, ValueError):
        return None
    places = [home() / "course"]
    places += [Path(one) for one in (spec.submodule_search_locations or ())] if spec is not None else []
    return next((one for one in places if (one / "s01_bigram.py").is_file()), None)


def sections(folder: Path) -> list[Section]:
    """The sections in a folder, in their order, told by their text alone."""
    found = []
    for file in sorted(folder.glob("s[0-9][0-9]_*.py")):
        if re.fullmatch(r"s\d\d_\w+", file.stem):
            with file.open("rb") as source:
                text = source.read(SOURCE_BYTES).decode("utf-8", "replace")
            found.append(Section(int(file.stem[1:3]), f"course.{file.stem}", _title(text, file.stem), _idea(text)))
    return found


def _title(text: str, stem: str) -> str:
    heading = re.search(r"^# # \d+\. (.+)$", text, re.MULTILINE)
    return heading[1].strip() if heading else stem[4:].replace("_", " ")


def _idea(text: str) -> str:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "IDEA" for one in node.targets):
            return str(node.value.value) if isinstance(node.value, ast.Constant) else ""
    return ""


async def run_section(
    folder: Path,
    attempt: Attempt,
    *,
    steps: int,
    text: str,
    changed: Callable[[], None] = lambda: None,
    seconds: float = LONGEST_SECONDS,
) -> None:
    """Run a section and feed what it says to the attempt; its process ends with whoever waits for it.

    `changed` is called after each line. How it ended is the attempt's `problem`, empty where all went well.
    """
    with tempfile.TemporaryDirectory(prefix="nanogpt-course-") as place:  # pictures are written below it
        words = (sys.executable, "-P", "-m", attempt.section.module, "--events", "--steps", str(steps), "--text", text)
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=place,
            env=environment(folder.parent),
            limit=LINE_BYTES,
        )
        said = asyncio.create_task(_last_bytes(process.stderr))
        try:
            async with asyncio.timeout(seconds):
                await _read(process, attempt, changed)
                attempt.problem = _reason(await process.wait(), await said)
        except TimeoutError:
            attempt.problem = f"it took more than {seconds:g} seconds and was ended: choose fewer steps"
        except UserError as error:
            attempt.problem = str(error)
        except asyncio.CancelledError:
            attempt.problem = "stopped"
            raise
        finally:
            attempt.running = False
            await _end(process)
            changed()


async def _read(process: asyncio.subprocess.Process, attempt: Attempt, changed: Callable[[], None]) -> None:
    assert process.stdout is not None
    for _ in range(MOST_LINES):
        try:
            raw = await process.stdout.readline()
        except ValueError:
            raise UserError("the section printed a line of more than a million bytes, and was ended") from None
        if not raw:
            return
        attempt.feed(raw)
        changed()
    raise UserError(f"the section printed more than {MOST_LINES:,} lines, and was ended")


async def _last_bytes(stream: asyncio.StreamReader | None, most: int = 10_000) -> bytes:
    """The end of what a process says, however much that is."""
    kept = b""
    while stream is not None and (piece := await stream.read(65536)):
        kept = (kept + piece)[-most:]
    return kept


def _reason(code: int, said: bytes) -> str:
    if code == 0:
        return ""
    lines = [one.strip() for one in said.decode("utf-8", "replace").splitlines() if one.strip()]
    return lines[-1][:1000] if lines else f"it ended with code {code}, and said nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that is still there: asked first, then made to."""
    if process.returncode is not None:
        return
    for ask in (process.terminate, process.kill):
        try:
            ask()
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except ProcessLookupError:
            return
        except TimeoutError:
            continue
        return
