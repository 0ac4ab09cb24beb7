"""The mechanism of the tables; tests/test_readme.py compares the pages with what it writes from the records."""

import json
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.ablation import VARIANTS
from benchmarks.record import RECORDS, ROOT
from benchmarks.tables import IDEAS, TABLES, fill, macros, number, pages, render, shorten, spread


def filled(name: str, page: Path = ROOT / "docs" / "page.md") -> str:
    return fill(f"Before.\n<!-- {name} -->\nold\n<!-- end {name} -->\nAfter.\n", page)


def test_every_table_is_on_exactly_one_page():
    text = "".join(page.read_text(encoding="utf-8") for page in pages())
    shared = {"forecast", "idea", "measured", "sample"}  # printed only, or used by several tables
    for name in TABLES.keys() | {name for name in vars(macros()) if not name.startswith("_")} - shared:
        assert text.count(f"<!-- {name} -->\n") == text.count(f"<!-- end {name} -->\n") == 1, name


def test_numbers_and_spreads_by_hand():
    values = {"median": 1.25, "low": 1.0, "high": 2.0}
    assert spread(values | {"n": 3}, 1) == "1.2 (1.0–2.0)"
    assert spread(values | {"n": 1}, 2) == "1.25"
    assert spread(values | {"pairs": 1}, 0) == "1"
    assert (number(None, ".1f"), number(0.26, ".1%")) == ("–", "26.0%")


def test_the_text_around_a_table_stays_and_links_are_relative_to_the_page():
    text = filled("ladder")
    assert text.startswith("Before.\n<!-- ladder -->\n| | section")
    assert text.endswith("\n<!-- end ladder -->\nAfter.\n")
    assert "](../course/s01_bigram.py)" in text
    assert "](course/s01_bigram.py)" in filled("ladder", ROOT / "README.md")
    assert "](../pictures/scaling.svg)" in filled("scaling", ROOT / "docs" / "beyond" / "page.md")
    assert fill(text, ROOT / "docs" / "page.md") == text


@pytest.mark.parametrize(
    "text", ["<!-- ladder -->\n", "<!-- end ladder -->\n", 2 * "<!-- ladder -->\n<!-- end ladder -->\n"]
)
def test_a_marker_without_its_other_half_is_an_error(text):
    with pytest.raises(ValueError, match="once each"):
        fill(text, ROOT / "README.md")


@pytest.mark.parametrize(
    ("name", "command"),
    [("scaling", "scaling"), ("profile_step_float32", "profile_step --size lecture --precision float32")],
)
def test_a_table_without_record_names_its_command(name, command, tmp_path, monkeypatch):
    monkeypatch.setattr(tables.records, "RECORDS", tmp_path)
    assert f"\nNot measured yet: `python -m benchmarks.{command}`.\n" in filled(name)


def test_what_was_just_measured_is_printed_as_its_table():
    record = json.loads((RECORDS / "loss_in_minutes.json").read_text(encoding="utf-8"))
    assert render("loss_in_minutes", record).startswith("| `--minutes` | loss, last checkpoint |")
    assert json.loads(render("no_table", {"a": 1})) == {"a": 1}
    for run in record["rows"][0]["runs"]:
        run["commit"] = "old"
    assert ": 1 at old" in render("loss_in_minutes", record)


def test_ideas_are_variants_of_the_ablation_and_those_not_measured_say_so(tmp_path, monkeypatch):
    assert {variant for variant, _ in IDEAS.values()} <= VARIANTS.keys()
    record = json.loads((RECORDS / "ablation.json").read_text(encoding="utf-8"))
    rows = record["texts"]["shakespeare"]
    record["texts"]["shakespeare"] = [row for row in rows if row["name"] != "AdamW for everything"]
    (tmp_path / "ablation.json").write_text(json.dumps(record), encoding="utf-8")
    monkeypatch.setattr(tables.records, "RECORDS", tmp_path)
    assert 'python -m benchmarks.ablation --variants "AdamW for everything"' in filled("beyond_muon")


def test_a_diverged_variant_and_an_answer_that_goes_on_are_marked():
    row = {"name": "hot", "effect": None, "seeds": None, "text": None, "step_cost": 1.0}
    record = {"texts": {"tale": [row]}, "base": {"steps": 5}, "seeds": [1]}
    assert "| tale | hot | diverged | – | – | 1.00 |" in render("ablation", record)
    assert shorten({"answer": "A lord\nor|two", "ended": True}) == "A lord ⏎ or/two"
    assert shorten({"answer": "a" * 70, "ended": True}) == "a" * 60 + " …"
