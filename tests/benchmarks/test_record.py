"""What was measured is kept, and measured again only after a change of the library."""

import json

import pytest

from benchmarks import record
from benchmarks.record import LineFile, Parts


@pytest.fixture
def code(monkeypatch, tmp_path):
    """Sets the version of the library that parts are measured with."""
    monkeypatch.setattr(record, "RECORDS", tmp_path)
    monkeypatch.setattr(record, "_code", lambda: "one")
    monkeypatch.setattr(record, "circumstances", lambda: {"commit": "abc"})
    return lambda version: monkeypatch.setattr(record, "_code", lambda: version)


def test_a_part_is_measured_once(code):
    results = iter([3, 5, 7])
    for expected in (3, 3):
        parts = Parts("some")
        row = parts.measure({"pair": 0, "steps": (1, 2)}, lambda: {"seconds": next(results)})
        assert (row["seconds"], row["commit"], row["code"]) == (expected, "abc", "one")
    assert parts.measure({"pair": 1, "steps": (1, 2)}, lambda: {"seconds": next(results)})["seconds"] == 5


def test_with_another_version_of_the_library_it_is_measured_anew_unless_kept(code):
    results = iter([3, 5, 7])

    def measure(**more):
        return Parts("some", **more).measure({"pair": 0}, lambda: {"seconds": next(results)})["seconds"]

    assert measure() == 3
    code("two")
    assert measure(keep=True) == 3
    assert measure() == 5
    assert measure() == 5
    code("one")
    assert measure() == 3


def test_a_part_that_fails_is_not_kept(code):
    parts = Parts("some")
    with pytest.raises(ZeroDivisionError):
        parts.measure({"pair": 0}, lambda: {"seconds": 1 / 0})
    assert parts.measure({"pair": 0}, lambda: {"seconds": 2})["seconds"] == 2


def test_a_trial_leaves_nothing_behind(code, tmp_path, capsys):
    Parts("some").measure({"pair": 0}, lambda: {"seconds": 2})
    before = sorted(tmp_path.rglob("*"))
    trial = Parts("some", trial=True)
    assert trial.measure({"pair": 0}, lambda: {"seconds": 3})["seconds"] == 3
    trial.write({"rows": []})
    assert sorted(tmp_path.rglob("*")) == before
    Parts("some").write({"rows": [1]})
    assert json.loads((tmp_path / "some.json").read_text()) == {"commit": "abc", "rows": [1]}
    assert "nothing is recorded" in capsys.readouterr().out


def test_a_line_that_was_cut_off_is_left_out_and_spoils_no_other(tmp_path):
    file = LineFile(tmp_path / "below" / "lines.jsonl")
    assert file.rows() == []
    file.append({"text": "one"})
    file.path.write_text(file.path.read_text() + '{"text": "tw')
    file.append({"text": "three"})
    assert [row["text"] for row in file.rows()] == ["one", "three"]
