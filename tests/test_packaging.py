"""Wheel and source distribution: what they hold, and that the wheel does what `make demo` does where nothing else is.

Both are built in a copy of the tree by the installed setuptools: no network. The wheel is installed into an empty
environment that finds torch and the other packages where the tests have them.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
OTHERS = ("tests", "benchmarks", "course", "docs")
"""Folders that a wheel must not take for packages"""
LARGEST_BYTES = 5_000_000

pytestmark = pytest.mark.slow


def build(tree, kind, out):
    """Build a `wheel` or `sdist`; return its path."""
    out.mkdir(exist_ok=True)
    code = f"from setuptools.build_meta import build_{kind}; build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of what is built, and of what should stay out of it."""
    place = tmp_path_factory.mktemp("tree")
    for name in BUILT:
        shutil.copy(ROOT / name, place)
    for name in ("nanogpt", *OTHERS):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return place


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the `bin` folder of an environment with the wheel."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = place.glob("lib/*/site-packages")
    # A path in a .pth file is searched, but the .pth files in it, such as an editable Nano-GPT's, are not read.
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "others.pth").write_text("\n".join(paths) + "\n")
    return place / "bin"


def contents(wheel):
    """Return the checksums of a wheel's files by name, its metadata left out."""
    return {file.filename: file.CRC for file in zipfile.ZipFile(wheel).infolist() if ".dist-info/" not in file.filename}


def test_a_wheel_has_all_files_of_the_package_and_nothing_else(wheel):
    source = {path for path in (ROOT / "nanogpt").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert set(contents(wheel)) == {path.relative_to(ROOT).as_posix() for path in source}
    assert {path.suffix for path in source} >= {".typed", ".toml", ".html", ".css", ".js", ".json", ".safetensors", ""}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
    assert wheel.stat().st_size < LARGEST_BYTES


def test_a_source_distribution_builds_the_same_wheel(tree, wheel, tmp_path):
    with tarfile.open(build(tree, "sdist", tmp_path / "sdist")) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "source", filter="data")
    assert not {Path(name).parts[1] for name in names if "/" in name} & set(OTHERS)
    (source,) = (tmp_path / "source").iterdir()
    assert contents(build(source, "wheel", tmp_path / "again")) == contents(wheel)


@pytest.mark.skipif(sys.platform == "win32", reason="environments have another layout there")
def test_an_installed_wheel_does_what_make_demo_does(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NANOGPT_DATA")}

    def run(name, *words):
        command = [installed / name, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done

    assert str(installed.parent) in run("python", "-c", "import nanogpt; print(nanogpt.__file__)").stdout
    first = run("nanogpt", "sample", "--prompt", "ROMEO:", "--tokens", "20")
    assert first.stdout.startswith("ROMEO:")
    assert "starter" in first.stderr
    run("nanogpt", "export", "starter", "page.html", "--to", "html")
    assert (tmp_path / "page.html").stat().st_size > 1_000_000
    sizes = ["--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--block-size", "32", "--sample-tokens", "0"]
    run("nanogpt", "train", "python", "--steps", "4", "--eval-tokens", "64", "--final-eval-tokens", "64", *sizes)
    second = run("nanogpt", "sample", "--prompt", "def ", "--tokens", "20")
    assert second.stdout.startswith("def ")
    assert "starter" not in second.stderr
