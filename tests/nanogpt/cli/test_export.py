import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import make_run, raising
from vocabularies import STOP, TEMPLATE, chat_tables

from nanogpt.text.foreign import ForeignTokenizer


def test_a_folder_of_transformers_and_back(nanogpt, finished_run):
    found = nanogpt("export", finished_run, "--to", "hf", "out", "--licence", "mit")  # options between words
    assert found.code == 0, found.err
    assert re.search(r"wrote out \(0\.\d MB\), step \d+ of ", found.out)
    assert json.loads(Path("out/config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    assert "license: mit" in Path("out/README.md").read_text()
    found = nanogpt("import", "out")
    assert found.code == 0, found.err
    assert found.out.split()[:2] == ["run", "runs/out"]
    texts = [nanogpt("sample", run, "--prompt", "the ", "--tokens", 20).out for run in (finished_run, Path("runs/out"))]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 20


def test_the_format_follows_from_the_ending(nanogpt, finished_run):
    assert [nanogpt("export", finished_run, place).code for place in ("out", "page.html")] == [0, 0]
    assert Path("out/config.json").exists()
    assert Path("page.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_an_imported_run_among_the_others(nanogpt, finished_run, refuses):
    assert "step 8 of " in nanogpt("export", finished_run, "out", "--to", "hf", "--checkpoint", 8).out
    nanogpt("import", "out", "--block-size", 11)
    assert re.search(r"runs/out +out +modern .* imported +none yet", nanogpt("runs").out)
    assert "imported" in nanogpt("info", "runs/out").out
    refuses("eval", "runs/out", saying=["was imported", "--text"])
    refuses("train", "--resume", "runs/out", saying=["was imported", "--from runs/out"])


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["--to", "hf", "--precision", "f16"], ["--precision f16 is for --to gguf"]),
        (["--to", "gguf", "--licence", "mit"], ["--licence mit is for --to hf"]),
        (["--to", "html", "--push", "me/it"], ["--push me/it is for --to hf"]),
        (["--to", "hf", "--push", "it"], ["--push 'it'", "OWNER/NAME"]),
        (["--to", "hf", "--licence", "mit\ntags: [x]"], ["--licence"]),
    ],
)
def test_what_a_format_has_not(refuses, finished_run, words, saying):
    refuses("export", finished_run, "out", *words, saying=saying)


def test_an_upload_when_it_is_asked_for(nanogpt, finished_run, monkeypatch):
    done = []

    class Api:
        def create_repo(self, name, exist_ok, private):
            done.append((name, exist_ok, private))
            return f"https://hub/{name}"

        def upload_folder(self, repo_id, folder_path):
            done.append((repo_id, folder_path))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    found = nanogpt("export", finished_run, "out", "--to", "hf", "--push", "me/small")
    assert done == [("me/small", True, True), ("me/small", "out")]
    assert found.out.splitlines()[-1] == "uploaded to https://hub/me/small"


def test_an_upload_that_is_refused_leaves_the_folder(nanogpt, finished_run, monkeypatch):
    refused = SimpleNamespace(create_repo=raising(RuntimeError("401 Client Error.\nmore")))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: refused)
    found = nanogpt("export", finished_run, "out", "--to", "hf", "--push", "me/small")
    assert found.code == 2
    assert "'me/small': 401 Client Error; " in found.err
    assert Path("out/model.safetensors").exists()


def test_a_note_where_another_program_reads_some_texts_differently(nanogpt):
    pytest.importorskip("gguf")
    tokenizer = ForeignTokenizer(chat_tables(), STOP + 2, STOP)
    tokenizer.imported = {"chat_template": TEMPLATE}
    make_run("run", tokenizer=tokenizer)
    (note,) = nanogpt("export", "run", "out.gguf").err.splitlines()
    assert note.startswith("note: ")
    assert "NFC" in note
    (note,) = nanogpt("export", "run", "out").err.splitlines()
    assert "split_special_tokens=True" in note
