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
ALLOWED = {"torch", "matplotlib", *sys.stdlib_module_names}
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


@pytest.mark.parametrize("stem", TREES)
def test_only_torch_the_standard_library_and_the_corpus_look_up_are_imported(stem: str) -> None:
    for name in imported(TREES[stem]):
        ours = name == "course" or name.startswith("course.")
        assert ours or name == "nanogpt.text.corpus" or name.split(".")[0] in ALLOWED, f"{stem} imports {name}"


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_imports_only_sections_below_it(section: str) -> None:
    below = {f"course.{other}" for other in SECTIONS[: SECTIONS.index(section)]} | {"course.console"}
    assert {name for name in imported(TREES[section]) if name.startswith("course")} <= below


def test_matplotlib_is_imported_only_where_a_picture_is_drawn() -> None:
    for stem, tree in TREES.items():
        for node in tree.body:  # inside functions, and under TYPE_CHECKING, it is fine
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not any("matplotlib" in name for name in imported(node)), stem


def test_no_class_or_function_is_defined_twice() -> None:
    names: Counter[str] = Counter()
    for tree in TREES.values():
        names.update(
            node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name != "main"
        )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_computes_nothing_when_it_is_imported(section: str) -> None:
    """At the top level: imports, definitions, the IDEA, and guarded cells. Nothing else."""
    for node in TREES[section].body:
        if isinstance(node, ast.If):
            assert ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
        elif isinstance(node, ast.Assign):
            assert ast.unparse(node.targets[0]) == "IDEA"
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef | ast.FunctionDef), ast.unparse(node)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_opens_with_what_a_reader_wants_to_know(section: str) -> None:
    first = (COURSE / f"{section}.py").read_text(encoding="utf-8").split("\n# %%\n")[0]
    assert first.startswith("# %% [markdown]\n# # " + str(SECTIONS.index(section) + 1) + ". ")
    for wanted in ("New here", "In the lecture", "In the paper", "Takes", "Expect"):
        assert wanted in first, wanted
    assert re.search(r"\[\d\d:\d\d:\d\d\]", first), "the time in the lecture"
    mentioned = set(re.findall(r"`(\w+)`", first))
    tree = TREES[section]
    here = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert here <= mentioned | {"Losses"}, "every new class is announced"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("course.s"):
            names = {alias.name for alias in node.names}
            assert names <= mentioned | {"shortest_seconds", "piece_of_text"}, f"{names - mentioned} from before"


@pytest.mark.parametrize("section", SECTIONS)
def test_public_parts_state_their_shapes(section: str) -> None:
    for node in TREES[section].body:
        if isinstance(node, ast.ClassDef) and any("nn.Module" in ast.unparse(base) for base in node.bases):
            assert "->" in (ast.get_docstring(node) or "") or node.name == "Dropout", node.name


def demos(module: ModuleType) -> list[str]:
    """The demonstrations that a section's guarded cells call without an argument."""
    tree = TREES[module.__name__.removeprefix("course.")]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "show"]
    return [ast.unparse(call.args[0]) for call in calls if len(call.args) == 1]


@pytest.mark.parametrize(("module", "demo"), [(module, demo) for module in MODULES for demo in demos(module)], ids=str)
def test_a_demonstration_shows_something_and_its_claims_hold(
    module: ModuleType, demo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = getattr(module, demo)()
    assert capsys.readouterr().out or figure is not None


@pytest.mark.parametrize("module", MODULES, ids=SECTIONS)
def test_main_trains_reports_and_lowers_the_loss(module: ModuleType, text: str) -> None:
    told: list[str] = []
    steps = 8 if module.__name__.endswith("s10_gpt") else 25
    result = module.main(steps=steps, seed=7, text=text, report=lambda event, **_: told.append(event))
    for one in (result, *result.others):
        assert one.steps == steps
        assert one.before.step == 0
        assert one.after.step == steps
        assert one.after.train < one.before.train
        assert one.after.val < one.before.val
        assert one.parameters == sum(p.numel() for p in one.model.parameters())
        assert set(one.sample) <= set(text)
    assert {"step", "loss"} == set(told)


@pytest.mark.parametrize("module", MODULES[1:9], ids=SECTIONS[1:9])
def test_untrained_models_know_about_nothing(module: ModuleType, text: str) -> None:
    """torch's own initial sizes leave logits of size about 1, worth half a nat; section 10 starts smaller."""
    result = module.main(steps=1, text=text)
    assert result.before.val == pytest.approx(math.log(result.tokenizer.vocab_size), abs=0.7)


def test_pictures_of_results_are_drawn(text: str) -> None:
    pytest.importorskip("matplotlib")
    from course import s04_self_attention, s05_multi_head, s09_dropout
    from course.__main__ import Rung, draw_ladder, table

    head = s04_self_attention.main(steps=2, text=text)
    assert len(s04_self_attention.draw_attention(head).axes) == 2  # the matrix and its colour bar
    heads = s05_multi_head.main(steps=2, text=text)
    assert len(s05_multi_head.draw_heads(heads).axes) == 5
    pair = s09_dropout.overfit(steps=3, text=text)
    assert len(s09_dropout.draw_overfitting(pair).axes[0].lines) == 4
    rungs = [Rung("s04_self_attention", "one head", head), Rung("s09_dropout", "dropout", pair)]
    labels = [label.get_text() for label in draw_ladder(rungs).axes[0].get_xticklabels()]
    assert labels == ["s04\nself attention", "s09\ndropout"]
    lines = table(rungs).splitlines()
    assert f"{head.after.val:.3f}" in lines[2]
    assert "dropout 0.0" in lines[4]
