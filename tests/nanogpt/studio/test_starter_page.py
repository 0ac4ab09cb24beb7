"""The studio before any training: the starter writes and is looked into, and the page says which model it is."""

import pytest
from studio_process import Studio

pytestmark = pytest.mark.slow
SAID = "this is the starter model that comes with Nano-GPT"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A server on a folder without runs."""
    started = Studio(tmp_path_factory.mktemp("empty"))
    yield started
    started.end()


def test_it_writes_and_says_what_it_is(visit, empty):
    window = visit("tokens=20&prompt=ROMEO:", at=empty).opened()
    assert window.page.locator("select").first.input_value() == "starter"
    assert SAID in window.page.inner_text("body")
    assert window.write().startswith("ROMEO:")


def test_it_is_looked_into(visit, empty):
    window = visit("view=inside&text=ROMEO:", at=empty).opened()
    window.page.get_by_text(SAID).first.wait_for(timeout=60_000)
