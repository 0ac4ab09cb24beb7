"""Markdown pages as the site has them."""

import re
from pathlib import Path

import pytest

from course.__main__ import SECTIONS
from docs.building import ROOT
from docs.building.pages import BrokenLink, contents, markdown_pages, page_name, toctrees, with_links


@pytest.fixture
def project(tmp_path):
    for name in (
        "README.md",
        "LICENSE",
        "docs/texts.md",
        "docs/beyond/rope.md",
        "docs/pictures/a.svg",
        "course/s01_bigram.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("page", "link", "on_the_site"),
    [
        ("README.md", "[a](docs/texts.md)", "[a](texts.md)"),
        ("README.md", "![a](docs/pictures/a.svg)", "![a](pictures/a.svg)"),
        ("README.md", "[`a`](course/s01_bigram.py)", "[`a`](course/s01_bigram.ipynb)"),
        ("README.md", "[a](#numbers)", "[a](#numbers)"),
        ("README.md", "[licence](LICENSE)", "licence (`LICENSE`)"),
        ("README.md", "[LICENSE](LICENSE)", "LICENSE"),
        ("docs/texts.md", "[a](../README.md#numbers)", "[a](readme.md#numbers)"),
        ("docs/beyond/rope.md", "[a](../texts.md)", "[a](../texts.md)"),
        ("docs/beyond/rope.md", "[a](../../course/s01_bigram.py)", "[a](../course/s01_bigram.ipynb)"),
        ("docs/beyond/rope.md", "[a](../pictures/a.svg)", "[a](../pictures/a.svg)"),
        ("docs/texts.md", "[folder](beyond)", "folder (`docs/beyond`)"),
        ("docs/texts.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("docs/texts.md", "`[a](nowhere.md)`", "`[a](nowhere.md)`"),
        ("docs/texts.md", "```\n[a](nowhere.md)\n```", "```\n[a](nowhere.md)\n```"),
    ],
)
def test_links_lead_to_where_things_are_on_the_site(page, link, on_the_site, project):
    assert with_links(f"See\n{link}\n", Path(page), project) == f"See\n{on_the_site}\n"


def test_a_broken_link_is_named(project):
    with pytest.raises(BrokenLink, match=r"docs/texts.md: the link 'no.md' leads to 'docs/no.md'"):
        with_links("[a](no.md)", Path("docs/texts.md"), project)


def test_contents_take_what_is_there_in_their_order_and_all_of_it():
    pages = [
        "index",
        "readme",
        "studio",
        "texts",
        "beyond/rope",
        "beyond/index",
        "course/s02_averaging",
        "course/s01_bigram",
        "new",
    ]
    assert contents(pages) == {
        "The course": ["course/s01_bigram", "course/s02_averaging"],
        "How to": ["texts", "studio"],
        "Beyond the course": ["beyond/index", "beyond/rope"],
        "The project": ["readme", "new"],
    }
    assert "Read me <readme>\nnew" in toctrees(pages)


def test_every_page_of_the_project_is_in_the_contents():
    names = [page_name(path.as_posix()).rpartition(".")[0] for path in markdown_pages()]
    assert {"index", "readme", "texts", "reference/model"} <= set(names)
    assert sum(map(len, contents(names).values())) == len(names) - 1


def test_the_first_page_leads_to_every_section():
    first = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"\(\.\./course/(\w+)\.py\)", first) == list(SECTIONS)
