"""What an address means, without a page."""

import pytest
from tiny import trained

from nanogpt.studio.learn.arrival import settle
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


@pytest.fixture
def shelf(tmp_path):
    return Shelf(trained("shelf/run", steps=2).parent)


def test_a_run_that_is_here_and_the_newest(shelf):
    for state in (State(), State(run="run", step=1, model="0" * 12, compared=("run",)), State(step=1)):
        assert settle(shelf, state, ["run", "older"]) == (state, [])


def test_the_same_weights_under_another_name(shelf):
    model = shelf.hash_of(shelf.open("run", checkpoint=2))
    state, problems = settle(shelf, State(run="renamed", step=5, model=model), ["run"])
    assert (state.run, state.step, problems) == ("run", 2, [])
    state, _ = settle(shelf, State(run="renamed", model=model), ["run"])
    assert (state.run, state.step) == ("run", None)


def test_what_is_not_here_is_told(shelf):
    state, (run, compared) = settle(
        shelf, State(run="gone", step=1, model="0" * 12, compared=("run", "one", "two")), ["run"]
    )
    assert (state.run, state.step, state.model) == ("", None, "")
    assert run == "The address means the run 'gone', which is not here; this is run."
    assert compared == "It compares runs that are not here: 'one', 'two'."
    assert settle(shelf, State(run="gone"), [])[1] == ["The address means the run 'gone', which is not here."]
