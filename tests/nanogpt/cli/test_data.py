import gzip
import json
from pathlib import Path

import pytest
from tiny import write_text


def test_as_json(nanogpt):
    write_text("tales/a.txt", 600)
    write_text("tales/b.txt", 600)
    report = json.loads(nanogpt("data", "check", "tales", "--json").out)
    assert report["documents"] == 2
    assert report["repeated_documents"]["copies"] == 1
    assert report["overlap"]["share"] > 0.9
    assert report["advice"]["tokenizer"] == "char"
    assert {fit["tokenizer"] for fit in report["fits"]} == {"char", "byte", "bpe"}
    assert len(report["faults"]) >= 3


@pytest.mark.parametrize(("encoding", "named"), [("cp1252", "cp1252 or latin-1"), ("utf-16", "utf-16")])
def test_a_wrong_encoding_is_guessed_and_read(nanogpt, encoding, named):
    Path("tale.txt").write_bytes(("Déjà vu, la façade était fermée.\r\n" * 40).encode(encoding))
    found = nanogpt("data", "check", "tale.txt")
    assert found.code == 0
    assert f"{named}: read as {encoding} here; train with --encoding {encoding}" in found.out
    report = json.loads(nanogpt("data", "check", "tale.txt", "--encoding", encoding, "--json").out)
    assert (report["encoding"], report["characters"]) == (encoding, 1320)
    assert not any("--encoding" in fault for fault in report["faults"])


def test_line_ends_of_a_compressed_text_and_of_records(nanogpt):
    text = "ein paar Zeilen\r\n" * 300
    Path("tale.txt.gz").write_bytes(gzip.compress(text.encode()))
    Path("tale.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
    found = json.loads(nanogpt("data", "check", "tale.txt.gz", "--json").out)
    assert found["line_ends"] == {"crlf": 300, "lf": 0, "cr": 0}
    assert json.loads(nanogpt("data", "check", "tale.jsonl", "--json").out)["line_ends"] is None


def test_zero_characters_are_reported(nanogpt):
    Path("tale.txt").write_text("a short line\n" * 9000 + "\0\0", encoding="utf-8")
    assert any(
        "2 zero character" in note for note in json.loads(nanogpt("data", "check", "tale.txt", "--json").out)["notes"]
    )


def test_the_advice_does_not_contradict_itself(nanogpt):
    """Many rare characters in a text for which characters are recommended."""
    rare = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    Path("tale.txt").write_text("the cat sat on the mat\n" * 3000 + rare, encoding="utf-8")
    report = json.loads(nanogpt("data", "check", "tale.txt", "--json").out)
    assert report["advice"]["tokenizer"] == "char"
    (fault,) = [fault for fault in report["faults"] if "too rarely" in fault]
    assert "--tokenizer" not in fault
