from pathlib import Path

import nanogpt as library


def lines(text):
    return dict(line.split("  ", 1) for line in text.splitlines())


def test_a_run(nanogpt, finished_run):
    run = library.load(finished_run)
    found = {name: value.strip() for name, value in lines(nanogpt("info", finished_run).out).items()}
    assert found["text"] == "cats"
    assert found["preset"] == "modern"
    assert found["model"] == f"2 layers, 2 heads, 32 channels, block 16, vocabulary {run.tokenizer.vocab_size}"
    assert found["parameters"] == f"{run.model.parameter_count:,}"
    assert found["steps"] == "30 of 30, finished"
    assert found["validation"] == f"{run.evaluate().loss:.4f} nats/token"
    size = sum(path.stat().st_size for path in finished_run.rglob("*") if path.is_file())
    assert found["on disk"] == f"{size / 1e6:.1f} MB"


def test_an_encoding(nanogpt, refuses):
    Path("book.txt").write_bytes(b"caf\xe9")
    refuses("info", "book.txt", saying=["--encoding latin-1"])
    assert "4, 4 distinct" in nanogpt("info", "book.txt", "--encoding", "latin-1").out
