"""What the pages say is true: their Python runs and their excerpts exist."""

import json
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest

from docs.building import ROOT
from nanogpt.config import ModelConfig
from nanogpt.interop.architectures import architecture_named
from nanogpt.model.gpt import GPT

DOCS = ROOT / "docs"
BEYOND = sorted({*(DOCS / "beyond").glob("*.md")} - {DOCS / "beyond" / "index.md"})
RUN = [*BEYOND, *(DOCS / f"{page}.md" for page in ("losses", "from-gpt-to-chatgpt", "glossary"))]
IN_FILE = re.compile(r"# ((?:nanogpt|course|benchmarks)/[\w/]+\.py)\n")


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def is_in(excerpt: str, source: str) -> bool:
    """Return whether the source has these lines, perhaps all of them further to the right."""
    plain = textwrap.dedent(excerpt).strip("\n")
    return any(f"\n{textwrap.indent(plain, ' ' * n)}\n" in f"\n{source}\n" for n in range(0, 17, 4))


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_in_order(page):
    code = [block for block in python_of(page) if not IN_FILE.match(block)]
    assert any("assert " in block for block in code), "a worked example with its numbers asserted"
    names: dict = {}
    for number, block in enumerate(code, 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", BEYOND, ids=lambda page: page.stem)
def test_an_excerpt_is_in_its_file(page):
    found = [(match[1], block[match.end() :]) for block in python_of(page) if (match := IN_FILE.match(block))]
    assert found, "each idea shows its code"
    for name, excerpt in found:
        assert is_in(excerpt, (ROOT / name).read_text(encoding="utf-8")), f"{name} has no such lines:\n{excerpt}"


@pytest.mark.parametrize(
    ("excerpt", "found"),
    [("    b = 1\n    c = 2\n", True), ("    b = 1\n    c = 3\n", False), ("    b = 1\n  c = 2\n", False)],
)
def test_a_changed_excerpt_is_not_found(excerpt, found):
    assert is_in(excerpt, "def a():\n    b = 1\n    c = 2\n    return c\n") == found


def test_the_overview_has_every_page():
    overview = (DOCS / "beyond" / "index.md").read_text(encoding="utf-8")
    assert all(f"({page.name})" in overview for page in BEYOND)


def test_what_the_prose_says_of_the_ablation():
    """The pages say without numbers which ideas gain something; the record decides."""
    record = json.loads((ROOT / "benchmarks" / "records" / "ablation.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in record["texts"]["shakespeare"]}
    muon = "AdamW for everything"
    for gains in (muon, "learned positions for RoPE", "GELU for SwiGLU", "first weights scaled by depth for zeros"):
        assert min(rows[gains]["seeds"][0], rows[gains]["text"][0]) > 0
    for no_difference in ("LayerNorm for RMSNorm", "no normalised queries and keys"):
        low, high = rows[no_difference]["seeds"]
        assert low < 0 < high
    assert max(rows, key=lambda name: rows[name]["effect"]) == muon, "'more than any other part of the recipe'"


def test_what_the_prose_says_of_the_forecasts():
    text = (DOCS / "beyond" / "planner.md").read_text(encoding="utf-8")
    table = text.split("<!-- beyond_planner -->\n")[1].split("\n\n")[0]
    above = [row.split("|")[6].strip() for row in table.splitlines()[2:]]
    assert all(cell.startswith("+") for cell in above), "'errs to the same side each time'"


@pytest.mark.slow
def test_pictures_are_shown_and_always_have_the_same_bytes(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.pictures import FROM_THE_LIBRARY, draw

    pages = "".join(page.read_text(encoding="utf-8") for page in BEYOND)
    for name in FROM_THE_LIBRARY:
        assert f"pictures/{name}.svg)" in pages
        assert draw(name, tmp_path).read_bytes() == draw(name, tmp_path).read_bytes()


def glossary_column(heading: str, number: int) -> set[str]:
    """Return the names in backticks in a column of the table below a heading."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    table = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.strip("|").split("|")[number])}


def numbered(names: set[str]) -> set[str]:
    """Return the names of weights with `N` for the layer; a sentence of the page covers the biases."""
    return {re.sub(r"\.\d+\.", ".N.", name) for name in names if not name.endswith(".bias")}


@pytest.mark.parametrize(
    ("family", "column", "parts"),
    [
        (architecture_named("gpt2"), 1, {"qkv_bias": True}),
        (
            architecture_named("qwen3"),
            2,
            {"norm": "rms", "position": "rope", "activation": "swiglu", "qk_norm": True, "bias": False},
        ),
    ],
    ids=["gpt2", "qwen3"],
)
def test_the_glossary_has_every_tensor_and_size(family, column, parts):
    config = ModelConfig(vocab_size=11, **parts)
    table = family.tensor_map(config)
    assert numbered(set(table)) == numbered(set(GPT(config).state_dict())) <= glossary_column("Tensors", 0)
    theirs = numbered({tensor.name for found in table.values() for tensor in found})
    assert theirs == glossary_column("Tensors", column)
    assert glossary_column("Sizes and settings", 0) <= {field.name for field in fields(ModelConfig)}
    assert glossary_column("Sizes and settings", column + 1) <= set(family.to_settings(ModelConfig(vocab_size=11)))
