import ast
import importlib
import math
import sys
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
