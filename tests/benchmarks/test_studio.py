"""The studio is measured, and its views are pictured."""

import json

import pytest
from tiny import make_run, trained, write_text

from benchmarks import screenshots
from benchmarks.processes import Workspace
from benchmarks.studio import chromium, measure_pair, newest_step, start, steps_per_second, studio
from nanogpt.interop.formats import MissingProgram
from nanogpt.runs.folder import RunFolder
from nanogpt.text.tokenizer import CharTokenizer


@pytest.fixture
def browser():
    """Chromium."""
    try:
        with chromium() as found:
            yield found
    except MissingProgram as error:
        pytest.skip(str(error))


def append(run: RunFolder, **line) -> None:
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def test_a_trainings_speed_is_by_its_own_count(tmp_path):
    """Whatever the clock here says, and without what evaluations take."""
    run = RunFolder(tmp_path)
    assert newest_step(run) == (0, 0.0)
    append(run, event="step", step=7, loss=3.0, seconds=1.5)

    def sleep(seconds: float) -> None:
        if seconds == 11:
            append(run, event="eval", step=9, loss=2.0, seconds=1.9)
            append(run, event="step", step=20, loss=2.5, seconds=8.0)

    assert steps_per_second(run, 11, sleep) == 13 / 6.5


@pytest.mark.slow
def test_a_start_is_measured(browser, tmp_path):
    work = Workspace(tmp_path, threads=1)
    make_run(work.run_folder, tokenizer=CharTokenizer("\nThe cat", end_of_document=False))
    found = start(work, browser)
    assert set(found) == {"starting_seconds", "usable_seconds", "writing_seconds"}
    assert all(0 < seconds < 120 for seconds in found.values())


@pytest.mark.slow
def test_an_open_page_is_compared_with_a_closed_one(browser, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "benchmarks.studio.steps_per_second", lambda run, seconds: asked.append(len(browser.contexts)) or 5.0
    )
    write_text()
    trained(tmp_path / "run")
    monkeypatch.setattr("benchmarks.studio.RUNNING", "Done: ")
    with studio(Workspace(tmp_path)) as server:
        for number in (0, 1):
            address = f"{server.address}#view=learn&run=run"
            assert measure_pair(browser, address, RunFolder(tmp_path / "run"), 1, number) == {"open": 5, "closed": 5}
    assert asked == [1, 0, 0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["write", "inside", "learn", "course"])
def test_a_view_is_pictured(browser, tmp_path, monkeypatch, name):
    monkeypatch.setattr(screenshots, "SECTIONS", 1)
    monkeypatch.setattr(screenshots, "SECTION_STEPS", 7)
    monkeypatch.setattr(screenshots, "CORPUS", "python")  # which is everywhere
    write_text()
    run = trained(tmp_path / "runs" / "a-run")
    with studio(Workspace(tmp_path / "runs")) as server:
        fragment, act = screenshots.views(run)[name]
        screenshots.take(browser, f"{server.address}#{fragment}", act, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
