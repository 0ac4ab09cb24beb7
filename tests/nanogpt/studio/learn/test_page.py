"""The view in Chromium, as a person uses it."""

import json
import os
import re

import pytest
from studio_server import wait_for
from tiny import finish, start, trained, write_text

from nanogpt.runs.folder import RunFolder
from nanogpt.studio.learn.jobs import Jobs, Stage
from nanogpt.training.launch import is_done

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="a training is stopped by a signal")]

STATUS = ".live .status"
NUMBERS = ".live .numbers-row"


def tale(characters=20_000):
    return write_text("tale.txt", characters).read_text()


def says(window, place, words):
    """Wait until a part of the page says something."""
    window.page.wait_for_function(
        "([place, words]) => document.querySelector(place)?.textContent.includes(words)", arg=[place, words]
    )


def start_a_run(window, text, minutes_place):
    page = window.page
    page.get_by_label("Your text").fill(text)
    time = page.get_by_role("slider", name="Time")
    time.focus()
    page.keyboard.press("Home")
    for _ in range(minutes_place):
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Show the plan").click()
    says(window, ".start .status", "This is the plan")
    plan = page.locator(".start .facts").inner_text()
    page.get_by_role("button", name="Start the training").click()
    says(window, ".start .status", "Started as")
    return plan


def test_a_pasted_text_is_planned_and_trained_to_the_end(shelf, open_studio, open_window):
    window = open_window(open_studio(shelf), "learn")
    assert window.page.get_by_role("button", name="Start the training").is_disabled()
    plan = start_a_run(window, tale(), 0)
    assert "6 seconds" in plan
    assert re.search(r"[\d,]+ parameters: \d+ layers", plan)
    assert re.search(r"nine in ten fall between [\d.]+ and [\d.]+", plan)
    says(window, STATUS, "Done: validation loss")
    run = RunFolder(shelf / "pasted-1")
    assert is_done(run)
    evaluated = [line["loss"] for line in run.metrics() if line["event"] == "eval"]
    numbers = window.page.locator(NUMBERS).inner_text()
    assert f"{evaluated[-1]:.3f}" in numbers
    assert re.search(r"[\d,]+ tokens/s", numbers)
    assert window.page.locator(".live .curves polyline").count() == 2
    told = window.page.locator(".live .curves").get_attribute("aria-label")
    assert f"validation: from {evaluated[0]:.3f} to {evaluated[-1]:.3f}" in told
    samples = [line for line in run.metrics() if line["event"] == "sample"]
    assert window.page.locator(".live .sample").first.inner_text().strip() == samples[-1]["text"].strip()
    assert window.violations() == []
    assert window.errors == []
    assert window.strangers == []


def test_a_run_outlives_server_and_page_is_stopped_and_gone_on_with(shelf, open_studio, open_window):
    studio = open_studio(shelf)
    first = open_window(studio, "learn")
    start_a_run(first, tale(), 3)
    says(first, STATUS, "Training.")
    studio.process.kill()
    studio.process.wait()
    first.page.close()
    run, jobs = shelf / "pasted-1", Jobs(shelf)
    assert jobs.stage(run) is Stage.TRAINING

    window = open_window(open_studio(shelf), "learn")
    says(window, STATUS, "Training.")
    page = window.page
    wait_for(lambda: RunFolder(run).checkpoints.pointer("last") is not None)
    page.get_by_role("button", name="Stop and save").click()
    says(window, STATUS, "It can go on.")
    saved = RunFolder(run).checkpoints.pointer("last")
    assert not is_done(RunFolder(run))
    assert f"At rest after step {saved:,} of" in page.locator(STATUS).inner_text()
    page.get_by_role("button", name="Go on", exact=True).click()
    wait_for(lambda: max(line["step"] for line in RunFolder(run).metrics()) > saved)
    says(window, STATUS, "Training.")
    page.get_by_role("button", name="Stop and save").click()
    says(window, STATUS, "It can go on.")
    assert RunFolder(run).checkpoints.pointer("last") > saved
    assert jobs.stage(run) is Stage.RESTING


def test_sliding_through_the_history_changes_text_attention_and_lens(open_studio, open_window):
    run = trained("shelf/run", steps=64, eval_every=32)
    window = open_window(open_studio(run.parent), "learn")
    page = window.page
    says(window, STATUS, "Done")
    page.get_by_label("Prompt").fill("7 cats")
    page.wait_for_function("document.querySelector('input[aria-valuetext=\"64\"]')")
    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    seen = {}
    for step, key in ((0, "Home"), (1, "ArrowRight"), (64, "End")):
        page.keyboard.press(key)
        says(window, "section:has(.found) .status", f"After {step:,} steps.")
        found = page.locator(".found")
        parts = (".sample", "[role=img]", ".lens")
        seen[step] = [found.locator(parts[0]).inner_text(), found.locator(parts[1]).get_attribute("aria-label")]
        seen[step].append(found.locator(parts[2]).inner_text())
    for a, b in zip(seen[0], seen[64]):
        assert a != b
    assert seen[64][0].startswith("7 cats")
    page.locator(".found select").nth(1).select_option("head 2")
    says(window, ".found .hint", "head 2")
    assert page.locator(".found [role=img]").get_attribute("aria-label") != seen[64][1]
    assert window.violations() == []
    assert window.errors == []


