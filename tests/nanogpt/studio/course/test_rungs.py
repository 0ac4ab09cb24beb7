"""A section of the course as a process."""

import asyncio
import json
import time

import pytest

from nanogpt.studio.course import rungs
from nanogpt.studio.course.rung import reached
from nanogpt.studio.course.rungs import MOST_POINTS, Attempt, Section, find_course, run_section, sections

SECTION = Section(4, "course.s04_x", "X", "an x")

TALKS = """
import json, sys
steps = int(sys.argv[sys.argv.index("--steps") + 1])
def say(**line): print(json.dumps({"section": "s01_x", **line}), flush=True)
print("not JSON")
say(event="loss", label="x", step=0, train=4.0, val=4.5)
for step in range(1, steps + 1):
    say(event="step", label="x", step=step, steps=steps, loss=4.0 - step / 10)
say(event="sample", text="it writes")
say(event="done", parameters=100, val_loss=1.5, train_loss=1.25, seconds=2.0)
"""


def course(folder, **modules):
    """A folder of sections."""
    place = folder / "course"
    place.mkdir()
    (place / "__init__.py").touch()
    for name, code in modules.items():
        (place / f"{name}.py").write_text(code)
    return place


def run(place, module="s01_x", **settings):
    attempt = Attempt(Section(1, f"course.{module}", "X", "an x"))
    settings = {"steps": 7, "text": "python", "seconds": 60} | settings
    asyncio.run(run_section(place, attempt, **settings))
    return attempt


def test_the_ten_sections_are_told_by_their_text():
    found = sections(find_course())
    assert [one.number for one in found] == list(range(1, 11))
    assert found[0].module == "course.s01_bigram"
    assert found[3].title == "Choosing whom to listen to: self-attention"
    assert found[3].idea == "one head of self-attention"
    assert all(one.idea for one in found)


def test_a_course_that_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setattr(rungs, "home", lambda: tmp_path)
    monkeypatch.setattr(rungs.importlib.util, "find_spec", lambda name: None)
    assert find_course() is None
    (tmp_path / "course").mkdir()  # another thing of that name
    assert find_course() is None


def test_sources_are_read_and_not_run(tmp_path):
    place = course(
        tmp_path,
        s01_x="# # 1. A title\nraise SystemExit\nIDEA = 'an idea'\n",
        s02_y="IDEA = __import__('os')\n",
        s03_z="def (",
        notes="# # 4. No section\n",
    )
    assert [(one.title, one.idea) for one in sections(place)] == [("A title", "an idea"), ("y", ""), ("z", "")]


def test_what_a_process_tells(tmp_path):
    changes = []
    attempt = run(course(tmp_path, s01_x=TALKS), changed=lambda: changes.append(1))
    assert attempt.problem == ""
    assert not attempt.running
    assert [point.loss for point in attempt.curve.all] == pytest.approx([3.9, 3.8, 3.7, 3.6, 3.5, 3.4, 3.3])
    assert [point.loss for point in attempt.measured] == [4.5]
    assert attempt.sample == "it writes"
    assert reached(attempt).startswith("Validation loss 1.500 (training 1.250) with 100 parameters")
    assert len(changes) > 7


def test_of_several_trainings_the_last_one_is_drawn():
    attempt = Attempt(SECTION)
    for label in ("without", "with"):
        for step in (1, 2):
            line = {"event": "step", "label": label, "step": step, "steps": 2, "loss": len(label) + step}
            attempt.feed(json.dumps(line).encode())
    assert [point.loss for point in attempt.curve.all] == [5, 6]


def test_output_is_bounded():
    attempt = Attempt(SECTION)
    for step in range(5000):
        attempt.feed(json.dumps({"event": "step", "label": "x", "step": step, "steps": 1, "loss": 1.0}).encode())
        attempt.feed(json.dumps({"event": "loss", "label": "x", "step": step, "val": 1.0}).encode())
        attempt.feed(json.dumps({"event": "note", "text": "n"}).encode())
    attempt.feed(json.dumps({"event": "sample", "text": "x" * 100_000}).encode())
    assert len(attempt.curve.all) <= MOST_POINTS + 1
    assert len(attempt.measured) == MOST_POINTS
    assert len(attempt.notes) == 10
    assert len(attempt.sample) == rungs.MOST_TEXT
    for nonsense in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"event": "step", "label": 1, "step": "x"}'):
        attempt.feed(nonsense)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('course: this text is too short')", "this text is too short"),
        ("import sys; sys.exit(3)", "code 3"),
        ("print('x' * 3_000_000)", "a million bytes"),
        ("import time; time.sleep(60)", "more than 1 seconds"),
        ("import sys\nwhile True: print('{}')", "lines"),
    ],
)
def test_how_a_process_may_end(tmp_path, code, problem, monkeypatch):
    monkeypatch.setattr(rungs, "MOST_LINES", 1000)
    began = time.monotonic()
    attempt = run(course(tmp_path, s01_x=code), seconds=1 if "sleep" in code else 60)
    assert problem in attempt.problem
    assert problem in reached(attempt)
    assert time.monotonic() - began < 30


def test_a_process_ends_with_whoever_waits_for_it(tmp_path):
    code = "import os, time; open(os.environ['SEEN'], 'w').write(str(os.getpid())); time.sleep(600)"
    place, seen = course(tmp_path, s01_x=code), tmp_path / "seen"

    async def stop():
        attempt = Attempt(Section(1, "course.s01_x", "X", "an x"))
        task = asyncio.create_task(run_section(place, attempt, steps=1, text="python"))
        while not (seen.exists() and seen.read_text()):
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return attempt

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEN", str(seen))
        attempt = asyncio.run(stop())
    assert reached(attempt) == "Stopped."
    with pytest.raises(ProcessLookupError):
        __import__("os").kill(int(seen.read_text()), 0)


@pytest.mark.slow
def test_a_real_section():
    attempt = Attempt(sections(find_course())[0])
    asyncio.run(run_section(find_course(), attempt, steps=20, text="python"))
    assert attempt.problem == ""
    assert attempt.result["val_loss"] < attempt.measured[0].loss
    assert attempt.curve.newest.step == 20
    assert attempt.sample
