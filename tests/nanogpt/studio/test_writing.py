"""Text and its branches without a page: the tokens are the library's own, and so are their probabilities."""

import base64
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import BLOCK, PRESETS, V, refuses, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.explain.predictions import score
from nanogpt.sampling.generate import generate_ids
from nanogpt.studio.writing import Branch, Tree, pieces, read, write
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer

SETTINGS = [
    {"temperature": 1.3},
    {"temperature": 0.0},
    {"top_k": 5, "seed": 3},
    {"top_p": 0.6},
    {"min_p": 0.2, "temperature": 2.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_tokens_are_those_of_the_library(preset, settings):
    model, prompt = tiny_model(preset), token_ids(4)
    config = SampleConfig(tokens=2 * BLOCK + 3, **settings)
    wanted = [row[0] for row in generate_ids(model, prompt, config)]
    assert [token for token, _ in write(model, prompt.tolist(), config)] == wanted


def test_writing_on_is_writing_at_once():
    model, prompt = tiny_model(), token_ids(3).tolist()
    whole = [token for token, _ in write(model, prompt, SampleConfig(tokens=17))]
    first = [token for token, _ in write(model, prompt, SampleConfig(tokens=6))]
    then = [token for token, _ in write(model, prompt + first, SampleConfig(tokens=11))]
    assert first + then == whole


def test_it_stops_before_the_end_of_document():
    model, prompt = tiny_model(), token_ids(3).tolist()
    whole = [token for token, _ in write(model, prompt, SampleConfig(tokens=20))]
    end = whole[7]
    assert [token for token, _ in write(model, prompt, SampleConfig(tokens=20), end)] == whole[: whole.index(end)]


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_read_again_is_what_was_written(preset):
    """Beyond block_size too, where windows begin anew: a restored text must show the numbers it was drawn by."""
    model, prompt = tiny_model(preset), token_ids(4).tolist()
    written = list(write(model, prompt, SampleConfig(tokens=3 * BLOCK, temperature=1.0)))
    ids = prompt + [token for token, _ in written]
    found = dict(read(model, ids))
    assert list(found) == list(range(1, len(ids)))
    for place, (_, logits) in enumerate(written, start=len(prompt)):
        torch.testing.assert_close(found[place], logits, rtol=1e-4, atol=1e-4)
    assert list(dict(read(model, ids, first=17))) == list(range(17, len(ids)))


def test_probabilities_are_those_of_explain():
    model, tokenizer = tiny_model(), CharTokenizer("".join(chr(65 + i) for i in range(V)), end_of_document=False)
    ids = token_ids(2 * BLOCK + 5).tolist()
    wanted = score(model, tokenizer, ids)
    for one, (place, logits) in zip(wanted, read(model, ids)):
        assert one.probability == pytest.approx(float(logits.softmax(-1)[ids[place]]), rel=1e-4)


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), BpeTokenizer.train(["a né né né"], 260)], ids=["byte", "bpe"])
def test_pieces_add_up_to_the_text(tokenizer):
    ids = tokenizer.encode("né — 日本").tolist()
    parts = pieces(tokenizer, ids)
    assert len(parts) == len(ids)
    assert "".join(parts) == "né — 日本"


def test_pieces_leave_a_character_open_until_it_is_whole():
    assert pieces(ByteTokenizer(), list("é".encode())) == ["", "é"]


