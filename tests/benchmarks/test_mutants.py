"""Mutation testing of a tiny tree: what its tests check is killed, what they do not check survives."""

import subprocess

import pytest

pytest.importorskip("cosmic_ray")

from benchmarks import mutants
from benchmarks.mutants import SUBJECTS, code_of, draw_mutants, measure, mirrored_tests, report
from benchmarks.record import ROOT

CODE = '''"""Sizes."""


def is_large(size: int | None, limit: int = 10) -> bool:
    """Return whether a size is above the limit."""
    return size is not None and size > limit
'''
TESTS = """from nanogpt.sizes import is_large


def test_large():
    assert is_large(12)
    assert not is_large(8)
    assert not is_large(None)
"""
SIZES = ("sizes", "tools/*")


@pytest.fixture
def tree(tmp_path):
    """A git checkout with one module and its tests."""
    files = {"nanogpt/__init__.py": "", "nanogpt/sizes.py": CODE, "tests/nanogpt/test_sizes.py": TESTS}
    for name, text in {**files, "pytest.ini": "[pytest]\naddopts = --import-mode=importlib\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def changes(drawn):
    return [(mutant.operator, mutant.before, mutant.after) for mutant in drawn]


def test_a_sample_follows_the_code_into_another_file(tree):
    code = code_of(tree, SIZES)
    sample = draw_mutants(tree, code, 4, seed=1)
    assert len({mutant.code for mutant in sample}) == 4
    assert changes(sample) != changes(draw_mutants(tree, code, 4, seed=2))
    (tree / "nanogpt/tools").mkdir()
    (tree / "nanogpt/sizes.py").rename(tree / "nanogpt/tools/sizes.py")
    assert changes(draw_mutants(tree, code_of(tree, SIZES), 4, seed=1)) == changes(sample)


def test_annotations_are_not_mutated(tree):
    assert not [mutant for mutant in draw_mutants(tree, code_of(tree, SIZES), 1000, seed=1) if "|" not in mutant.code]


@pytest.mark.slow
def test_survivors_are_what_no_test_checks(tree, monkeypatch):
    before = "return size is not None and size > limit"
    known = ("sizes", before, before.replace(">", ">="))
    monkeypatch.setattr(mutants, "EQUIVALENT", {known: "for this test"})
    result = measure(tree, "sizes", SIZES, 1000, seed=1)
    survivors = {mutant.after for mutant in result["survivors"]}
    assert survivors == {f"def is_large(size: int | None, limit: int = {limit}) -> bool:" for limit in (9, 11)}
    assert result["equivalent"] == 1
    assert result["killed"] == result["mutants"] - 3 > 5
    assert "    + def is_large(size: int | None, limit: int = 11)" in report("sizes", result)
    assert (tree / "nanogpt/sizes.py").read_text(encoding="utf-8") == CODE


@pytest.mark.slow
def test_failing_tests_are_reported(tree):
    (tree / "nanogpt/sizes.py").write_text(CODE.replace("size >", "size <"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"tests of sizes fail without a mutant(.|\n)*assert is_large"):
        measure(tree, "sizes", SIZES, 1, seed=1)


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_has_code_and_tests(name):
    code = code_of(ROOT, SUBJECTS[name])
    assert code
    assert mirrored_tests(ROOT, code)
