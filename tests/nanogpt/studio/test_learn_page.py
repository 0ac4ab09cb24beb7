"""The view "Watch it learn" in Chromium: trainings, curves, samples, checkpoints, and the address of all of it."""

import json
import os
import re
import shutil

import pytest
from studio_process import wait_for
from tiny import finish, start, trained, write_text

from nanogpt.runs.folder import RunFolder
from nanogpt.studio.training_jobs import Jobs, Stage

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="a training is stopped by a signal")]

STATUS = ".live .status"
NUMBERS = ".live .numbers-row"
BROWSER = "section:has(.found)"
COMPARED = "section:has(.checks)"
TEMPERATURE = f"{BROWSER} input[type=range] >> nth=0"
LAYER, HEAD = ".found select >> nth=0", ".found select >> nth=1"


@pytest.fixture
def open_view(start_studio, visit):
    """Opens windows on the view of one server."""
    servers = []

    def open_(folder, fragment="", **settings):
        if not servers:
            servers.append(start_studio(folder))
        return visit(f"view=learn{fragment}", at=servers[0], **settings)

    return open_


@pytest.fixture
def runs(tmp_path):
    """An empty folder for runs."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def two_runs(runs):
    """A run of eight steps, and an older one."""
    write_text()
    older = trained("runs/older", steps=4, seed=7)
    trained("runs/run", steps=8)
    os.utime(older / "metrics.jsonl", (0, 0))
    return runs


def last_loss(run):
    return [line["loss"] for line in RunFolder(run).metrics() if line["event"] == "eval"][-1]


def plan_and_start(window, minutes_index):
    """Train on a pasted text; return the plan that was shown."""
    page = window.page
    page.get_by_label("Your text").fill(write_text("tale.txt", 20_000).read_text())
    page.get_by_role("slider", name="Time").focus()
    page.keyboard.press("Home")
    for _ in range(minutes_index):
        page.keyboard.press("ArrowRight")
    window.button("Show the plan").click()
    window.says(".start .status", "This is the plan")
    plan = page.locator(".start .facts").inner_text()
    window.button("Start the training").click()
    window.says(".start .status", "Started as")
    return plan


def test_a_pasted_text_is_planned_and_trained_to_the_end(runs, open_view):
    window = open_view(runs)
    assert window.button("Start the training").is_disabled()
    plan = plan_and_start(window, 0)
    assert "6 seconds" in plan
    assert re.search(r"[\d,]+ parameters: \d+ layers", plan)
    assert re.search(r"nine in ten fall between [\d.]+ and [\d.]+", plan)
    window.says(STATUS, "Done: validation loss")
    run = RunFolder(runs / "pasted-1")
    assert run.is_done()
    evaluated = [line["loss"] for line in run.metrics() if line["event"] == "eval"]
    numbers = window.page.locator(NUMBERS).inner_text()
    assert f"{evaluated[-1]:.3f}" in numbers
    assert re.search(r"[\d,]+ tokens/s", numbers)
    window.count(".live .curves polyline", 2)
    described = window.page.locator(".live .curves").get_attribute("aria-label")
    assert f"validation: from {evaluated[0]:.3f} to {evaluated[-1]:.3f}" in described
    samples = [line for line in run.metrics() if line["event"] == "sample"]
    assert window.page.locator(".live .sample").first.inner_text().strip() == samples[-1]["text"].strip()
    assert window.violations() == []


def test_a_run_outlives_server_and_page_and_is_stopped_and_resumed(runs, start_studio, visit):
    studio = start_studio(runs)
    first = visit("view=learn", at=studio)
    plan_and_start(first, 3)
    first.says(STATUS, "Training.")
    first.close()
    studio.process.kill()
    studio.process.wait()
    run, jobs = runs / "pasted-1", Jobs(runs)
    assert jobs.stage(run) is Stage.TRAINING

    window = visit("view=learn", at=start_studio(runs))
    window.says(STATUS, "Training.")
    wait_for(lambda: RunFolder(run).checkpoints.pointer("last") is not None)
    window.button("Stop and save").click()
    window.says(STATUS, "Paused at step")
    saved = RunFolder(run).checkpoints.pointer("last")
    assert not RunFolder(run).is_done()
    window.says(STATUS, f"Paused at step {saved:,} of")
    window.button("Resume").click()
    wait_for(lambda: max(line["step"] for line in RunFolder(run).metrics()) > saved)
    window.says(STATUS, "Training.")
    window.button("Stop and save").click()
    window.says(STATUS, "Paused at step")
    assert RunFolder(run).checkpoints.pointer("last") > saved
    assert jobs.stage(run) is Stage.IDLE


def test_sliding_through_the_history_changes_text_attention_and_lens(open_view):
    window = open_view(trained("runs/run", steps=64, eval_every=32).parent)
    page = window.page
    window.says(STATUS, "Done")
    page.get_by_label("Prompt").fill("7 cats")
    window.count('input[aria-valuetext="64"]', 1)
    page.get_by_role("slider", name="Step").focus()
    found, seen = page.locator(".found"), {}
    for step, key in ((0, "Home"), (1, "ArrowRight"), (64, "End")):
        page.keyboard.press(key)
        window.says(f"{BROWSER} .status", f"After {step:,} steps.")
        attention = found.locator("[role=img]").get_attribute("aria-label")
        seen[step] = [found.locator(".sample").inner_text(), attention, found.locator(".lens").inner_text()]
    assert all(a != b for a, b in zip(seen[0], seen[64]))
    assert seen[64][0].startswith("7 cats")
    page.locator(HEAD).select_option("head 2")
    window.says(".found .hint", "head 2")
    assert found.locator("[role=img]").get_attribute("aria-label") != seen[64][1]
    assert window.violations() == []


def test_runs_are_compared_and_fit_on_a_phone(two_runs, open_view):
    window = open_view(two_runs, width=360, dark=True)
    page = window.page
    for name in ("older", "run"):
        page.get_by_label(name, exact=True).check()
    window.count(f"{COMPARED} polyline", 2)
    page.locator(COMPARED).locator("summary").click()
    table = page.locator(COMPARED).locator("table").inner_text()
    assert all(f"{last_loss(two_runs / name):.3f}" in table for name in ("older", "run"))
    page.get_by_label("run", exact=True).uncheck()
    window.count(f"{COMPARED} polyline", 1)
    assert window.overhang() <= 0
    assert window.violations() == []


def test_samples_of_a_run_from_a_terminal(open_view):
    trainer = start("runs/run", steps=12, eval_every=4)
    finish(trainer)
    run = trainer.folder
    run.append_metrics({"event": "sample", "step": 13, "text": "<b>bold</b>\n  cats"})
    run.append_metrics({"event": "sample", "step": 14, "text": ""})
    window = open_view(run.path.parent)
    window.says(".live", "After 14 steps: nothing.")
    run.append_metrics({"event": "sample", "step": 15, "text": "the newest"})
    window.says(".live .sample", "the newest")
    earlier = window.page.locator(".live .earlier")
    assert not earlier.is_visible()
    window.page.get_by_text("Earlier samples").click()
    titles = [f"After {step} steps:" for step in (13, 12, 8, 4)]
    assert earlier.locator("p").all_inner_texts() == ["After 14 steps: nothing.", *titles, "Before the first step:"]
    assert earlier.locator("pre").first.inner_text() == "<b>bold</b>\n  cats"
    written = [line["text"] for line in run.metrics() if line["event"] == "sample"]
    assert earlier.locator("pre").nth(1).text_content() == written[3].strip("\n")
    assert window.violations() == []


def test_a_run_without_samples_says_so(open_view):
    window = open_view(trained("runs/run", steps=4, sample_tokens=0).parent)
    window.says(".live", "This run kept no samples.")
    assert not window.page.get_by_text("Earlier samples").is_visible()


def test_a_page_in_the_background_reads_nothing(open_view):
    run = start("runs/run", steps=9).folder
    line = {"event": "step", "step": 1, "loss": 3.25, "seconds": 1.0, "tokens_per_second": 100.0}
    run.append_metrics(line)
    window = open_view(run.path.parent)
    window.says(NUMBERS, "3.250")
    turn = "how => { Object.defineProperty(document, 'visibilityState', {value: how, configurable: true});"
    turn += " document.dispatchEvent(new Event('visibilitychange')) }"
    window.page.evaluate(turn, "hidden")
    window.page.wait_for_timeout(1500)
    run.append_metrics(line | {"step": 2, "loss": 2.75})
    window.page.wait_for_timeout(3000)
    assert "3.250" in window.page.locator(NUMBERS).inner_text()
    window.page.evaluate(turn, "visible")
    window.says(NUMBERS, "2.750")


def test_unsuitable_files_are_refused(runs, open_view):
    window = open_view(runs)
    page = window.page

    def choose(name, data, kind="text/plain"):
        page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": data})

    choose("x.zip", b"x" * 1000, "application/zip")
    window.says(".start", "not accepted")
    choose("latin.txt", b"caf\xe9 " * 200)
    window.says(".start", "Leave latin.txt out")
    # Its 400 response is logged by the browser.
    window.button("Show the plan").click()
    window.says(".start .status", "not UTF-8")
    window.errors.clear()
    assert not (runs / "texts").exists()
    assert window.button("Start the training").is_disabled()
    choose("../My Tale.md", write_text("tale.txt", 3000).read_bytes())
    window.button("Show the plan").click()
    window.says(".start .status", "This is the plan")
    (stored,) = (runs / "texts").iterdir()
    assert re.fullmatch(r"my-tale-[0-9a-f]{8}\.md", stored.name)
    page.get_by_role("slider", name="Time").press("ArrowRight")
    wait_for(window.button("Start the training").is_disabled, 30)


def test_hostile_names_are_shown_as_text(open_view):
    text = write_text("tale.txt", 1000)
    run = trained("runs/<img src=x onerror=alert(1)>", steps=4, text=str(text))
    (run / "metrics.jsonl").open("a").write(json.dumps({"event": "<b>", "step": 5}) + "\n")
    window = open_view(run.parent)
    window.says(STATUS, "Done")
    window.page.get_by_label(run.name, exact=True).check()
    window.count(f"{COMPARED} polyline", 1)
    window.count("img", 0)


def shown(window):
    """Everything that the time machine shows."""
    page = window.page
    fields = [page.get_by_label(name).input_value() for name in ("Prompt", "Seed", "Length, tokens")]
    chosen = [page.locator(one).evaluate("e => e.selectedOptions[0].text") for one in (LAYER, HEAD)]
    found = page.locator(".found")
    return (
        *fields,
        *chosen,
        page.locator(TEMPERATURE).input_value(),
        page.get_by_role("slider", name="Step").get_attribute("aria-valuetext"),
        page.locator(".live select").input_value(),
        found.locator("[role=img]").get_attribute("aria-label"),
        *(found.locator(one).inner_text() for one in (".sample", ".lens", ".hint")),
    )


def test_a_snapshot_is_the_same_elsewhere(two_runs, open_view):
    window = open_view(two_runs, "&run=older")
    page = window.page
    window.says(STATUS, "Done")
    window.count('input[aria-valuetext="4"]', 1)
    page.locator(TEMPERATURE).fill("1.5")
    for label, value in (("Prompt", "7 cats & <b>"), ("Seed", "11"), ("Length, tokens", "33")):
        page.get_by_label(label).fill(value)
    page.get_by_role("slider", name="Step").press("ArrowLeft")
    window.says(f"{BROWSER} .status", "After 2 steps.")
    page.locator(LAYER).select_option("layer 1")
    window.says(".found .hint", "layer 1, the mean")
    page.locator(HEAD).select_option("head 2")
    window.says(".found .hint", "layer 1, head 2")
    fragment = window.wait_for_fragment("head=1")
    for part in ("run=older", "step=2", "temperature=1.5", "tokens=33", "seed=11", "layer=0"):
        assert f"&{part}" in fragment
    assert re.search(r"&model=[0-9a-f]{12}&", fragment)

    other = open_view(two_runs, fragment.removeprefix("view=learn"))
    other.says(f"{BROWSER} .status", "After 2 steps.")
    other.says(".found .hint", "layer 1, head 2")
    assert shown(other) == shown(window)
    assert other.wait_for_fragment("head=1") == fragment
    assert other.page.locator(f"{BROWSER} .status").inner_text() == "After 2 steps."


def test_compared_runs_are_the_same_elsewhere(two_runs, open_view):
    window = open_view(two_runs)
    for name in ("older", "run"):
        window.page.get_by_label(name, exact=True).check()
    window.page.get_by_label("Over").select_option("seconds in training steps")
    window.count(f"{COMPARED} polyline", 2)
    fragment = window.wait_for_fragment("axis=seconds")
    assert "compared=older&compared=run" in fragment

    other = open_view(two_runs, fragment.removeprefix("view=learn"))
    other.count(f"{COMPARED} polyline", 2)
    for name in ("older", "run"):
        assert other.page.get_by_label(name, exact=True).is_checked()
    assert other.page.get_by_label("Over").input_value() == "seconds"
    for part in (".keys", ".x-name", ".tag >> nth=0"):
        one, same = (each.page.locator(f"{COMPARED} {part}").inner_text() for each in (window, other))
        assert one == same
    other.page.get_by_label("older", exact=True).uncheck()
    other.wait("() => !location.hash.includes('compared=older')")
    assert "compared=run" in other.fragment()


def test_nothing_is_computed_before_a_person_asks(two_runs, start_studio, visit):
    """Not by an address without a step, nor on the way from a view that has one."""
    window = visit("view=write&run=older&step=2", at=start_studio(two_runs))
    page = window.page
    window.wait_for_fragment("model=")
    page.get_by_role("link", name="Watch it learn").click()
    window.says(STATUS, "Done")
    window.count('input[aria-valuetext="4"]', 1)
    page.wait_for_timeout(1500)
    assert window.fragment() == "view=learn&run=older"
    assert page.locator(".found").is_hidden()
    assert page.locator(f"{BROWSER} .status").inner_text() == ""

    window.button("Look").click()
    fragment = window.wait_for_fragment("step=4")
    page.get_by_role("link", name="Look inside").click()
    inside = window.wait_for_fragment("text=")
    for part in ("run=older", "step=4", re.search(r"model=\w+", fragment)[0]):
        assert part in inside
    page.get_by_role("link", name="Follow the course").click()
    page.locator(".section-card").first.wait_for()
    assert window.fragment() == "view=course"
    page.get_by_role("link", name="Watch it learn").click()
    window.says(f"{BROWSER} .status", "After 4 steps.")  # as it was left
    assert window.wait_for_fragment("step=4") == fragment


def test_an_address_of_missing_runs_steps_or_weights(two_runs, open_view):
    window = open_view(two_runs, "&run=gone&step=2&model=000000000000&compared=gone&compared=run")
    window.says(".learn > .warning", "'gone', which is not here; this is run")
    window.says(".learn > .warning", "not here: 'gone'")
    window.count(f"{COMPARED} polyline", 1)
    assert window.page.locator(".live select").input_value() == "run"
    assert window.page.locator(".found").is_hidden()
    assert window.violations() == []
    window = open_view(two_runs, "&run=run&step=3")
    window.says(f"{BROWSER} .status", "step 3, which is not kept here")
    assert window.page.locator(".found").is_hidden()
    window = open_view(two_runs, "&run=run&step=8&model=000000000000")
    window.says(f"{BROWSER} .status", "After 8 steps. The address means other weights (000000000000)")
    fragment = window.wait_for_fragment("prompt=")

    shutil.move(two_runs / "run", two_runs / "renamed")
    window = open_view(two_runs, fragment.removeprefix("view=learn"))
    window.says(f"{BROWSER} .status", "After 8 steps.")
    assert window.page.locator(".live select").input_value() == "renamed"
    assert window.page.locator(".learn > .warning").is_hidden()
