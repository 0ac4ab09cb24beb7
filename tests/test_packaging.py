"""Wheel and source distribution: what is in them, and that the wheel does `make demo`'s job where nothing else is.

Both are built in a copy of the tree, by the setuptools that is here: no network. The wheel is installed into an empty
environment that finds torch and the other packages where the tests have them, and Nano-GPT nowhere but in itself.
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
"""All that a build reads, besides the packages."""
BESIDE = ("tests", "benchmarks", "course", "docs")
"""What is not to be in a wheel, and would be if it were taken for a package."""
LARGEST_BYTES = 5_000_000

pytestmark = pytest.mark.slow


def build(tree, kind, out):
    """`kind` is wheel or sdist; returns its path. What the builder says is shown where it fails."""
    out.mkdir(exist_ok=True)
    code = f"from setuptools.build_meta import build_{kind}; build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [found] = out.iterdir()
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is built, with what should stay out of it."""
    place = tmp_path_factory.mktemp("tree")
    for name in BUILT:
        shutil.copy(ROOT / name, place)
    leave = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "nanogpt", place / "nanogpt", ignore=leave)
    for name in BESIDE:
        shutil.copytree(ROOT / name, place / name, ignore=leave)
    return place


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` folder of an environment with the wheel."""
    place = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    [packages] = place.glob("lib/*/site-packages")
    # A path that a .pth file names is searched, but the .pth files in it, such as an editable Nano-GPT's, are not read.
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "others.pth").write_text("\n".join(paths) + "\n")
    return place / "bin"


def test_a_wheel_has_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {path for path in (ROOT / "nanogpt").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in source}
    assert {Path(name).parts[0] for name in names} == {"nanogpt"}
    assert wheel.stat().st_size < LARGEST_BYTES


def test_what_is_no_code_is_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in (
        "py.typed", "presets/modern.toml", "planning/forecast.toml", "interop/html/page/page.html", "studio/assets/studio.css",
        "models/starter/config.toml", "models/starter/made.json", "models/starter/checkpoints/last",
    ):  # fmt: skip
        assert f"nanogpt/{part}" in names
    assert any(name.startswith("nanogpt/starter/") and name.endswith("model.safetensors") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_a_source_distribution_builds_the_same_wheel(tree, wheel, tmp_path):
    with tarfile.open(build(tree, "sdist", tmp_path / "sdist")) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "source", filter="data")
    assert not {Path(name).parts[1] for name in names if "/" in name} & set(BESIDE)
    [source] = (tmp_path / "source").iterdir()
    again = build(source, "wheel", tmp_path / "again")
    one, other = (
        {info.filename: info.CRC for info in zipfile.ZipFile(path).infolist() if ".dist-info/" not in info.filename}
        for path in (wheel, again)
    )
    assert one == other


@pytest.mark.skipif(sys.platform == "win32", reason="the environment has another layout there")
def test_an_installed_wheel_does_what_make_demo_does(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NANOGPT_DATA")}

    def nanogpt(*words):
        done = subprocess.run(
            [installed / "nanogpt", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    where = [str(installed / "python"), "-c", "import nanogpt; print(nanogpt.__file__)"]
    assert (
        str(installed.parent) in subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    )
    first = nanogpt("sample", "--prompt", "ROMEO:", "--tokens", "20")
    assert first.stdout.startswith("ROMEO:")
    assert "this is the starter model" in first.stderr
    assert (tmp_path / "page.html").exists() is False
    nanogpt("export", "starter", "page.html", "--to", "html")
    assert (tmp_path / "page.html").stat().st_size > 1_000_000
    sizes = ["--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--block-size", "32", "--sample-tokens", "0"]
    nanogpt("train", "python", "--steps", "4", "--eval-tokens", "64", "--final-eval-tokens", "64", *sizes)
    second = nanogpt("sample", "--prompt", "def ", "--tokens", "20")
    assert second.stdout.startswith("def ")
    assert "starter" not in second.stderr
