"""`python -m docs.building`: assemble the site's pages, build them with Sphinx, check the links, say where they are.

    python -m docs.building                 the whole site, each section trained as it is in the course
    python -m docs.building --steps 20      a quick build, which says so on each page

Nothing is downloaded: the sections are trained if Tiny Shakespeare is on this machine (`NANOGPT_DATA`, or the cache).
"""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from course.__main__ import SECTIONS
from docs.building import ROOT
from docs.building.check import check_site
from docs.building.notebooks import make_notebook, notebook_text
from docs.building.pages import BrokenLink, markdown_pages, page_name, toctrees, with_links
from docs.building.sections import Build, make_page
from nanogpt.files import cache_folder


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m docs.building", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, help="a quick build: so many optimizer steps for each training")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_build", help="default: docs/_build")
    given = parser.parse_args(arguments)
    if given.steps is not None and given.steps < 1:
        parser.error(f"--steps {given.steps} trains nothing; give a whole number from 1, such as 20")
    return given


def text_is_here() -> bool:
    """Whether Tiny Shakespeare is on this machine, so that no section would download it."""
    given = os.environ.get("NANOGPT_DATA")
    folders = [cache_folder(), *([Path(given)] if given else [])]
    return any((folder / "shakespeare.txt").is_file() for folder in folders)


def assemble(source: Path, build: Build) -> None:
    """Write all that Sphinx reads into a folder, and remove from it what is no longer part of the site."""
    texts = {page_name(path.as_posix()) or "": _page_text(path) for path in markdown_pages()}
    texts |= {f"course/{section}.ipynb": notebook_text(make_page(section, build)) for section in SECTIONS}
    texts["index.md"] += "\n\n" + toctrees([name.rpartition(".")[0] for name in texts]) + "\n"
    texts |= {f"notebooks/{section}.ipynb": notebook_text(make_notebook(section)) for section in SECTIONS}
    pictures = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs" / "pictures").iterdir()]
    for name, text in texts.items():
        _write_if_changed(source / name, text.encode())
    for picture in pictures:
        _write_if_changed(source / picture, (ROOT / "docs" / picture).read_bytes())
    _remove_others(source, [*texts, *(picture.as_posix() for picture in pictures)])


def _page_text(path: Path) -> str:
    return with_links((ROOT / path).read_text(encoding="utf-8"), path)


def _write_if_changed(path: Path, content: bytes) -> None:
    """Sphinx reads again what is newer than its last reading."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _remove_others(folder: Path, names: Iterable[str]) -> None:
    wanted = set(names)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def run_sphinx(source: Path, out: Path) -> int:
    """Build the pages; a warning is an error. Returns the exit code."""
    from sphinx.cmd.build import main as sphinx

    _prepare_kernels(out)
    os.environ["NANOGPT_SITE_CACHE"] = str(out / "executed")
    shutil.rmtree(out / "html", ignore_errors=True)  # so that no page of an earlier build is left
    options = ["-q", "-W", "--keep-going", "-a", "-c", str(ROOT / "docs"), "-d", str(out / "doctrees")]
    return sphinx([*options, str(source), str(out / "html")])


def _prepare_kernels(out: Path) -> None:
    """Let the sections run in this environment's Python, with this project, and without what a user has set up."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = str(out / "ipython")
    # Errors alone: each kernel warns that it talks over TCP unencrypted, which here never leaves the machine.
    config = b"c.IPKernelApp.log_level = 'ERROR'\nc.InteractiveShell.colors = 'nocolor'\n"
    _write_if_changed(out / "ipython" / "profile_default" / "ipython_kernel_config.py", config)
    logging.getLogger("traitlets").setLevel(logging.WARNING)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site; returns the exit code."""
    given = read_arguments(arguments)
    out = given.out.resolve()
    build = Build(steps=given.steps, trained=text_is_here())
    if not build.trained:
        print("no Tiny Shakespeare on this machine: the sections are not trained, and show the recorded losses")
    try:
        assemble(out / "source", build)
    except BrokenLink as error:
        print(error, file=sys.stderr)
        return 1
    if code := run_sphinx(out / "source", out):
        return code
    problems = check_site(out / "html")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"the site: {out / 'html' / 'index.html'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
