"""`nanogpt eval`."""

from pathlib import Path

import pytest

import nanogpt as library


def test_the_runs_own_text(nanogpt, finished_run):
    result = library.load(finished_run).evaluate()
    found = nanogpt("eval", finished_run)
    assert found.code == 0
    assert found.out.splitlines() == [
        f"{finished_run}, step {library.load(finished_run).step:,}, on the validation part of cats",
        f"loss           {result.loss:.4f} nats/token",
        f"bits per byte  {result.bits_per_byte:.4f}",
        "protocol       whole split, 199 tokens in consecutive windows of 16",
    ]
    assert nanogpt("eval", finished_run).out == found.out


def test_another_text(nanogpt, finished_run):
    Path("other.txt").write_text("the dog sat there")
    result = library.load(finished_run, checkpoint="last").evaluate("other.txt")
    found = nanogpt("eval", finished_run, "--text", "other.txt", "--checkpoint", "last")
    assert f"loss           {result.loss:.4f} nats/token" in found.out
    assert "step 30, on other.txt" in found.out


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (None, ["no file or folder 'other.txt'"]),
        (b"", ["other.txt is empty"]),
        (b"Z", ["never saw 'Z'", "--unknown skip"]),
        (b"t", ["nothing to predict", "longer text"]),
        (b"\0", ["binary"]),
    ],
)
def test_a_bad_text(refuses, finished_run, content, saying):
    if content is not None:
        Path("other.txt").write_bytes(content)
    refuses("eval", finished_run, "--text", "other.txt", saying=saying)


def test_unknown_characters_can_be_skipped(nanogpt, finished_run):
    Path("other.txt").write_text("the Zoo")
    assert "5 tokens" in nanogpt("eval", finished_run, "--text", "other.txt", "--unknown", "skip").out


def test_no_run(refuses):
    refuses("eval", saying=["no run below 'runs'"])
    refuses("eval", "nowhere", saying=["no run folder 'nowhere'"])
