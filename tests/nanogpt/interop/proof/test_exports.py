"""Exports held against the run: each format agrees, another model does not, and what cannot be run is told."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import make_run, refuses

from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.html.export import export_html
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.proof.compare import make_contexts
from nanogpt.interop.proof.exports import export_rows, given_row, weights_apart

NAMES = ["Transformers", "llama.cpp, f32", "llama.cpp, f16", "llama.cpp, q8_0", "browser, 8 bits"]


def asked(run):
    return make_contexts(run.model, run.tokenizer)


def here(*modules):
    """Whether the programs that a test needs are here."""
    import importlib.util
    import shutil

    chromium = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")))
    return all(chromium if one == "chromium" else importlib.util.find_spec(one) for one in modules)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["modern", "gpt2", "lecture"])
def test_every_format(preset):
    run = make_run("run", preset, n_embd=32, n_head=2, head_size=None, mlp_hidden=64)
    Path("made").mkdir()
    rows = {row.name: row for row in export_rows(run, asked(run), Path("made"))}
    assert list(rows) == NAMES
    for name, row in rows.items():
        needs = ["llama_cpp"] if name.startswith("llama") else ["playwright", "chromium"] if "browser" in name else []
        if preset == "lecture" and "browser" not in name:
            assert "head_bias" in row.not_run
        elif here(*needs):
            assert row.passed, row
            assert row.ids == "the same"
        else:
            assert row.not_run


@pytest.mark.slow
def test_another_models_folder_does_not_pass():
    run, other = make_run("run"), make_run("other")
    with torch.no_grad():
        other.model.blocks[0].mlp.up.weight[3, 5] += 0.01
    export_hugging_face(other, "out")
    row = given_row(run, asked(run), Path("out"))
    assert not row.passed
    assert any("of other weights" in problem for problem in row.problems)


@pytest.mark.slow
def test_a_setting_that_was_changed_does_not_pass():
    run = make_run("run")
    export_hugging_face(run, "out")
    path = Path("out/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 1e-2}))
    row = given_row(run, asked(run), Path("out"))
    assert row.weights == 0
    assert not row.passed
    assert row.problems[0] == "its norm_eps is 0.01, the run's 1e-06"
    assert "logits differ by" in row.problems[1]


@pytest.mark.slow
def test_a_tokenizer_that_was_changed_does_not_pass():
    run = make_run("run")
    export_hugging_face(run, "out")
    path = Path("out/tokenizer.json")
    tables = json.loads(path.read_text())
    vocab = tables["model"]["vocab"]
    vocab["e"], vocab["l"] = vocab["l"], vocab["e"]
    path.write_text(json.dumps(tables))
    row = given_row(run, asked(run), Path("out"))
    assert row.problems == ("its ids of a text are others",)


@pytest.mark.slow
def test_a_model_of_other_sizes():
    run = make_run("run")
    export_hugging_face(make_run("other", n_embd=17), "out")
    assert given_row(run, asked(run), Path("out")).problems == (
        "it is of another model: its weights have other names or sizes",
    )


@pytest.mark.slow
def test_code_that_comes_with_a_model_is_not_run():
    run = make_run("run")
    export_hugging_face(run, "out")
    Path("out/modeling.py").write_text("open('/tmp/run-by-transformers', 'w')\nclass Model: pass\n")
    path = Path("out/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}))
    assert given_row(run, asked(run), Path("out")).passed
    assert "modeling" not in sys.modules


@pytest.mark.parametrize(
    ("missing", "make", "words"),
    [
        ("transformers", lambda run: export_hugging_face(run, "out"), "nanogpt[hf]"),
        ("llama_cpp", lambda run: export_gguf(run, "out.gguf"), "nanogpt[llama]"),
        ("playwright.sync_api", lambda run: export_html(run, "out.html"), "playwright"),
    ],
)
def test_a_program_that_is_not_here_is_told_and_no_pass(missing, make, words, monkeypatch):
    run = make_run("run")
    place = make(run)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr("nanogpt.interop.html.browser.find_chromium", lambda: "chromium")
    row = given_row(run, asked(run), place)
    assert words in row.not_run
    assert not row.passed


def test_what_is_no_export():
    run = make_run("run")
    Path("model.bin").write_bytes(b"")
    refuses(lambda: given_row(run, asked(run), Path("model.bin")), "model.bin", ".gguf")
    refuses(lambda: given_row(run, asked(run), Path("nowhere")), "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"eos_token_id": 5}, "its end of a text is 5, the run's 10"),
        ({"max_position_embeddings": 10}, "its block_size is 10, the run's 11"),
        ({"rope_theta": 9e3, "rope_parameters": None}, "its rope_theta is 9000.0, the run's 10000.0"),
    ],
)
def test_a_setting_that_the_numbers_need_not_show(change, problem):
    run = make_run("run")
    assert run.tokenizer.end_of_document == 10
    export_hugging_face(run, "out")
    path = Path("out/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert problem in given_row(run, asked(run), Path("out")).problems


def test_a_page_with_another_script_is_not_opened():
    run = make_run("run")
    path = export_html(run, "out.html")
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", "<script>fetch('x')</script></body>"))
    refuses(lambda: given_row(run, asked(run), path), "was changed after it was written")


def test_a_program_that_fails_is_a_difference(monkeypatch):
    run = make_run("run")
    export_hugging_face(run, "out")

    def fail(*_):
        raise RuntimeError("out of cheese\nat line 3")

    monkeypatch.setattr("nanogpt.interop.hugging_face.opening.TransformersModel.__init__", fail)
    row = given_row(run, asked(run), Path("out"))
    assert row.problems == ("it cannot be opened or run (RuntimeError: out of cheese)",)


def test_an_export_that_cannot_be_opened_again_is_a_difference(monkeypatch):
    run = make_run("run")
    Path("made").mkdir()
    monkeypatch.setattr(
        "nanogpt.interop.hugging_face.export.save_file", lambda tensors, path, metadata: path.write_bytes(b"x" * 99)
    )
    first = next(iter(export_rows(run, asked(run), Path("made"))))
    assert first.name == "Transformers"
    assert "is damaged" in first.problems[0]


@pytest.mark.slow
def test_a_row_of_tiny_weights_is_no_difference():
    run = make_run("run", "gpt2", n_embd=32, n_head=2, head_size=None, mlp_hidden=64)
    with torch.no_grad():
        run.model.token_embedding.weight[3] *= 1e-7
    Path("made").mkdir()
    rows = [row for row in export_rows(run, asked(run), Path("made")) if row.not_run is None]
    assert len(rows) >= 1
    assert all(row.passed for row in rows), rows


def test_how_far_weights_are_apart():
    one = {"w": torch.tensor([[4.0, 1.0], [8.0, 0.0]]), "b": torch.tensor([2.0, 4.0])}
    assert weights_apart(one, one) == 0
    assert weights_apart(one, one | {"b": torch.tensor([2.0, 3.0])}) == 0.25
    assert weights_apart(one, one | {"b": torch.tensor([2.0])}) is None
    assert weights_apart(one, {"w": one["w"]}) is None
    assert weights_apart(one, one | {"b": torch.tensor([2.0, 3.0])}, beyond=0.6) == pytest.approx(0.1)
    nan = one | {"b": torch.tensor([2.0, torch.nan])}
    assert not weights_apart(one, nan) <= 1.0


def test_pickled_weights_are_no_export():
    run = make_run("run")
    export_hugging_face(run, "out")
    save_file(load_file("out/model.safetensors"), "weights")
    Path("out/model.safetensors").rename("out/pytorch_model.bin")
    refuses(lambda: given_row(run, asked(run), Path("out")), "pickled")