class TestTree:
    def make(self):
        """0 1 2 | 3 4 5 6 7 and branches: at 5 (token 50), and in that one at 6 (token 60)."""
        tree = Tree.begin([0, 1, 2])
        for token in (3, 4, 5, 6, 7):
            tree.add(token)
        assert tree.choose(5, 50)
        tree.add(51)
        tree.add(52)
        assert tree.choose(6, 60)
        tree.add(61)
        return tree

    def test_a_choice_branches_and_what_was_written_stays(self):
        tree = self.make()
        assert tree.path(0) == [0, 1, 2, 3, 4, 5, 6, 7]
        assert tree.path(1) == [0, 1, 2, 3, 4, 50, 51, 52]
        assert tree.path() == [0, 1, 2, 3, 4, 50, 60, 61]
        assert tree.by_hand() == [5, 6]

    def test_one_walks_back(self):
        tree = self.make()
        assert tree.back() == 6
        assert tree.path() == [0, 1, 2, 3, 4, 50, 51, 52]
        assert tree.back() == 5
        assert tree.path() == [0, 1, 2, 3, 4, 5, 6, 7]
        assert tree.back() is None

    def test_the_same_choice_again_finds_its_branch(self):
        tree = self.make()
        tree.current = 0
        assert not tree.choose(5, 50)
        assert tree.path()[:6] == [0, 1, 2, 3, 4, 50]
        assert len(tree.branches) == 3

    def test_the_token_that_stands_there_is_no_choice(self):
        tree = self.make()
        assert not tree.choose(1, 1)
        assert len(tree.branches) == 3

    def test_a_branch_before_another_hangs_on_the_text_itself(self):
        """Chosen in a branch, but left of where it began: the new one must not carry the branch's own tokens."""
        tree = self.make()
        assert tree.choose(4, 40)
        assert tree.path() == [0, 1, 2, 3, 40]
        assert tree.branches[-1].parent == 0
        assert tree.by_hand() == [4]

    def test_what_a_branch_does_not_reach_was_not_chosen_in_it(self):
        """An address may hang a branch left of where its parent began: the parent's own choice is not in it."""
        tree = self.make()
        tree.branches.append(Branch(1, 4, [40, 41, 42]))
        tree.current = 3
        assert tree.path() == [0, 1, 2, 3, 40, 41, 42]
        assert tree.by_hand() == [4]

    def test_the_place_of_a_branch_can_be_chosen_again(self):
        tree = self.make()
        assert tree.choose(6, 66)
        assert tree.path() == [0, 1, 2, 3, 4, 50, 66]
        assert tree.branches[-1].parent == 1

    @pytest.mark.parametrize("place", [0, -1, 8])
    def test_places_that_there_are_not(self, place):
        refuses(lambda: self.make().choose(place, 9), str(place))

    def test_packed_and_unpacked(self):
        tree = self.make()
        assert Tree.unpack(tree.pack(), 100) == tree

    @given(st.lists(st.integers(0, 50_000), min_size=1, max_size=300), st.data())
    def test_any_tree_survives_the_address(self, ids, data):
        tree = Tree.begin(ids[: data.draw(st.integers(1, len(ids)))])
        for token in ids[len(tree.path()) :]:
            tree.add(token)
        for _ in range(data.draw(st.integers(0, 4))):
            if len(tree.path()) > 1:
                tree.choose(data.draw(st.integers(1, len(tree.path()) - 1)), data.draw(st.integers(0, 50_000)))
        packed = tree.pack()
        assert Tree.unpack(packed, 50_001) == tree
        assert packed.replace("-", "").replace("_", "").isalnum()

    @given(st.text(max_size=50))
    def test_what_is_no_tree_is_refused(self, text):
        refuses(lambda: Tree.unpack(text, 100), "address")

    def test_another_models_tokens_are_refused(self):
        refuses(lambda: Tree.unpack(self.make().pack(), 61), "another model's")

    @pytest.mark.parametrize(
        "numbers",
        [
            (0, 0, 1, 0, 0, 1, 5),  # no prompt
            (2, 0, 1, 0, 0, 1, 5),  # a prompt longer than the text
            (1, 1, 1, 0, 0, 1, 5),  # a current branch that there is not
            (1, 0, 2, 0, 0, 2, 5, 6, 3, 1, 1, 7),  # a parent that comes later
            (1, 0, 2, 0, 0, 2, 5, 6, 1, 2, 1, 7),  # a branch beyond the end
            (1, 0, 2, 0, 0, 2, 5, 6, 1, 0, 1, 7),  # a branch before the first token
            (1, 0, 2, 0, 0, 1, 5, 0, 0, 1, 5),  # two beginnings
            (1, 0, 1, 0, 0, 1),  # cut off
            (1, 0, 0),  # nothing
        ],
    )
    def test_trees_that_cannot_be(self, numbers):
        packed = base64.urlsafe_b64encode(zlib.compress(bytes(numbers))).decode()
        refuses(lambda: Tree.unpack(packed, 100), "address")

    def test_a_small_text_that_unfolds_to_a_huge_one_is_refused(self):
        packed = base64.urlsafe_b64encode(zlib.compress(bytes(50_000_000), 9)).decode()
        assert len(packed) < 100_000
        refuses(lambda: Tree.unpack(packed, 100), "address")

    @pytest.mark.parametrize("parent", [1, 2], ids=["of the text", "each of the one before"])
    def test_an_address_with_no_end_of_branches_is_refused(self, parent):
        """A link of a few hundred letters would keep the model, and the page, busy for hours."""
        tree = Tree(1, [Branch(None, 0, [1] * 50)])
        for number in range(3000):
            tree.branches.append(Branch(0 if parent == 1 else number, 49, [2]))
        packed = tree.pack()
        assert len(packed) < 6000
        refuses(lambda: Tree.unpack(packed, 100), "address")
