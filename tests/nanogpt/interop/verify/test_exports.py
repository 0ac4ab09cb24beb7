"""Each export agrees with its run, another model's does not, and what cannot be run is reported."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from tiny import make_run, raising, refuses
from vocabularies import END, qwen_tables

from nanogpt.interop.gguf.export import export_gguf
from nanogpt.interop.html.browser import PROGRAMS
from nanogpt.interop.html.export import export_html
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.verify.compare import make_contexts
from nanogpt.interop.verify.exports import export_rows, verify_export, weight_difference
from nanogpt.text.foreign import ForeignTokenizer

NAMES = ["Transformers", "llama.cpp, f32", "llama.cpp, f16", "llama.cpp, q8_0", "browser, 8 bits"]
SIZES = {"n_embd": 32, "n_head": 2, "head_size": None, "mlp_hidden": 64}


@pytest.fixture
def run():
    return make_run("run")


def verify(run, path):
    return verify_export(run, make_contexts(run.model, run.tokenizer), Path(path))


def rows_of(run):
    Path("exports").mkdir()
    return export_rows(run, make_contexts(run.model, run.tokenizer), Path("exports"))


def change_json(path, change):
    tables = json.loads(Path(path).read_text())
    change(tables)
    Path(path).write_text(json.dumps(tables))


def installed(name):
    """Whether the program of a format is installed."""
    if name.startswith("llama"):
        return importlib.util.find_spec("llama_cpp") is not None
    return "browser" not in name or (importlib.util.find_spec("playwright") and any(map(shutil.which, PROGRAMS)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "parts"),
    [
        *[("modern", {}), ("gpt2", {}), ("lecture", {})],
        ("gpt2", {"bias": False, "qkv_bias": False}),
        ("modern", {"qk_norm": False}),  # Llama
        (
            "modern",
            {"qk_norm": False, "qkv_bias": True, "tokenizer": ForeignTokenizer(qwen_tables(), 271, END)},
        ),  # Qwen2
    ],
)
def test_every_format(preset, parts):
    rows = list(rows_of(make_run("run", preset, **SIZES | parts)))
    assert [row.name for row in rows] == NAMES
    for row in rows:
        if preset == "lecture" and "browser" not in row.name:
            assert "head_bias" in row.not_run
        elif parts.get("tokenizer") and "browser" in row.name:
            assert "tokenizers" in row.not_run
        elif installed(row.name):
            assert row.passed, row
            assert row.ids == "the same"
        else:
            assert row.not_run


@pytest.mark.slow
def test_another_model_does_not_pass(run):
    other = make_run("other")
    with torch.no_grad():
        other.model.blocks[0].mlp.up.weight[3, 5] += 0.01
    export_hugging_face(other, "out")
    row = verify(run, "out")
    assert not row.passed
    assert any("other weights" in problem for problem in row.problems)
    export_hugging_face(make_run("wider", n_embd=17), "out-wider")
    (problem,) = verify(run, "out-wider").problems
    assert "another model" in problem


@pytest.mark.slow
def test_a_changed_epsilon_does_not_pass(run):
    export_hugging_face(run, "out")
    change_json("out/config.json", lambda tables: tables.update(rms_norm_eps=1e-2))
    row = verify(run, "out")
    assert row.weights == 0
    assert row.problems[0] == "its norm_eps is 0.01, the run's 1e-06"
    assert "logits differ by" in row.problems[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"eos_token_id": 5}, "end of text is 5, the run's 10"),
        ({"max_position_embeddings": 10}, "block_size is 10, the run's 11"),
        ({"rope_theta": 9e3, "rope_parameters": None}, "rope_theta is 9000.0, the run's 10000.0"),
    ],
)
def test_settings_that_the_logits_need_not_show(run, change, problem):
    export_hugging_face(run, "out")
    change_json("out/config.json", lambda tables: tables.update(change))
    assert any(problem in one for one in verify(run, "out").problems)


@pytest.mark.slow
def test_a_changed_tokenizer_does_not_pass(run):
    export_hugging_face(run, "out")

    def swap(tables):
        vocab = tables["model"]["vocab"]
        vocab["e"], vocab["l"] = vocab["l"], vocab["e"]

    change_json("out/tokenizer.json", swap)
    row = verify(run, "out")
    assert (row.ids, len(row.problems)) == ("not the same", 1)


def test_weight_differences():
    one = {"w": torch.tensor([[4.0, 1.0], [8.0, 0.0]]), "b": torch.tensor([2.0, 4.0])}
    assert weight_difference(one, one) == 0
    assert weight_difference(one, one | {"b": torch.tensor([2.0, 3.0])}) == 0.25
    assert weight_difference(one, one | {"b": torch.tensor([2.0])}) is None
    assert weight_difference(one, {"w": one["w"]}) is None
    assert weight_difference(one, one | {"b": torch.tensor([2.0, 3.0])}, absolute=0.6) == pytest.approx(0.1)
    assert not weight_difference(one, one | {"b": torch.tensor([2.0, torch.nan])}) <= 1.0


@pytest.mark.parametrize(
    ("missing", "export", "remedy"),
    [
        ("transformers", lambda run: export_hugging_face(run, "out"), "nanogpt[hf]"),
        ("llama_cpp", lambda run: export_gguf(run, "out.gguf"), "nanogpt[llama]"),
        ("playwright.sync_api", lambda run: export_html(run, "out.html"), "nanogpt[browser]"),
    ],
)
def test_a_missing_program_is_reported_and_does_not_pass(run, missing, export, remedy, monkeypatch):
    path = export(run)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr("nanogpt.interop.html.browser.find_chromium", lambda: "chromium")
    row = verify(run, path)
    assert remedy in row.not_run
    assert not row.passed


def test_a_program_that_fails_is_a_difference(run, monkeypatch):
    export_hugging_face(run, "out")
    fail = raising(RuntimeError("out of cheese\nat line 3"))
    monkeypatch.setattr("nanogpt.interop.verify.exports.TransformersModel.__init__", fail)
    (problem,) = verify(run, "out").problems
    assert "(RuntimeError: out of cheese)" in problem


@pytest.mark.slow
def test_code_that_comes_with_a_model_is_not_run(run):
    export_hugging_face(run, "out")
    Path("out/modeling.py").write_text("open('/tmp/run-by-transformers', 'w')\nclass Model: pass\n")
    change_json("out/config.json", lambda tables: tables.update(auto_map={"AutoModelForCausalLM": "modeling.Model"}))
    assert verify(run, "out").passed
    assert "modeling" not in sys.modules


def test_other_files_are_refused(run):
    Path("model.bin").write_bytes(b"")
    refuses(lambda: verify(run, "model.bin"), "model.bin", ".gguf")
    refuses(lambda: verify(run, "nowhere"), "nowhere")
    export_hugging_face(run, "out")
    Path("out/model.safetensors").rename("out/pytorch_model.bin")
    refuses(lambda: verify(run, "out"), "pickled")


def test_a_page_with_another_script_is_not_opened(run):
    path = export_html(run, "out.html")
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", "<script>fetch('x')</script></body>"))
    refuses(lambda: verify(run, path), "was changed after its export")