def test_runs_are_compared_and_a_phone_shows_it_all(open_studio, open_window):
    write_text()
    first, second = trained("shelf/first", steps=12), trained("shelf/second", steps=12, seed=7)
    window = open_window(open_studio(first.parent), "learn", width=360, dark=True)
    page = window.page
    for name in ("first", "second"):
        page.get_by_label(name, exact=True).check()
    card = page.locator("section:has(.checks)")
    page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 2")
    card.locator("summary").click()
    table = card.locator("table").inner_text()
    for run in (first, second):
        last = [line["loss"] for line in RunFolder(run).metrics() if line["event"] == "eval"][-1]
        assert f"{last:.3f}" in table
    page.get_by_label("second", exact=True).uncheck()
    page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 1")
    assert window.fits()
    assert window.violations() == []


def test_what_a_run_of_a_terminal_wrote_on_the_way(open_studio, open_window):
    trainer = start("shelf/run", steps=12, eval_every=4)  # as from a terminal: the studio has no log of it
    finish(trainer)
    run = trainer.folder
    run.append_metrics({"event": "sample", "step": 13, "text": "<b>bold</b>\n  cats"})
    run.append_metrics({"event": "sample", "step": 14, "text": ""})
    window = open_window(open_studio(run.path.parent), "learn")
    says(window, ".live", "After 14 steps: nothing.")
    run.append_metrics({"event": "sample", "step": 15, "text": "the newest"})
    says(window, ".live .sample", "the newest")
    earlier = window.page.locator(".live .earlier")
    assert not earlier.is_visible()
    window.page.get_by_text("Earlier samples").click()
    told = [f"After {step} steps:" for step in (13, 12, 8, 4)]
    assert earlier.locator("p").all_inner_texts() == ["After 14 steps: nothing.", *told, "Before the first step:"]
    assert earlier.locator("pre").first.inner_text() == "<b>bold</b>\n  cats"
    written = [line["text"] for line in run.metrics() if line["event"] == "sample"]
    assert earlier.locator("pre").nth(1).text_content() == written[3].strip("\n")
    assert window.violations() == []
    assert window.errors == []


def test_a_run_without_samples_says_so(open_studio, open_window):
    run = trained("shelf/run", steps=4, sample_tokens=0)  # as one was before samples were kept
    window = open_window(open_studio(run.parent), "learn")
    says(window, ".live", "No sample of it was kept.")
    assert not window.page.get_by_text("Earlier samples").is_visible()


def test_a_page_that_is_not_seen_reads_nothing(open_studio, open_window):
    trainer = start("shelf/run", steps=9)
    run = trainer.folder
    line = {"event": "step", "step": 1, "loss": 3.25, "seconds": 1.0, "tokens_per_second": 100.0}
    run.append_metrics(line)
    window = open_window(open_studio(run.path.parent), "learn")
    page = window.page
    says(window, NUMBERS, "3.250")
    turn = "how => { Object.defineProperty(document, 'visibilityState', {value: how, configurable: true});"
    turn += " document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(turn, "hidden")
    page.wait_for_timeout(1500)
    run.append_metrics(line | {"step": 2, "loss": 2.75})
    page.wait_for_timeout(3000)
    assert "3.250" in page.locator(NUMBERS).inner_text()
    page.evaluate(turn, "visible")
    says(window, NUMBERS, "2.750")


def test_files_of_other_kinds_and_texts_that_are_none(shelf, open_studio, open_window):
    window = open_window(open_studio(shelf), "learn")
    page = window.page
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "x.zip", "mimeType": "application/zip", "buffer": b"x" * 1000})
    says(window, ".start", "A file of this kind is not taken")
    chooser.set_input_files({"name": "latin.txt", "mimeType": "text/plain", "buffer": b"caf\xe9 " * 200})
    says(window, ".start", "Leave latin.txt out")
    page.get_by_role("button", name="Show the plan").click()
    says(window, ".start .status", "not UTF-8")
    assert not (shelf / "texts").exists()
    assert page.get_by_role("button", name="Start the training").is_disabled()
    chooser.set_input_files({"name": "../My Tale.md", "mimeType": "text/plain", "buffer": tale(3000).encode()})
    page.get_by_role("button", name="Show the plan").click()
    says(window, ".start .status", "This is the plan")
    (kept,) = (shelf / "texts").iterdir()
    assert re.fullmatch(r"my-tale-[0-9a-f]{8}\.md", kept.name)
    page.get_by_role("slider", name="Time").press("ArrowRight")
    wait_for(page.get_by_role("button", name="Start the training").is_disabled, 30)


def test_hostile_names_are_shown_as_text(open_studio, open_window):
    text = write_text("tale.txt", 1000)
    run = trained("shelf/<img src=x onerror=alert(1)>", steps=4, text=str(text))
    (run / "metrics.jsonl").open("a").write(json.dumps({"event": "<b>", "step": 5}) + "\n")
    window = open_window(open_studio(run.parent), "learn")
    says(window, STATUS, "Done")
    window.page.get_by_label(run.name, exact=True).check()
    window.page.wait_for_function("document.querySelectorAll('section:has(.checks) polyline').length === 1")
    assert window.page.locator("img").count() == 0
    assert window.errors == []
