"""The course as a whole: how its files depend on each other, and that every section holds what it claims."""

import ast
import importlib
import math
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from course.__main__ import SECTIONS

COURSE = Path(__file__).parents[2] / "course"
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(COURSE.glob("*.py"))}
FROM_LIBRARY = {"nanogpt.text.corpus", "nanogpt.errors"}
MODULES = [importlib.import_module(f"course.{section}") for section in SECTIONS]


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "sections name the whole path, so that each works as a notebook"
            names.add(node.module or "")
            if node.module == "course":
                names |= {f"course.{alias.name}" for alias in node.names}
    return names


def test_the_ten_sections_are_there() -> None:
    assert sorted(stem for stem in TREES if re.match(r"s\d\d_", stem)) == list(SECTIONS)


@pytest.mark.parametrize("path", sorted(COURSE.rglob("*.py")), ids=lambda path: path.stem)
def test_imports_are_torch_the_standard_library_and_the_corpora(path: Path) -> None:
    allowed = {"course", "torch", "matplotlib", *sys.stdlib_module_names}
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    assert {name for name in names if name.partition(".")[0] not in allowed} <= FROM_LIBRARY


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_imports_only_sections_below_it_and_computes_nothing_on_import(section: str) -> None:
    below = {f"course.{other}" for other in SECTIONS[: SECTIONS.index(section)]} | {"course.console"}
    assert {name for name in imported(TREES[section]) if name.startswith("course")} <= below
    for node in TREES[section].body:
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
        elif isinstance(node, ast.Assign):
            assert ast.unparse(node.targets[0]) == "IDEA"
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef), ast.unparse(node)


def test_matplotlib_is_imported_only_where_a_picture_is_drawn() -> None:
    for stem, tree in TREES.items():
        for node in tree.body:  # imports in functions and under TYPE_CHECKING are fine
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not any("matplotlib" in name for name in imported(node)), stem


def test_no_class_or_function_is_defined_twice() -> None:
    kinds = ast.ClassDef | ast.FunctionDef
    names = Counter(node.name for tree in TREES.values() for node in tree.body if isinstance(node, kinds))
    assert [name for name, count in names.items() if count > 1] == ["main"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_announces_its_classes_its_imports_and_its_place_in_the_lecture(section: str) -> None:
    first = (COURSE / f"{section}.py").read_text(encoding="utf-8").split("\n# %%\n")[0]
    assert first.startswith(f"# %% [markdown]\n# # {SECTIONS.index(section) + 1}. ")
    assert re.search(r"\[\d\d:\d\d:\d\d\]", first), "the time in the lecture"
    mentioned = set(re.findall(r"`(\w+)`", first))
    tree = TREES[section]
    assert {node.name for node in tree.body if isinstance(node, ast.ClassDef)} <= mentioned | {"Losses"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course.s"):
            assert {alias.name for alias in node.names} <= mentioned | {"best_time", "example_sequence"}


@pytest.mark.parametrize("section", SECTIONS)
def test_modules_state_their_shapes(section: str) -> None:
    for node in TREES[section].body:
        if isinstance(node, ast.ClassDef) and any("nn.Module" in ast.unparse(base) for base in node.bases):
            assert "->" in (ast.get_docstring(node) or "") or node.name == "Dropout", node.name


def demos(module: ModuleType) -> list[str]:
    """Return the demonstrations that a section's guarded cells call without an argument."""
    tree = TREES[module.__name__.removeprefix("course.")]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "show"]
    return [ast.unparse(call.args[0]) for call in calls if len(call.args) == 1]


@pytest.mark.parametrize(("module", "demo"), [(module, demo) for module in MODULES for demo in demos(module)], ids=str)
def test_a_demonstration_shows_something_and_its_claims_hold(
    module: ModuleType, demo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = getattr(module, demo)()
    assert capsys.readouterr().out or figure is not None


@pytest.mark.parametrize("section", SECTIONS)
def test_main_trains_reports_and_lowers_the_loss(section: str, text: str, trained) -> None:
    result, events = trained(section)
    if section in SECTIONS[1:9]:  # torch's initial sizes give logits of size about 1, worth half a nat
        assert result.before.val == pytest.approx(math.log(result.tokenizer.vocab_size), abs=0.7)
    for one in (result, *result.others):
        assert (one.before.step, one.after.step) == (0, one.steps)
        assert one.after.train < one.before.train
        assert one.after.val < one.before.val
        assert one.parameters == sum(p.numel() for p in one.model.parameters())
        assert set(one.sample) <= set(text)
    assert set(events) == {"step", "loss"}


def test_pictures_and_table_of_results(trained) -> None:
    pytest.importorskip("matplotlib")
    from course import s04_self_attention, s05_multi_head, s09_dropout
    from course.__main__ import SectionResult, draw_sections, table

    head, pair = trained("s04_self_attention")[0], trained("s09_dropout", "overfit")[0]
    assert len(s04_self_attention.draw_attention(head).axes) == 2  # the matrix and its colour bar
    assert len(s05_multi_head.draw_heads(trained("s05_multi_head")[0]).axes) == 5
    assert len(s09_dropout.draw_overfitting(pair).axes[0].lines) == 4
    results = [SectionResult("s04_self_attention", "one head", head), SectionResult("s09_dropout", "dropout", pair)]
    labels = [label.get_text() for label in draw_sections(results).axes[0].get_xticklabels()]
    assert labels == ["s04\nself attention", "s09\ndropout"]
    lines = table(results).splitlines()
    assert f"{head.after.val:.3f}" in lines[2]
    assert "dropout 0.0" in lines[4]
