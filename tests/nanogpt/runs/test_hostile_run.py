"""A stranger's run folder: opening it ends with a run or a clear error, in bounded memory."""

import contextlib
import json
import os
import resource
import shutil
import struct
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import add_up, resume_run

from nanogpt.cli.runs import describe
from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load

MEMORY = 300_000_000
"""Bytes that opening may add to this process, whatever the files ask for"""
LAST = Path("run/checkpoints/step-30")
CHECKPOINT = ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"]
FILES = ["config.toml", "plan.toml", "tokenizer.json", "metrics.jsonl", "checkpoints/last", "checkpoints/best"]
FILES += [f"checkpoints/step-30/{name}" for name in CHECKPOINT]
ABSURD = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**62, 2**70, -(2**63), 1e308, -0.5, True, "", "x", "../../x", "\0", [], {}]),
    st.sampled_from([float("nan"), float("inf"), [[[[]]]], ["a"] * 100, {"step": 1}, [{"step": -1, "steps": 0}]]),
    st.integers(),
    st.text(max_size=20),
)


def fuzz(test):
    """Run a test with examples, a fresh run for each."""
    examples = int(os.environ.get("NANOGPT_FUZZ", "20"))
    checks = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, suppress_health_check=checks)(given(st.data())(test))


@pytest.fixture
def hostile(finished_run):
    """Return a function that copies a run to `run` as it was before its end, so that it can be resumed."""
    # Its text is cached: the run folder is what is tested here.
    name = RunFolder(finished_run).read_plan().data_key
    shutil.copytree(finished_run.parent / "cache/tokens" / name, cache_folder() / "tokens" / name)

    def fresh():
        shutil.rmtree("run", ignore_errors=True)
        run = Path(shutil.copytree(finished_run, "run"))
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(line for line in lines if '"done"' not in line))
        return run

    return fresh


def restore(run):
    """Resume a run up to its first step."""
    trainer = resume_run(run)
    if trainer is not None:
        next(trainer.events())


def open_in_every_way(run="run"):
    """Check that each way ends well or with a UserError, and without taking memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for way in (
        lambda: load(run),
        lambda: load(run, checkpoint="last"),
        lambda: load(run, checkpoint=2),
        lambda: describe(RunFolder.open(run)),
        lambda: list(RunFolder(run).metrics()),
        lambda: restore(run),
    ):
        with contextlib.suppress(UserError):
            way()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY


@fuzz
def test_bytes_replaced_or_cut_off(hostile, data):
    path = hostile() / data.draw(st.sampled_from(FILES))
    content, new = path.read_bytes(), data.draw(st.binary(max_size=40))
    at = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:at] + new + (b"" if data.draw(st.booleans()) else content[at + len(new) :]))
    if data.draw(st.booleans()):  # a stranger can compute hashes
        add_up(LAST)
    open_in_every_way()


@fuzz
def test_absurd_values(hostile, data):
    names = ["config.toml", "plan.toml", "tokenizer.json", "checkpoints/step-30/state.json", "metrics.jsonl"]
    path = hostile() / data.draw(st.sampled_from(names))
    text, toml = path.read_text(), path.suffix == ".toml"
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    which = data.draw(st.integers(0, len(lines) - 1))
    tables = (tomllib if toml else json).loads(lines[which])
    table = data.draw(st.sampled_from([tables, *(one for one in tables.values() if isinstance(one, dict) and one)]))
    for key in data.draw(st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=3, unique=True)):
        table[key] = data.draw(ABSURD)
    lines[which] = (tomli_w if toml else json).dumps(tables)
    path.write_text("\n".join(lines) + "\n")
    add_up(LAST)
    open_in_every_way()


@fuzz
def test_absurd_headers_of_weights(hostile, data):
    """Names, shapes, formats and offsets that do not match the bytes, with hashes that do."""
    run = hostile()
    path = LAST / data.draw(st.sampled_from(["model.safetensors", "optimizer.safetensors"]))
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    entry = header[data.draw(st.sampled_from(sorted(header.keys() - {"__metadata__"})))]
    change = data.draw(st.sampled_from(["shape", "data_offsets", "dtype", "gone", "more"]))
    if change == "more":
        header |= {f"blocks.{number}.attention.qkv.weight": entry for number in range(100)}
    elif change == "gone":
        entry.clear()
    elif change == "dtype":
        entry[change] = data.draw(st.sampled_from(["F64", "I8", "BOOL", "X"]))
    else:
        entry[change] = data.draw(st.lists(st.sampled_from([0, 1, 16, 2**31, 2**62]), max_size=4))
    changed = json.dumps(header).encode()
    claimed = data.draw(st.sampled_from([len(changed), 0, 1, 2**40, 2**64 - 1]))
    path.write_bytes(struct.pack("<Q", claimed) + changed + content[8 + length :])
    add_up(LAST)
    (run / "checkpoints/best").write_text("step-30\n")
    open_in_every_way()


@pytest.mark.parametrize("name", CHECKPOINT)
def test_a_file_of_a_terabyte(hostile, name):
    """Of zeros that take no disk space: sizes are compared first, as reading them all would take days."""
    for folder in (hostile() / "checkpoints").glob("step-*"):
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 40)
    open_in_every_way()


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/step-30", "history"])
def test_a_folder_that_is_a_link_to_elsewhere(hostile, name):
    run = hostile()
    shutil.move(run / name, "elsewhere")
    (run / name).symlink_to(Path("elsewhere").absolute())
    open_in_every_way()
