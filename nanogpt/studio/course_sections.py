"""The course's ten sections, each run as a process that prints JSON lines.

`course` is in the repository and not in the installed package. Its files are only read here; the process runs them.
"""

import ast
import asyncio
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nanogpt.studio.run_metrics import Point, Points
from nanogpt.studio.training_jobs import last_line, source_folder, start_piped

MAX_POINTS = 300
MAX_TEXT = 4_000
MAX_SECONDS = 900
GRACE_SECONDS = 3
RESULTS = ("parameters", "val_loss", "train_loss", "seconds")


@dataclass(frozen=True)
class Section:
    """A section of the course."""

    number: int
    module: str
    title: str
    idea: str


@dataclass(eq=False)
class SectionRun:
    """The output of a section's process so far."""

    section: Section
    text: str = ""
    """name of the text it is trained on"""
    steps: int = 0
    curve: Points = field(default_factory=lambda: Points(MAX_POINTS))
    """losses of batches"""
    sample: str = ""
    result: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    """why it ended; empty if all went well"""
    label: str = ""
    """name of the current training: some sections make several, and the last one is the section's own"""

    @property
    def step(self) -> int:
        """Last step of the current training."""
        return 0 if self.curve.newest is None else int(self.curve.newest.step)

    def feed(self, raw: bytes) -> None:
        """Add a line of output; invalid ones are left out."""
        try:
            line = json.loads(raw)
            event = line["event"]
            if event == "step":
                if self.label != str(line["label"]):
                    self.label, self.curve = str(line["label"]), Points(MAX_POINTS)
                self.steps = int(line["steps"])
                self.curve.add(Point(float(line["step"]), 0.0, float(line["loss"])))
            elif event == "sample":
                self.sample = str(line["text"])[:MAX_TEXT]
            elif event == "note" and len(self.notes) < 10:
                self.notes.append(str(line["text"])[:MAX_TEXT])
            elif event == "done":
                self.result = {name: float(line[name]) for name in RESULTS}
        except (ValueError, KeyError, TypeError, RecursionError):
            return


def find_course() -> Path | None:
    """Return the folder of the course's sections; None if it is missing, or another package has its name."""
    spec = importlib.util.find_spec("course")  # finds a package without running it
    installed = spec.submodule_search_locations if spec is not None else None
    places = [source_folder() / "course", *map(Path, installed or ())]
    return next((one for one in places if (one / "s01_bigram.py").is_file()), None)


def sections(folder: Path) -> list[Section]:
    """Return the sections in a folder, in order, from their source text alone."""
    found = []
    for file in sorted(folder.glob("s[0-9][0-9]_*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        heading = re.search(r"^# # \d+\. (.+)$", text, re.MULTILINE)
        title = heading[1].strip() if heading else file.stem[4:].replace("_", " ")
        found.append(Section(int(file.stem[1:3]), f"course.{file.stem}", title, _idea(text)))
    return found


def _idea(text: str) -> str:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "IDEA" for one in node.targets):
            return str(node.value.value) if isinstance(node.value, ast.Constant) else ""
    return ""


async def run_section(
    folder: Path,
    run: SectionRun,
    *,
    steps: int,
    text: str,
    changed: Callable[[], None] = lambda: None,
    seconds: float = MAX_SECONDS,
) -> None:
    """Run a section and feed its output to `run`, with `changed` after each line; cancelling ends the process."""
    with tempfile.TemporaryDirectory(prefix="nanogpt-course-") as place:  # for pictures
        words = (sys.executable, "-P", "-m", run.section.module, "--events", "--steps", str(steps), "--text", text)
        process = await start_piped(words, Path(place), folder.parent)
        assert process.stdout is not None
        said = asyncio.create_task(_end_of(process.stderr))
        try:
            async with asyncio.timeout(seconds):
                while raw := await process.stdout.readline():
                    run.feed(raw)
                    changed()
                code, reason = await process.wait(), last_line(await said)
                run.problem = reason or f"it ended with code {code} and no message" if code else ""
        except TimeoutError:
            run.problem = f"it took more than {seconds:g} seconds and was stopped: choose fewer steps"
        except asyncio.CancelledError:
            run.problem = "stopped"
            raise
        finally:
            await _end(process)
            changed()


async def _end_of(stream: asyncio.StreamReader | None, most: int = 10_000) -> bytes:
    """Return the last bytes of a process's output, however long it is."""
    kept = b""
    while stream is not None and (part := await stream.read(65536)):
        kept = (kept + part)[-most:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that is still running: ask first, then kill it."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
