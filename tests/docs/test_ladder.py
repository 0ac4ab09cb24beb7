"""Recorded losses, and what a build measured beside them."""

from types import SimpleNamespace

import pytest
from tiny_section import RECORD

from course.__main__ import SECTIONS
from docs.building import ladder


@pytest.fixture(autouse=True)
def _recorded(monkeypatch):
    monkeypatch.setattr(ladder, "read_record", lambda: RECORD)


def trained(label, loss, steps=3000, others=()):
    return SimpleNamespace(label=label, steps=steps, after=SimpleNamespace(val=loss), others=others)


def test_the_table_ends_with_the_section_and_tells_each_gain():
    table = ladder.ladder_table(RECORD, "s02_averaging").splitlines()[2:]
    assert table == [
        "| 1 | [a table](s01_bigram.ipynb) | 1,234 | 2.500 ± 0.100 |  | 2.49 |",
        "| | *for comparison: another mean* | 1,234 | 2.800 | | |",
        "| **2** | **[a mean](s02_averaging.ipynb)** | 1,234 | **2.750 ± 0.000** | +0.250 | – |",
    ]
    assert "| 2.250 | −0.500 |" in ladder.ladder_table(RECORD, "s03_positions").replace("**", "")


def test_what_was_measured_stands_beside_the_record(capsys):
    other = trained("another mean", 2.81)
    ladder.compare("s02_averaging", trained("mean", 2.76, others=(other,)), quick=False)
    assert capsys.readouterr().out.splitlines() == [
        "this build, another mean (3,000 steps): 2.810, recorded 2.800",
        "this build, mean (3,000 steps): 2.760, recorded 2.750 ± 0.000",
    ]


def test_a_loss_that_is_not_the_recorded_one_fails_the_build_unless_it_is_quick(capsys):
    with pytest.raises(AssertionError, match=r"s03_positions, place: 2\.350 is not 2\.250"):
        ladder.compare("s03_positions", trained("place", 2.35), quick=False)
    ladder.compare("s03_positions", trained("place", 3.9, steps=20), quick=True)
    assert "(20 steps, not 3,000): 3.900" in capsys.readouterr().out


def test_a_training_without_a_record_fails(monkeypatch):
    with pytest.raises(AssertionError, match="1 trainings, but 2"):
        ladder.compare("s02_averaging", trained("mean", 2.76), quick=True)


def test_the_real_record_has_every_section():
    record = ladder.RECORD.read_text(encoding="utf-8")
    assert all(f'"{section}"' in record for section in SECTIONS)
