import asyncio
import json
import os
import time

import pytest

pytest.importorskip("nicegui")

from nanogpt.studio import course_view

SECTION = course_view.Section(1, "course.s01_x", "X", "an x")

TALKS = """
import json, sys
steps = int(sys.argv[sys.argv.index("--steps") + 1])
def say(**line): print(json.dumps({"section": "s01_x", **line}), flush=True)
print("not JSON")
for step in range(1, steps + 1):
    say(event="step", label="x", step=step, steps=steps, loss=4.0 - step / 10)
say(event="sample", text="it writes")
say(event="done", parameters=100, val_loss=1.5, train_loss=1.25, seconds=2.0)
"""


def course(folder, **modules):
    place = folder / "course"
    place.mkdir()
    (place / "__init__.py").touch()
    for name, code in modules.items():
        (place / f"{name}.py").write_text(code)
    return place


def run(place, **settings):
    found = course_view.SectionRun(SECTION)
    asyncio.run(course_view.run_section(place, found, **{"steps": 7, "text": "python", "seconds": 60} | settings))
    return found


def feed(run, **line):
    run.feed(json.dumps(line).encode())


def test_a_course_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(course_view, "source_folder", lambda: tmp_path)
    monkeypatch.setattr(course_view.importlib.util, "find_spec", lambda name: None)
    assert course_view.find_course() is None
    (tmp_path / "course").mkdir()  # something else of that name
    assert course_view.find_course() is None


def test_sources_are_read_and_not_run(tmp_path):
    place = course(
        tmp_path,
        s01_x="# # 1. A title\nraise SystemExit\nIDEA = 'an idea'\n",
        s02_y="IDEA = __import__('os')\n",
        s03_z="def (",
        notes="# # 4. No section\n",
    )
    found = [(one.title, one.idea) for one in course_view.sections(place)]
    assert found == [("A title", "an idea"), ("y", ""), ("z", "")]


def test_the_output_of_a_process(tmp_path):
    changes = []
    found = run(course(tmp_path, s01_x=TALKS), changed=lambda: changes.append(1))
    assert found.problem == ""
    assert [point.loss for point in found.curve.all] == pytest.approx([3.9, 3.8, 3.7, 3.6, 3.5, 3.4, 3.3])
    assert found.sample == "it writes"
    assert all(number in course_view.describe_result(found) for number in ("1.500", "1.250", "100 parameters"))
    assert len(changes) > 7


def test_of_several_trainings_the_last_one_is_drawn():
    found = course_view.SectionRun(SECTION)
    for label in ("without", "with"):
        for step in (1, 2):
            feed(found, event="step", label=label, step=step, steps=2, loss=len(label) + step)
    assert [point.loss for point in found.curve.all] == [5, 6]


def test_memory_is_bounded():
    found = course_view.SectionRun(SECTION)
    for step in range(5000):
        feed(found, event="step", label="x", step=step, steps=1, loss=1.0)
        feed(found, event="note", text="n")
    feed(found, event="sample", text="x" * 100_000)
    assert len(found.curve.all) <= course_view.MAX_POINTS + 1
    assert len(found.notes) == 10
    assert len(found.sample) == course_view.MAX_TEXT
    for invalid in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"event": "step", "label": 1, "step": "x"}'):
        found.feed(invalid)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('course: this text is too short')", "this text is too short"),
        ("import sys; sys.exit(3)", "code 3"),
        ("import time; time.sleep(60)", "more than 0.5 seconds"),
    ],
)
def test_how_a_process_may_end(tmp_path, code, problem):
    began = time.monotonic()
    found = run(course(tmp_path, s01_x=code), seconds=0.5 if "sleep" in code else 60)
    assert problem in found.problem
    assert problem in course_view.describe_result(found)
    assert time.monotonic() - began < 30


def test_a_process_ends_with_its_task(tmp_path, monkeypatch):
    code = "import os, time; open(os.environ['SEEN'], 'w').write(str(os.getpid())); time.sleep(600)"
    place, seen = course(tmp_path, s01_x=code), tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))

    async def stop():
        found = course_view.SectionRun(SECTION)
        task = asyncio.create_task(course_view.run_section(place, found, steps=1, text="python"))
        while not (seen.exists() and seen.read_text()):
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    assert course_view.describe_result(asyncio.run(stop())) == "Stopped."
    with pytest.raises(ProcessLookupError):
        os.kill(int(seen.read_text()), 0)
