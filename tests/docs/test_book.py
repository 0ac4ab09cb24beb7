"""What docs/beyond/ and the pages beside it say is true: their Python runs, their excerpts, commands and links exist."""

import importlib.util
import json
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from commands import typed, understand

from benchmarks.beyond_pictures import DRAWN, draw
from benchmarks.beyond_tables import BEYOND_PAGES, IDEAS, verdict
from benchmarks.record import RECORDS
from benchmarks.tables import PAGES
from nanogpt.config import ModelConfig
from nanogpt.interop.architectures import GPT2, Qwen3
from nanogpt.model.gpt import GPT

DOCS = Path(__file__).parent.parent.parent / "docs"
BEYOND = sorted((DOCS / "beyond").glob("*.md"))
WRITTEN = [*BEYOND, DOCS / "losses.md", DOCS / "from-gpt-to-chatgpt.md", DOCS / "glossary.md"]
IN_FILE = re.compile(r"# ((?:nanogpt|course|benchmarks)/[\w/]+\.py)\n")


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def excerpts(page: Path) -> list[tuple[str, str]]:
    """Blocks that begin with the name of a file: the name, and what is said to stand there."""
    found = [(IN_FILE.match(block), block) for block in blocks(page, "python")]
    return [(match[1], block[match.end() :]) for match, block in found if match]


def stands_in(excerpt: str, source: str) -> bool:
    """Whether the lines are in the source as they are, or all of them further to the right."""
    plain = textwrap.dedent(excerpt).strip("\n")
    return any(f"\n{textwrap.indent(plain, ' ' * n)}\n" in f"\n{source}\n" for n in range(0, 17, 4))


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = [block for block in blocks(page, "python") if not IN_FILE.match(block)]
    if page in BEYOND and page.stem != "index":
        assert any("assert " in block for block in code), "a worked example with its numbers asserted"
    names: dict = {}
    for number, block in enumerate(code, 1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", [page for page in BEYOND if page.stem != "index"], ids=lambda page: page.stem)
def test_an_excerpt_stands_in_the_library(page):
    found = excerpts(page)
    assert found, "each idea shows its code"
    for name, excerpt in found:
        source = (DOCS.parent / name).read_text(encoding="utf-8")
        assert stands_in(excerpt, source), f"{name} has no such lines:\n{excerpt}"


def test_a_changed_excerpt_is_found():
    assert stands_in("    b = 1\n    c = 2\n", "def a():\n    b = 1\n    c = 2\n    return c\n")
    assert not stands_in("    b = 1\n    c = 3\n", "def a():\n    b = 1\n    c = 2\n    return c\n")
    assert not stands_in("    b = 1\n", "def a():\n    b = 12\n")
    assert not stands_in("a\n b\n", "a\n  b\n")


COMMANDS = sorted(
    {
        line
        for page in [*DOCS.glob("*.md"), *BEYOND]
        for line in typed(page.read_text(encoding="utf-8"))
        if re.match("nanogpt [a-z]", line)
    }
)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 45


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command):
    understand(command)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)
def test_links_modules_first_and_last_sentence(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module) is not None, module
    title, first, *_, last = text.rstrip().split("\n\n")
    assert title.startswith("# ")
    assert first.startswith("Here you "), "begins with what one learns"
    assert last.startswith("**Where to go next:**")


def test_every_page_is_in_the_overview():
    overview = (DOCS / "beyond" / "index.md").read_text(encoding="utf-8")
    assert {page.stem for page in BEYOND} == set(BEYOND_PAGES)
    for page in BEYOND:
        assert page in PAGES
        assert page.stem == "index" or f"({page.name})" in overview


def test_what_the_prose_says_of_the_ablation_is_so():
    """The pages say without numbers which ideas gained something; the record decides."""
    rows = json.loads((RECORDS / "ablation.json").read_text(encoding="utf-8"))["texts"]["shakespeare"]
    told = {page: verdict(row) for page, name in IDEAS.items() for row in rows if row["name"] == name}
    assert {page for page, said in told.items() if said == "the part pays"} == {
        *("muon", "rope", "swiglu", "initialisation")
    }
    assert told["rmsnorm"] == told["qk-norm"] == "no difference was seen", "'not because a gain was seen'"
    assert rows[0]["name"] == IDEAS["muon"], "'of all parts of the recipe, the most'"


def test_what_the_prose_says_of_the_forecasts_is_so():
    text = (DOCS / "beyond" / "planner.md").read_text(encoding="utf-8")
    table = text.split("<!-- beyond_planner -->\n")[1].split("\n\n")[0]
    above = [row.split("|")[6].strip() for row in table.splitlines()[2:]]
    assert all(cell.startswith("+") for cell in above), "'off to the same side each time'"


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_shown_and_drawn_the_same_each_time(name, tmp_path):
    pytest.importorskip("matplotlib")
    assert any(f"pictures/{name}.svg)" in page.read_text(encoding="utf-8") for page in BEYOND)
    first = draw(name, tmp_path).read_bytes()
    assert draw(name, tmp_path).read_bytes() == first


def glossary_column(heading: str, number: int) -> set[str]:
    """The names in backticks of a column of the table below a heading."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    table = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.strip("|").split("|")[number])}


def numbered(names: set[str]) -> set[str]:
    """Weights' names with `N` for the layer's number; biases are told by a sentence."""
    return {re.sub(r"\.\d+\.", ".N.", name) for name in names if not name.endswith(".bias")}


@pytest.mark.parametrize(
    ("family", "column", "parts"),
    [
        (GPT2(), 1, {"qkv_bias": True}),
        (Qwen3(), 2, {"norm": "rms", "position": "rope", "activation": "swiglu", "qk_norm": True, "bias": False}),
    ],
    ids=["gpt2", "qwen3"],
)
def test_the_glossary_has_every_tensor(family, column, parts):
    config = ModelConfig(vocab_size=11, **parts)
    table = family.tensor_map(config)
    assert numbered(set(table)) == numbered(set(GPT(config).state_dict())) <= glossary_column("Tensors", 0)
    theirs = numbered({place.name for found in table.values() for place in found})
    assert theirs == glossary_column("Tensors", column)


def test_the_glossary_has_every_size():
    config = ModelConfig(vocab_size=11)
    assert glossary_column("Sizes and settings", 0) <= {field.name for field in fields(ModelConfig)}
    for family, column in ((GPT2(), 2), (Qwen3(), 3)):
        assert glossary_column("Sizes and settings", column) <= set(family.to_settings(config))
