import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.studio.text_tree import Branch, TextTree


@pytest.fixture
def tree():
    """0 1 2 | 3 4 5 6 7 and branches: at 5 (token 50), and in that one at 6 (token 60)."""
    tree = TextTree.begin([0, 1, 2])
    for token in (3, 4, 5, 6, 7):
        tree.add(token)
    assert tree.choose(5, 50)
    tree.add(51)
    tree.add(52)
    assert tree.choose(6, 60)
    tree.add(61)
    return tree


def test_a_choice_branches_and_the_old_text_stays(tree):
    assert tree.path(0) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert tree.path(1) == [0, 1, 2, 3, 4, 50, 51, 52]
    assert tree.path() == [0, 1, 2, 3, 4, 50, 60, 61]
    assert tree.chosen_positions() == [5, 6]


def test_back_to_the_root(tree):
    assert (tree.back(), tree.current) == (6, 1)
    assert (tree.back(), tree.current) == (5, 0)
    assert tree.back() is None


def test_an_old_choice_or_the_present_token_makes_no_branch(tree):
    tree.current = 0
    assert not tree.choose(5, 50)
    assert tree.path()[:6] == [0, 1, 2, 3, 4, 50]
    assert not tree.choose(1, 1)
    assert len(tree.branches) == 3


@pytest.mark.parametrize(
    ("position", "parent", "path", "chosen"), [(4, 0, [0, 1, 2, 3, 99], [4]), (6, 1, [0, 1, 2, 3, 4, 50, 99], [5, 6])]
)
def test_a_branch_before_another_starts_from_the_branch_that_holds_its_position(tree, position, parent, path, chosen):
    assert tree.choose(position, 99)
    assert tree.branches[-1].parent == parent
    assert tree.path() == path
    assert tree.chosen_positions() == chosen


def test_a_choice_that_a_branch_does_not_reach_is_not_in_it(tree):
    """In an address a branch may start before its parent did."""
    tree.branches.append(Branch(1, 4, [40, 41, 42]))
    tree.current = 3
    assert tree.path() == [0, 1, 2, 3, 40, 41, 42]
    assert tree.chosen_positions() == [4]


@pytest.mark.parametrize("position", [0, -1, 8])
def test_invalid_positions(tree, position):
    refuses(lambda: tree.choose(position, 9), str(position))


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=300), st.data())
def test_any_tree_survives_the_address(ids, data):
    tree = TextTree.begin(ids[: data.draw(st.integers(1, len(ids)))])
    for token in ids[len(tree.path()) :]:
        tree.add(token)
    for _ in range(data.draw(st.integers(0, 4))):
        if len(tree.path()) > 1:
            tree.choose(data.draw(st.integers(1, len(tree.path()) - 1)), data.draw(st.integers(0, 50_000)))
    packed = tree.pack()
    assert TextTree.unpack(packed, 50_001) == tree
    assert packed.replace("-", "").replace("_", "").isalnum()


@given(st.text(max_size=50))
def test_any_other_text_is_refused(text):
    refuses(lambda: TextTree.unpack(text, 100), "address")


def test_tokens_of_another_model_are_refused(tree):
    assert TextTree.unpack(tree.pack(), 62) == tree
    refuses(lambda: TextTree.unpack(tree.pack(), 61), "another model")


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 0, 1, 0, 0, 1, 5),  # no prompt
        (2, 0, 1, 0, 0, 1, 5),  # a prompt longer than the text
        (1, 1, 1, 0, 0, 1, 5),  # a current branch that does not exist
        (1, 0, 2, 0, 0, 2, 5, 6, 3, 1, 1, 7),  # a parent that comes later
        (1, 0, 2, 0, 0, 2, 5, 6, 1, 2, 1, 7),  # a branch beyond the end
        (1, 0, 2, 0, 0, 2, 5, 6, 1, 0, 1, 7),  # a branch before the first token
        (1, 0, 2, 0, 0, 1, 5, 0, 0, 1, 5),  # two roots
        (1, 0, 1, 0, 0, 1),  # cut off
        (1, 0, 0),  # nothing
        bytes(50_000_000),  # far larger than its packed form
    ],
)
def test_invalid_trees_are_refused(numbers):
    packed = base64.urlsafe_b64encode(zlib.compress(bytes(numbers), 9)).decode()
    assert len(packed) < 100_000
    refuses(lambda: TextTree.unpack(packed, 100), "address")


@pytest.mark.parametrize("chained", [False, True])
def test_too_many_branches_are_refused(chained):
    """A link of a few hundred letters would keep the model, and the page, busy for hours."""
    tree = TextTree(1, [Branch(None, 0, [1] * 50)])
    for number in range(3000):
        tree.branches.append(Branch(number if chained else 0, 49, [2]))
    packed = tree.pack()
    assert len(packed) < 6000
    refuses(lambda: TextTree.unpack(packed, 100), "address")
