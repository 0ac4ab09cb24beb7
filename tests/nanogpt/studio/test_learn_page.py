import json
import os
import re

import pytest
from studio_process import wait_for
from tiny import trained, write_text

from nanogpt.errors import counted
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
    servers = []

    def open_(folder, fragment="", **settings):
        if not servers:
            servers.append(start_studio(folder))
        return visit(f"view=learn{fragment}", at=servers[0], **settings)

    return open_


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def two_runs(runs):
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
    assert run.done()
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
    assert not RunFolder(run).done()
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
        window.says(f"{BROWSER} .status", f"After {counted(step, 'step')}.")
        attention = found.locator("figcaption").inner_text()
        seen[step] = [found.locator(".sample").inner_text(), attention, found.locator(".lens").inner_text()]
    assert all(a != b for a, b in zip(seen[0], seen[64]))
    assert seen[64][0].startswith("7 cats")
    page.locator(HEAD).select_option("head 2")
    window.says(".found .hint", "head 2")
    assert found.locator("figcaption").inner_text() != seen[64][1]
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
        found.locator("figcaption").inner_text(),
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
    window.says(".found .hint", "layer 1, all heads")
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
