"""`nanogpt data`: what a person reads about a text before training on it."""

import json
from pathlib import Path

import pytest
from tiny import write_text


def test_without_words_its_help(nanogpt):
    assert nanogpt("data").out == nanogpt("data", "check", "--help").out


def test_a_text_is_checked(nanogpt):
    write_text("tale.txt", 30_000)
    found = nanogpt("data", "check", "tale.txt")
    assert found.code == 0
    lines = {line.split()[0]: line for line in found.out.splitlines() if line.strip()}
    assert "utf-8, line ends \\n" in lines["encoding"]
    assert "30,000 characters, 30,000 bytes of UTF-8, 1 document" in lines["size"]
    assert "27,000 characters to train on, 3,000 to validate on" in lines["parts"]
    assert "no copies of documents; 0.0% of the text" in lines["repeated"]
    assert "windows of 50 characters are in the training part, too; " in lines["overlap"]
    assert "--tokenizer char: " in lines["advice"]
    assert lines["char"].split()[1:3] == ["1.00", "27,000"]
    assert "fix" not in lines
    assert not Path("runs").exists()


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


def test_several_texts_and_files_by_name(nanogpt):
    write_text("tales/a.txt", 700)
    write_text("tales/b.md", 300)
    assert json.loads(nanogpt("data", "check", "tales", "--pattern", "*.md", "--json").out)["characters"] == 300
    assert json.loads(nanogpt("data", "check", "tales/a.txt", "tales/b.md", "--json").out)["characters"] == 1000


@pytest.mark.parametrize(("encoding", "named"), [("cp1252", "cp1252 or latin-1"), ("utf-16", "utf-16")])
def test_a_wrong_encoding_is_guessed_and_read(nanogpt, encoding, named):
    Path("tale.txt").write_bytes(("Déjà vu, la façade était fermée.\r\n" * 40).encode(encoding))
    found = nanogpt("data", "check", "tale.txt")
    assert found.code == 0
    assert f"{named}: read as {encoding} here; train with --encoding {encoding}" in found.out
    report = json.loads(nanogpt("data", "check", "tale.txt", "--encoding", encoding, "--json").out)
    assert (report["encoding"], report["characters"]) == (encoding, 1320)
    assert not any("--encoding" in fault for fault in report["faults"])
