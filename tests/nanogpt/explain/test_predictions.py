"""How likely tokens were: by hand, and as generation saw them."""

import math

import pytest
import torch
from kinds import LETTERS, check_left_alone, logits_of, model_of
from tiny import BLOCK, V, generated, plain_tokens, refuses, token_ids
from vocabularies import END, TOOL, qwen_tables

from nanogpt.config import SampleConfig
from nanogpt.explain.predictions import Choice, alternatives, choice, score, visible_text
from nanogpt.sampling.filters import draw
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, ByteTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

SMALL = CharTokenizer(" abc")
LOGITS = torch.tensor([1.0, 8.0, 2.0, 4.0, 1.0]).log()  # probabilities 1/16, 1/2, 1/8, 1/4, 1/16


def test_the_likeliest_by_hand():
    found = alternatives(LOGITS, SMALL)
    assert [(one.token, one.text, one.rank) for one in found] == [
        (1, "a", 1), (3, "c", 2), (2, "b", 3), (0, "␣", 4), (4, "<|endoftext|>", 5),
    ]  # fmt: skip
    assert [one.probability for one in found] == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16])
    assert [one.bits for one in found] == pytest.approx([1, 2, 3, 4, 4])
    assert alternatives(LOGITS, SMALL, 3) == found[:3]


@pytest.mark.parametrize("logits", [LOGITS, torch.zeros(5), torch.tensor([0.1, -0.7, 0.1, 0.1, 2.0])])
def test_a_choice_is_one_of_the_alternatives(logits):
    found = alternatives(logits, SMALL)
    assert [choice(logits, SMALL, one.token) for one in found] == found
    assert [one.rank for one in found] == [1, 2, 3, 4, 5]


def test_certain_and_impossible_tokens():
    logits = torch.tensor([-torch.inf, 3.0, -torch.inf, -torch.inf, -torch.inf])
    assert choice(logits, SMALL, 1) == Choice(token=1, text="a", probability=1.0, bits=0.0, rank=1)
    assert choice(logits, SMALL, 3) == Choice(token=3, text="c", probability=0.0, bits=math.inf, rank=4)
    assert math.copysign(1, choice(logits, SMALL, 1).bits) == 1


def test_refusals():
    refuses(lambda: alternatives(LOGITS, SMALL, 0), "count is 0")
    refuses(lambda: choice(LOGITS, SMALL, 5), "token 5", "0 to 4")
    refuses(lambda: choice(LOGITS, SMALL, -1), "token -1")
    refuses(lambda: alternatives(torch.tensor([0, torch.nan, 0, 0, 0]), SMALL), "not numbers")
    refuses(lambda: choice(torch.tensor([0, torch.inf, 0, 0, 0]), SMALL, 2), "not numbers")


@pytest.mark.parametrize("length", [1, 3, BLOCK, BLOCK + 2])
@pytest.mark.parametrize(("module", "tokens_of"), [("nanogpt.sampling.generate", generated), ("tiny", plain_tokens)])
def test_probabilities_are_those_that_a_text_was_drawn_from(model, length, module, tokens_of, monkeypatch):
    seen = []

    def watch(logits, numbers):
        seen.append(logits[0].double().softmax(-1))
        return draw(logits, numbers)

    monkeypatch.setattr(f"{module}.draw", watch)
    prompt = token_ids(length)
    config = SampleConfig(tokens=3 * BLOCK, temperature=1.0)
    ids = prompt.tolist() + tokens_of(model, prompt, config)
    found = score(model, LETTERS, ids, length)
    assert [one.token for one in found] == ids[length:]
    wanted = [float(shares[token]) for shares, token in zip(seen, ids[length:])]
    assert [one.probability for one in found] == pytest.approx(wanted, rel=2e-4)


def test_a_score_is_the_choice_at_each_position():
    model, ids = model_of("biased"), token_ids(BLOCK).tolist()
    logits = logits_of(model, ids)
    for place, one in enumerate(score(model, LETTERS, ids), start=1):
        wanted = choice(logits[place - 1], LETTERS, ids[place])
        assert (one.token, one.text, one.rank) == (wanted.token, wanted.text, wanted.rank)
        assert (one.probability, one.bits) == pytest.approx((wanted.probability, wanted.bits), rel=1e-4)


