"""The library as a whole: what it never calls, what the course may import, what is imported when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nanogpt

ROOT = Path(nanogpt.__file__).parents[1]
LIBRARY = sorted((ROOT / "nanogpt").rglob("*.py"))
SOURCES = LIBRARY + sorted((ROOT / "course").rglob("*.py"))

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("os", "system")}
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib"}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled_or_executed_and_packages_keep_apart(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        match node:
            case ast.Call(func=ast.Name(id=name)):
                assert name not in FORBIDDEN_CALLS, f"line {node.lineno}: {name}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load" | "save"), keywords=keywords):
                assert "allow_pickle" in {keyword.arg for keyword in keywords}, f"line {node.lineno}"
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                assert (module, name) not in FORBIDDEN_ATTRIBUTES, f"line {node.lineno}: {module}.{name}"
            case ast.keyword(arg="allow_pickle" | "shell", value=ast.Constant(value=value)):
                assert value is False
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                modules = [module]
        for module in modules:
            package = module.split(".")[0]
            assert package not in FORBIDDEN_MODULES
            if path in LIBRARY:
                assert package != "course"
            elif package == "nanogpt":
                assert module in ("nanogpt.text.corpus", "nanogpt.errors")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_does_next_to_nothing():
    code = """
import sys, nanogpt, nanogpt.config, nanogpt.text.corpus, nanogpt.errors, nanogpt.runs.plan, nanogpt.cli
print(*{"torch", "numpy", "rich", "shtab", "safetensors", "platformdirs", "tokenizers"} & sys.modules.keys())
"""
    assert python(code).strip() == ""


@pytest.mark.slow
def test_every_module_can_be_imported_and_is_silent():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in LIBRARY]
    names.remove("nanogpt.__main__")
    assert python(f"import importlib\nfor name in {names}: importlib.import_module(name)") == ""
