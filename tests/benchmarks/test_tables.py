"""Tables and pictures come from records, and from nothing else."""

import json
from xml.etree import ElementTree

import pytest
from made_records import RECORDS

from benchmarks import pictures, tables
from benchmarks.beyond_tables import IDEAS, TITLES
from benchmarks.pictures import DRAWN, draw
from benchmarks.tables import fill
from benchmarks.variants import VARIANTS


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A folder with a made-up record of everything."""
    for name, make in RECORDS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(make()))
    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    monkeypatch.setattr(pictures, "RECORDS", tmp_path)
    return tmp_path


def table(name: str) -> list[list[str]]:
    """The cells of a table's rows, below its heading."""
    text = fill(f"<!-- {name} -->\n<!-- end {name} -->", [name])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1, "every row has as many cells as the heading"
    assert "Measured by `python -m benchmarks.made` on 2 cores (Abacus)" in text
    return rows[2:]


def test_goals(records):
    near, same, far = table("time_to_loss")
    assert same[2] == "1.530 (1.520–1.540)"
    assert near[1:4] == ["9.0 (8.0–10.0)", "1.890 (1.890–1.890)", "3 of 3"]
    assert near[6].startswith("0.141 (0.125–0.156")
    assert far[4:7] == ["40,000, extrapolated", "1.4697 (published)", "0.010"]


def test_the_headline_has_medians_alone(records):
    rows = table("headline")
    assert [row[1:] for row in rows] == [
        ["9.0 s", "64.0 s"],
        ["1.530", "1.898"],
        ["6.7 min", "11.1 h, extrapolated"],
    ]


def test_minutes(records):
    first, *_ = table("loss_in_minutes")
    assert first[:4] == ["1", "1.710 (1.700–1.720)", "1.670–1.730", "1.700 (1.690–1.710)"]
    assert first[5:] == ["97 % (97–97)", "2"]


def test_minutes_in_short_say_what_was_measured_before(records):
    assert table("minutes")[0] == ["1", "1.710 (1.700–1.720)", "821,000", "2"]
    for name in ("minutes", "loss_in_minutes", "beyond_planner"):
        text = fill(f"<!-- {name} -->\n<!-- end {name} -->", [name])
        assert "Minutes that were measured at an earlier commit: 10 at old." in text


def test_throughput(records):
    first, *rest = table("throughput")
    assert first == ["cpu", "4, 128", "64 × 12, 0", "auto", "3,840", "768", "5.000", "0.838"]
    assert len(rest) == 4


def test_generation(records):
    one, many = table("generate")
    # 1,000 tokens in 2, 4 and 6 s, of each stream; the floor is three quarters of it.
    assert one == ["float32", "1", "250 (167–500)", "17 (11–33)", "15.0 (15.0–15.0)", "0.750 (0.750–0.750)"]
    assert many[1:3] == ["64", "16,000 (10,667–32,000)"]
    assert many[4:] == ["960.0 (960.0–960.0)", "–"]


def test_profile_and_memory(records):
    assert table("profile_step") == [["matrix products", "900.0", "75.0%"], ["norms", "300.0", "25.0%"]]
    text = fill("<!-- profile_step -->\n<!-- end profile_step -->", ["profile_step"])
    assert "take 900 ms at 850 GFLOP/s: **75%** of it" in text
    assert table("memory") == [["n_layer 3, n_embd 160", "931,000", "300", "1.10"]]


def test_startup_scaling_and_ablation(records):
    assert table("startup") == [["help", "0.11 (0.10–0.12)", "0.3"], ["import torch", "1.20", "–"]]
    assert len(table("scaling")) == 17
    effects = {row[1]: row[2] for row in table("ablation")}
    # Both change one setting of the base's; only the one that may cost time is timed.
    assert effects.pop("learned positions for RoPE") == "+0.0100"
    assert effects == {"tied embeddings": "+0.0100", "no warm-up": "+0.0100", "the recipe": "+0.0000"}


def test_what_an_idea_is_worth(records):
    (row,) = table("beyond_rope")
    assert row[0] == "tale"
    # Two seeds whose losses are 2.0215 in the mean; the same difference in both.
    assert row[1:4] == ["2.0215", "2.0315", "+0.0100"]
    assert row[4] == "+0.0100 to +0.0100"
    assert row[6] == "1.10 of the recipe's"
    page = fill("<!-- beyond_rope -->\n<!-- end beyond_rope -->", ["beyond_rope"])
    assert "100 steps of the recipe, seeds 1, 2. tale: the part pays." in page
    (overview,) = table("beyond")
    assert overview[:4] == ["[RoPE](rope.md)", "learned positions for RoPE", "tale", "+0.0100"]
    assert overview[5] == "the part pays"


