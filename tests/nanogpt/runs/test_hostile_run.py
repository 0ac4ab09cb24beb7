"""A run folder from anywhere: whatever is in it, opening it ends with a run or a clear error, in bounded memory."""

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
from nanogpt.training.launch import resume_run
from tiny import add_up

from nanogpt.cli.runs import describe
from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load

MEMORY = 300_000_000
"""Bytes that opening may add to this process, whatever the files ask for."""

ABSURD = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**62, 2**70, -(2**63), 1e308, -0.5, True, "", "x", "../../x", "\0", [], {}]),
    st.sampled_from([float("nan"), float("inf"), [[[[]]]], ["a"] * 100, {"step": 1}, [{"step": -1, "steps": 0}]]),
    st.integers(),
    st.text(max_size=20),
)
FILES = ["config.toml", "plan.toml", "tokenizer.json", "metrics.jsonl", "checkpoints/last", "checkpoints/best"]
CHECKPOINT = ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"]
EXAMPLES = int(os.environ.get("NANOGPT_FUZZ", "20"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def hostile(finished_run):
    """A way to copy a run anew: as it was just before its end, so that it can be gone on with."""
    # The text is in the cache no longer; the run's own folder is what is looked at here.
    cached = cache_folder() / "tokens" / RunFolder(finished_run).read_plan().data_key
    shutil.copytree(finished_run.parent / "cache" / "tokens" / cached.name, cached)

    def fresh():
        shutil.rmtree("run", ignore_errors=True)
        run = Path(shutil.copytree(finished_run, "run"))
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(line for line in lines if '"done"' not in line))
        return run

    return fresh


def open_in_every_way(run: Path) -> None:
    """Each way ends well or with a UserError, never with another error, and without taking memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for way in (
        lambda: load(run),
        lambda: load(run, checkpoint="last"),
        lambda: load(run, checkpoint=2),
        lambda: describe(RunFolder.open(run)),
        lambda: list(RunFolder(run).metrics()),
        lambda: resume_run(run),
    ):
        with contextlib.suppress(UserError):
            way()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY


def last(run: Path) -> Path:
    return run / "checkpoints" / "step-30"


@FUZZ
@given(
    name=st.sampled_from([*FILES, *(f"checkpoints/step-30/{name}" for name in CHECKPOINT)]),
    place=st.floats(0, 1),
    new=st.binary(max_size=40),
    cut=st.booleans(),
    honest=st.booleans(),
)
def test_bytes_exchanged_or_cut_off(hostile, *, name, place, new, cut, honest):
    run = hostile()
    path = run / name
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] + new + (b"" if cut else content[at + len(new) :]))
    if honest:  # whoever made it knows how to add up
        add_up(last(run))
    open_in_every_way(run)


@FUZZ
@given(st.data())
def test_absurd_settings(hostile, data):
    run = hostile()
    name = data.draw(st.sampled_from(["config.toml", "plan.toml"]))
    tables = tomllib.loads((run / name).read_text())
    table = data.draw(st.sampled_from([tables, *(one for one in tables.values() if isinstance(one, dict))]))
    for key in data.draw(st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=3, unique=True)):
        table[key] = data.draw(ABSURD)
    (run / name).write_text(tomli_w.dumps(tables))
    open_in_every_way(run)


@FUZZ
@given(st.data())
def test_absurd_json(hostile, data):
    run = hostile()
    path = data.draw(st.sampled_from([run / "tokenizer.json", last(run) / "state.json", run / "metrics.jsonl"]))
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    which = data.draw(st.integers(0, len(lines) - 1))
    tables = json.loads(lines[which])
    tables[data.draw(st.sampled_from(sorted(tables)))] = data.draw(ABSURD)
    lines[which] = json.dumps(tables)
    path.write_text("\n".join(lines) + "\n")
    add_up(last(run))
    open_in_every_way(run)


@FUZZ
@given(st.data())
def test_absurd_headers_of_weights(hostile, data):
    """Names, shapes, formats and offsets that do not fit the bytes, under hashes that do."""
    run = hostile()
    path = last(run) / data.draw(st.sampled_from(["model.safetensors", "optimizer.safetensors"]))
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    entry = header[data.draw(st.sampled_from(sorted(header.keys() - {"__metadata__"})))]
    sizes = st.lists(st.sampled_from([0, 1, 16, 2**31, 2**62]), max_size=4)
    change = data.draw(st.sampled_from(["shape", "data_offsets", "dtype", "gone", "more"]))
    if change == "more":
        header |= {f"blocks.{number}.attention.qkv.weight": entry for number in range(100)}
    elif change == "gone":
        entry.clear()
    else:
        values = st.sampled_from(["F64", "I8", "BOOL", "X"]) if change == "dtype" else sizes
        entry[change] = data.draw(values)
    changed = json.dumps(header).encode()
    claimed = data.draw(st.sampled_from([len(changed), 0, 1, 2**40, 2**64 - 1]))
    path.write_bytes(struct.pack("<Q", claimed) + changed + content[8 + length :])
    add_up(last(run))
    (run / "checkpoints/best").write_text("step-30\n")
    open_in_every_way(run)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"])
def test_a_file_of_a_terabyte(hostile, name):
    """Of zeros that take no place: reading them all would take days, so that sizes are looked at first."""
    run = hostile()
    for folder in (run / "checkpoints").glob("step-*"):
        with (folder / name).open("r+b") as file:
            file.truncate(1 << 40)
    open_in_every_way(run)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/step-30", "history"])
def test_a_folder_that_is_a_link_to_elsewhere(hostile, name, finished_run):
    run = hostile()
    shutil.move(run / name, "elsewhere")
    (run / name).symlink_to(Path("elsewhere").absolute())
    for path in (run / "checkpoints").glob("step-*"):
        assert path.name == "step-30" or not path.is_symlink()
    open_in_every_way(run)
