"""Build the site: write its pages, run Sphinx on them, check the links.

    python -m docs.building                 the whole site, with each section trained
    python -m docs.building --steps 20      a quick build, which says so on each page

Nothing is downloaded: the sections are trained if Tiny Shakespeare is on this machine (`NANOGPT_DATA`, or the cache).
"""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from course.__main__ import SECTIONS
from docs.building import ROOT
from docs.building.notebooks import make_notebook, notebook_text
from docs.building.pages import BrokenLink, markdown_pages, page_name, toctrees, with_links
from docs.building.sections import Build, make_page
from nanogpt.files import cache_folder

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src"}
LOADED_LINKS = {"stylesheet", "preload", "icon", "preconnect", "modulepreload"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the site and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.building", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, help="optimizer steps per training, for a quick build")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_build", help="folder (default: docs/_build)")
    given = parser.parse_args(arguments)
    if given.steps is not None and given.steps < 1:
        parser.error(f"--steps {given.steps} trains nothing; give a whole number from 1, such as 20")
    out = given.out.resolve()
    build = Build(steps=given.steps, trained=_has_text())
    if not build.trained:
        print("no Tiny Shakespeare on this machine: the sections are not trained, and show the recorded losses")
    try:
        write_source(out / "source", build)
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


def _has_text() -> bool:
    """Return whether Tiny Shakespeare is on this machine, so that no section would download it."""
    given = os.environ.get("NANOGPT_DATA")
    folders = [cache_folder(), *([Path(given)] if given else [])]
    return any((folder / "shakespeare.txt").is_file() for folder in folders)


def write_source(source: Path, build: Build) -> None:
    """Write the files that Sphinx reads, and delete those of an earlier build that are no longer part of the site."""
    texts = {
        page_name(path.as_posix()) or "": with_links((ROOT / path).read_text(encoding="utf-8"), path)
        for path in markdown_pages()
    }
    texts |= {f"course/{section}.ipynb": notebook_text(make_page(section, build)) for section in SECTIONS}
    texts["index.md"] += "\n\n" + toctrees([name.rpartition(".")[0] for name in texts]) + "\n"
    texts |= {f"notebooks/{section}.ipynb": notebook_text(make_notebook(section)) for section in SECTIONS}
    files = {name: text.encode() for name, text in texts.items()}
    files |= {f"pictures/{path.name}": path.read_bytes() for path in (ROOT / "docs" / "pictures").iterdir()}
    for name, content in files.items():
        _write_if_changed(source / name, content)
    for path in source.rglob("*"):
        if path.is_file() and path.relative_to(source).as_posix() not in files:
            path.unlink()


def _write_if_changed(path: Path, content: bytes) -> None:
    """Leave an unchanged file alone, because Sphinx reads newer files again."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run_sphinx(source: Path, out: Path) -> int:
    """Build the HTML pages, with warnings as errors, and return the exit code."""
    from sphinx.cmd.build import main as sphinx

    _set_up_kernels(out)
    os.environ["NANOGPT_SITE_CACHE"] = str(out / "executed")
    shutil.rmtree(out / "html", ignore_errors=True)  # delete the pages of an earlier build
    options = ["-q", "-W", "--keep-going", "-a", "-c", str(ROOT / "docs"), "-d", str(out / "doctrees")]
    return sphinx([*options, str(source), str(out / "html")])


def _set_up_kernels(out: Path) -> None:
    """Run the sections with this environment's Python and this project, without the user's IPython configuration."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["IPYTHONDIR"] = str(out / "ipython")
    # Each kernel warns that it uses TCP without encryption; here the connection never leaves the machine.
    config = b"c.IPKernelApp.log_level = 'ERROR'\nc.InteractiveShell.colors = 'nocolor'\n"
    _write_if_changed(out / "ipython" / "profile_default" / "ipython_kernel_config.py", config)
    logging.getLogger("traitlets").setLevel(logging.WARNING)


class _Page(HTMLParser):
    """The ids of an HTML page, its links, and the files that it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the ids, links and loaded files of a tag."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and LOADED_LINKS & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        elif tag in LOADED and given.get(LOADED[tag]):
            self.loaded.append(given[LOADED[tag]])


def check_site(site: Path) -> list[str]:
    """Return the site's problems, one line each: broken links, and files loaded from other servers."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    return [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        for problem in _problems(path, page, pages)
    ]


def _problems(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for target in page.loaded:
        if urlsplit(target).netloc:
            yield f"loads {target} from another server"
    for target in [*page.links, *page.loaded]:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not there.exists():
            yield f"{target} does not exist"
        elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids:
            yield f"{target}: that page has no such anchor"


if __name__ == "__main__":
    sys.exit(main())
