"""The library as a whole: which way imports run, what is never called, what starts quickly."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nanogpt

ROOT = Path(nanogpt.__file__).parents[1]
LIBRARY = sorted((ROOT / "nanogpt").rglob("*.py"))
SOURCES = LIBRARY + sorted((ROOT / "course").rglob("*.py"))

# What is read in an evening, and what these may use besides each other.
CORE = {
    *{"config", "corpus", "tokenizer", "data", "batches", "model", "optim", "stepper", "training", "sampling"},
    *{"checkpoint", "tensors", "folder", "keeper"},
}
BELOW = {
    *{
        "attention",
        "checks",
        "dropout",
        "errors",
        "files",
        "streams",
        "device",
        "evaluation",
        "events",
        "loss",
        "runplan",
    },
    *{"distributed", "microbatch", "positions", "rmsnorm", "parallel", "parameters"},
    *{"muon", "adamw", "groups", "lora", "eight_bits", "starter"},
    *{"generation"}
    | {f"generation.{name}" for name in ("batch", "cache", "decoder", "filters", "precision", "room", "text")},
    *{"text"} | {f"text.{name}" for name in ("bpe", "decoding", "hub", "meter", "pieces", "readers", "scan")},
    *{"text.foreign", "text.shakespeare", "text.tokenfile"},
}


def named(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path):
    """Modules of nanogpt that a file imports, wherever in it, but not for type checking alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "nanogpt"}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


GRAPH = {
    module_of(path): {name for name in imports_of(path) if name in {module_of(other) for other in LIBRARY}}
    - {"nanogpt"}
    for path in LIBRARY
}


def reachable(module):
    seen, left = set(), [module]
    while left:
        for other in GRAPH[left.pop()] - seen:
            seen.add(other)
            left.append(other)
    return seen


def test_the_core_uses_the_core_alone():
    allowed = {f"nanogpt.{name}" for name in CORE | BELOW}
    for name in CORE | BELOW:
        assert reachable(f"nanogpt.{name}") <= allowed, name


def test_the_model_file_knows_nothing_of_training():
    assert reachable("nanogpt.model.gpt") <= {
        f"nanogpt.{name}"
        for name in ("config", "attention", "checks", "dropout", "errors", "files", "positions", "rmsnorm", "streams")
    }


@pytest.mark.parametrize(
    "name", ["config", "corpus", "tokenizer", "text.bpe_files", "streams", "files", "runplan", "data", "text.readers"]
)
def test_the_lower_rooms_know_nothing_of_the_upper(name):
    upper = {"model", "batches", "training", "sampling", "evaluation", "checkpoint", "run", "launch"}
    assert reachable(f"nanogpt.{name}").isdisjoint(f"nanogpt.{other}" for other in upper)


def test_nothing_but_the_command_line_imports_the_command_line():
    for module, others in GRAPH.items():
        if not module.startswith("nanogpt.cli") and module != "nanogpt.__main__":
            assert not any(other.startswith("nanogpt.cli") for other in others), module


def test_imports_run_in_no_circle():
    # `nanogpt/__init__.py` imports lazily, and for type checkers.
    for module in GRAPH.keys() - {"nanogpt"}:
        assert module not in reachable(module), module


def test_the_library_takes_nothing_from_the_course_and_the_course_only_the_corpus():
    for path in SOURCES:
        for name in imports_of(path):
            if path in LIBRARY:
                assert not name.startswith("course"), named(path)
            elif name.startswith("nanogpt"):
                assert name in ("nanogpt.text.corpus", "nanogpt.errors"), f"{named(path)} imports {name}"


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {("torch", "load"), ("torch", "save"), ("pickle", None), ("os", "system"), ("marshal", None)}
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_nothing_is_unpickled_or_executed(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                assert name not in FORBIDDEN_CALLS, f"line {node.lineno}: {name}()"
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                assert (module, name) not in FORBIDDEN_ATTRIBUTES, f"line {node.lineno}: {module}.{name}"
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=value)):
                assert value is False
            case ast.keyword(arg="shell", value=ast.Constant(value=value)):
                assert value is False
            case ast.Import(names=names):
                assert FORBIDDEN_MODULES.isdisjoint(alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=module):
                assert (module or "").split(".")[0] not in FORBIDDEN_MODULES


@pytest.mark.parametrize("path", LIBRARY, ids=named)
def test_arrays_are_read_without_pickle(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr="load" | "save"), keywords=keywords):
                assert "allow_pickle" in {keyword.arg for keyword in keywords}, f"line {node.lineno}"


def test_every_module_says_what_it_is():
    for path in LIBRARY:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), named(path)


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_does_next_to_nothing():
    code = """
import sys, nanogpt, nanogpt.config, nanogpt.text.corpus, nanogpt.errors, nanogpt.runs.plan, nanogpt.cli
print(*{"torch", "numpy", "rich", "shtab", "safetensors", "platformdirs", "tokenizers"} & sys.modules.keys())
"""
    assert python(code).strip() == ""


@pytest.mark.slow
def test_every_module_can_be_imported_by_itself_and_is_silent():
    code = f"import importlib\nfor name in {sorted(GRAPH.keys() - {'nanogpt.__main__'})}: importlib.import_module(name)"
    assert python(code) == ""


def test_the_version_is_the_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == nanogpt.__version__