@pytest.mark.parametrize("start", [2, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK, 3 * BLOCK, 3 * BLOCK + 1])
def test_the_start_changes_no_score(start):
    model, ids = model_of("modern"), token_ids(3 * BLOCK + 1).tolist()
    whole, found = score(model, LETTERS, ids, 1), score(model, LETTERS, ids, start)
    assert len(whole) == 3 * BLOCK
    assert [one.token for one in found] == ids[start:]
    assert [one.bits for one in found] == pytest.approx([one.bits for one in whole[start - 1 :]], rel=1e-4)


def test_logits_are_computed_in_parts(monkeypatch):
    model, ids = model_of("modern"), token_ids(2 * BLOCK).tolist()
    whole, sizes = score(model, LETTERS, ids), []
    monkeypatch.setattr("nanogpt.explain.predictions.MAX_LOGITS", 3 * V)
    model.lm_head.register_forward_hook(lambda module, args, output: sizes.append(output.numel() // V))
    found = score(model, LETTERS, ids)
    assert max(sizes) == 3
    assert [one.bits for one in found] == pytest.approx([one.bits for one in whole], rel=1e-5)


def test_texts_that_cannot_be_scored():
    model = model_of("gpt2")
    refuses(lambda: score(model, LETTERS, [1, 2, 3], 0), "start is 0")
    refuses(lambda: score(model, LETTERS, [1, 2, 3], 4), "start is 4", "3 tokens")
    refuses(lambda: score(model, LETTERS, [1, 2, V], 1), f"token {V}")
    refuses(lambda: score(model, LETTERS, [1, -2, 3], 2), "token -2")


def test_the_model_is_left_alone():
    check_left_alone(model_of("lecture", dropout=0.5), lambda model: score(model, LETTERS, [1, 2, 3]))


CHARACTERS = "\t\n\r aé語\u200b\xa0\x00\U0001f600"
LETTER = {byte: character for character, byte in BYTE_OF.items()}
SPACE, *PARTS = (LETTER[byte] for byte in " 語".encode())


@pytest.mark.parametrize(
    ("tokenizer", "text", "wanted"),
    [
        (
            CharTokenizer(CHARACTERS),
            CHARACTERS,
            ["⇥", "↵", "␍", "␣", "a", "é", "語", "‹U+200B›", "‹U+00A0›", "‹U+0000›", "😀"],
        ),
        (ByteTokenizer(), "a é\n", ["a", "␣", "‹C3›", "‹A9›", "↵"]),
        (BpeTokenizer.train(["the 語 the 語 the 語\n"] * 9, 272), "the 語 the\n", ["the", "␣語", "␣the", "↵"]),
        (ForeignTokenizer(qwen_tables(), TOOL + 3, END), " the land", ["␣the", "␣", "l", "and"]),
    ],
    ids=["char", "byte", "bpe", "foreign"],
)
def test_visible_texts(tokenizer, text, wanted):
    assert [visible_text(tokenizer, int(token)) for token in tokenizer.encode(text)] == wanted


@pytest.mark.parametrize(
    ("tokenizer", "token", "wanted"),
    [
        (CharTokenizer("a\udcc3"), 1, "‹U+DCC3›"),  # half a character, not a byte
        (CharTokenizer("abc"), 3, "<|endoftext|>"),
        (ByteTokenizer(), 256, "<|endoftext|>"),
        (ForeignTokenizer(qwen_tables(), TOOL + 3, END), END, "<|endoftext|>"),
        (ForeignTokenizer(qwen_tables(), TOOL + 3, END), TOOL, "<tool>"),
        (ForeignTokenizer(qwen_tables(), TOOL + 3, END), TOOL + 1, f"<|unused_{TOOL + 1}|>"),  # a row of the model only
    ],
)
def test_names_of_tokens_without_text(tokenizer, token, wanted):
    assert visible_text(tokenizer, token) == wanted
