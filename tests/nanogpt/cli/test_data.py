import json
from pathlib import Path

import pytest
from tiny import write_text


def test_as_json(nanogpt):
    write_text("tales/a.txt", 300)
    write_text("tales/b.txt", 300)
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