def test_an_idea_that_was_not_measured_says_so(records):
    page = fill("<!-- beyond_muon -->\n<!-- end beyond_muon -->", ["beyond_muon"])
    assert 'Not in the record: `python -m benchmarks.ablation --variants "AdamW for everything"`.' in page


def test_each_idea_is_a_variant_of_the_ablation():
    assert set(IDEAS.values()) <= set(VARIANTS)
    assert set(IDEAS) == set(TITLES)


def test_the_cache_and_the_planner(records):
    first, *rest = table("beyond_cache")
    assert first == ["float32", "1 to 128", "10"]
    assert len(rest) == 1
    page = fill("<!-- beyond_cache -->\n<!-- end beyond_cache -->", ["beyond_cache"])
    assert "6 layers, 384 channels, block 256. In float32 the whole text took nanoGPT" in page
    assert "15.0 times as long (95 % 15.0 to 15.0, 3 pairs; 17 tokens/s)" in page
    one, *_ = table("beyond_planner")
    # Of 1.70 and 1.72 the second lies above the interval.
    assert one == ["1", "821,000", "1.720", "1.600–1.715", "1.710", "-0.010", "1 of 2", "97 %"]


def test_losses_and_their_samples(records):
    rows = table("losses")
    assert len(rows) == 5
    assert rows[1] == ["2.485", "10", "12.0 characters", "20%"]
    page = fill("<!-- losses_20 -->\n<!-- end losses_20 -->", ["losses_20"])
    assert "Loss 1.990, after 20 steps. Measured by the same command:\n\n```text\nO for a muse 2\n\nof\n```\n" in page


def test_answers(records):
    learned, *_ = table("answers")
    assert learned == ["that it was trained on", "5", "0", "0", "5", "4"]
    rows = table("answers_shown")
    assert len(rows) == 9
    before, after = rows[0][1:]
    assert before.startswith("A lord ⏎ and A lord ⏎ ")
    assert before.endswith("…")
    assert after == "A son of / Montague."


def test_exports(records):
    exact, near = table("llama_cpp")
    assert exact == ["char", "f32", "1.5", "200 of 200", "–", "2.0e-05", "1.0e-04"]
    assert near[3:5] == ["21 of 200", "2.0e-04"]
    size, parameter, page, _ = table("html_page")
    assert size == ["page of 2,079,792 parameters", "2,861,595 bytes", "< 3,000,000"]
    assert parameter[1:] == ["1.376 bytes", "≤ 1.4"]
    assert page[1] == "360 (350–370) characters a second"


def test_fine_tuning(records):
    before, whole, _, nothing = table("fine_tuning")
    assert before[1:] == ["–", "3.500"]
    assert whole[1:] == ["0.001", "1.800 ± 0.010"]
    assert nothing[2] == "2.250 ± 0.010"
    assert [row[1] for row in table("fine_tuning_sweep")] == ["0.001", "0.003", "0.001"]


def test_studio_and_server(records):
    starting, usable, writing, cost = table("studio")
    assert starting[1:] == ["5.00 s (5.00–5.00, n = 1)", ""]
    assert usable[0].startswith("from there until a model of 2,100,013 parameters")
    assert usable[1:] == ["0.70 s (0.50–0.90, n = 3)", "< 2 s"]
    assert writing[1] == "0.25 s (0.25–0.25, n = 1)"
    assert cost[1:] == ["2.0 % of its speed (95 % interval -3.9 % to 6.4 %, 3 pairs)", "< 5.0 %"]
    one, three = table("serving")
    assert one == ["float32", "1", "250", "1.0", "0.100 s", "0.200 s", "1,300", "0"]
    assert three == ["float32", "3", "625 (500–750)", "2.5", "0.300 s", "0.600 s", "3,900", "0"]
    text = fill("<!-- serving -->\n<!-- end serving -->", ["serving"])
    assert "1,000 clients that left in the middle of a text: 633 MB before, 637 MB after" in text


def test_ideas(records):
    first, second = table("tried")
    assert first[:3] == ["z-loss", "yes", "-0.1033"]
    assert first[4:6] == ["1.02", "-0.2033"]
    assert first[7:] == ["3", "helps"]
    assert (second[:2], second[4:7]) == (["windows", "no"], ["–", "–", "–"])


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("scaling", "scaling"),
        ("profile_step", "profile_step --size lecture"),
        ("profile_step_float32", "profile_step --size lecture --precision float32"),
    ],
)
def test_what_has_no_record_says_how_it_is_measured(name, command, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    text = fill(f"<!-- {name} -->\n<!-- end {name} -->", [name])
    assert f"Not measured yet: `python -m benchmarks.{command}`" in text


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_drawn_the_same_each_time(name, records, tmp_path):
    pytest.importorskip("matplotlib")
    first = draw(name, tmp_path).read_bytes()
    assert draw(name, tmp_path).read_bytes() == first
    assert len(list(ElementTree.fromstring(first).iter())) > 50
