"""Cached = uncached; batched = single; several prompts; texts that end and stop."""

import pytest
import torch
from tiny import BLOCK, PRESETS, V, refuses, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.random_streams import uniform
from nanogpt.sampling.batch import Batch
from nanogpt.sampling.cache import window_start
from nanogpt.sampling.filters import draw
from nanogpt.sampling.generate import generate_ids, generate_text, stream_text
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer

LETTERS = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz0123456789"[: V - 1])
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


# Generation


def generated(model, prompt, cached=True, **settings):
    return list(generate_ids(model, prompt, SampleConfig(**settings), cached=cached))


@EACH_PRESET
@pytest.mark.parametrize("length", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_cached_is_uncached(preset, length, temperature):
    model, prompt = tiny_model(preset), token_ids(length)
    settings = {"tokens": 3 * BLOCK, "samples": 2, "temperature": temperature, "repetition_penalty": 1.3}
    assert generated(model, prompt, cached=True, **settings) == generated(model, prompt, cached=False, **settings)


@EACH_PRESET
@pytest.mark.parametrize("cached", [True, False])
def test_the_text_follows_from_the_window_rule(preset, cached):
    model, prompt = tiny_model(preset), token_ids(3)
    ids = prompt.tolist()
    for position in range(3, 3 + 4 * BLOCK):
        context = torch.tensor([ids[window_start(position, BLOCK) :]])
        ids.append(model(context)[0, -1].argmax().item())
    found = generated(model, prompt, cached=cached, tokens=4 * BLOCK, temperature=0.0, samples=1)
    assert [row for (row,) in found] == ids[3:]


@EACH_PRESET
def test_each_token_is_drawn_with_a_number_of_its_place(preset):
    model, prompt = tiny_model(preset), token_ids(3)
    ids = prompt.tolist()
    for position in range(3, 3 + 2 * BLOCK):
        logits = model(torch.tensor([ids[window_start(position, BLOCK) :]]))[:, -1] / 0.7
        ids.append(draw(logits, [uniform(5, "sample", 0, position)]).item())
    assert [row for (row,) in generated(model, prompt, tokens=2 * BLOCK, temperature=0.7, seed=5)] == ids[3:]


@EACH_PRESET
def test_batched_is_single(preset):
    model, prompt = tiny_model(preset), token_ids(5)
    alone = generated(model, prompt, tokens=3 * BLOCK)
    three = generated(model, prompt, tokens=3 * BLOCK, samples=3)
    assert [row[:1] for row in three] == alone
    columns = list(zip(*three))
    assert len(set(columns)) == 3


@pytest.mark.parametrize(("prompt", "token"), [([V - 1], V - 2), ([V - 1] + [0] * BLOCK, V - 1)])
def test_the_penalty_sees_the_window_and_nothing_else(prompt, token):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.arange(V).float())  # always prefers the last
    found = generated(model, torch.tensor(prompt), tokens=1, temperature=0.0, repetition_penalty=2.0)
    assert found == [[token]]


def test_the_seed_decides():
    model, prompt = tiny_model(), token_ids(3)
    assert generated(model, prompt, tokens=20, seed=1) == generated(model, prompt, tokens=20, seed=1)
    assert generated(model, prompt, tokens=20, seed=1) != generated(model, prompt, tokens=20, seed=2)
    state = torch.get_rng_state()
    generated(model, prompt, tokens=3)
    assert torch.equal(state, torch.get_rng_state())


def test_generation_is_lazy_and_turns_dropout_off():
    model = tiny_model("gpt2", dropout=0.5).train()
    found = generate_ids(model, token_ids(3), SampleConfig(tokens=10**9, temperature=0.0))
    first = next(found)
    assert not model.training
    assert first == next(generate_ids(model, token_ids(3), SampleConfig(tokens=1, temperature=0.0)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", ["to its end", "closed", "streamed and closed", "refused"])
def test_afterwards_each_module_is_in_its_mode_again(how, precision):
    model, config = tiny_model("gpt2", dropout=0.5).train(), SampleConfig(tokens=3, precision=precision)
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    if how == "to its end":
        list(generate_ids(model, token_ids(3), config))
    elif how == "refused":
        with torch.no_grad():
            model.lm_head.weight.fill_(torch.nan)
        refuses(lambda: list(generate_ids(model, token_ids(3), config)), "not numbers")
    else:
        found = (
            generate_ids(model, token_ids(3), config) if how == "closed" else stream_text(model, LETTERS, "a", config)
        )
        next(found)
        assert not any(module.training for module in model.modules())
        found.close()
    assert [module.training for module in model.modules()] == modes


@EACH_PRESET
@pytest.mark.parametrize("prompt", ["", "a", "thecat", "abc" * 3 * BLOCK])
def test_every_length_of_prompt(preset, prompt):
    (text,) = generate_text(tiny_model(preset), LETTERS, prompt, SampleConfig(tokens=13, top_k=V - 5))
    assert len(text) <= 13


# Text


def spoken(monkeypatch, *ids, tokenizer=LETTERS, stop=()):
    """The pieces and the texts of samples that say these tokens, whatever the model is."""

    class Script(Batch):
        def _draw(self, logits, places):
            rows = [self.rows[place] for place in places]
            return torch.tensor([ids[row.number][row.position - 1] for row in rows])  # the prompt has one token

    monkeypatch.setattr("nanogpt.sampling.generate.Batch", Script)
    config = SampleConfig(samples=len(ids), stop=stop, tokens=len(ids[0]))
    rows = list(stream_text(tiny_model(vocab_size=tokenizer.vocab_size), tokenizer, "a", config))
    return rows, ["".join(pieces) for pieces in zip(*rows)]


def test_a_text_ends_at_the_end_of_document(monkeypatch):
    end = LETTERS.end_of_document
    rows, texts = spoken(monkeypatch, [1, 2, end, 3, 3], [3, end, 1, 1, 1])
    assert texts == ["ab", "c"]
    assert len(rows) == 3  # and nothing is generated for nobody


def test_stop_strings_across_tokens(monkeypatch):
    ids = LETTERS.encode("abcabdxyz").tolist()
    assert spoken(monkeypatch, ids, stop=("abd",))[1] == ["abc"]
    assert spoken(monkeypatch, ids, stop=("nothere",))[1] == ["abcabdxyz"]
    assert spoken(monkeypatch, ids, stop=("xyz", "bd"))[1] == ["abca"]
    assert spoken(monkeypatch, ids, stop=("z!", "yz!"))[1] == ["abcabdxyz"]  # what was held back comes at the end


def test_what_could_become_a_stop_string_is_held_back(monkeypatch):
    rows, _ = spoken(monkeypatch, LETTERS.encode("aabab").tolist(), stop=("abc",))
    assert [row[0] for row in rows] == ["", "a", "", "ab", "", "ab"]


def test_each_sample_stops_by_itself(monkeypatch):
    _, texts = spoken(monkeypatch, LETTERS.encode("axbbb").tolist(), LETTERS.encode("bbxbb").tolist(), stop=("x",))
    assert texts == ["a", "bb"]


def test_bytes_come_as_whole_characters(monkeypatch):
    tokenizer = ByteTokenizer()
    rows, texts = spoken(monkeypatch, tokenizer.encode("é😀a").tolist(), tokenizer=tokenizer)
    assert [row[0] for row in rows] == ["", "é", "", "", "", "😀", "a", ""]
    assert texts == ["é😀a"]
    _, texts = spoken(monkeypatch, [195], tokenizer=tokenizer)
    assert texts == ["\ufffd"]


def test_a_stop_string_of_several_bytes(monkeypatch):
    tokenizer = ByteTokenizer()
    assert spoken(monkeypatch, tokenizer.encode("aéb😀c").tolist(), tokenizer=tokenizer, stop=("b😀",))[1] == ["aé"]


def test_generate_text_is_the_stream_joined():
    model, config = tiny_model(), SampleConfig(tokens=25, samples=3, stop=("a", "7b"))
    rows = list(stream_text(model, LETTERS, "cat", config))
    assert generate_text(model, LETTERS, "cat", config) == ["".join(pieces) for pieces in zip(*rows)]


def counted(monkeypatch):
    """How many rows each step of generation computes."""
    seen, plain = [], Batch.step
    monkeypatch.setattr(Batch, "step", lambda batch: seen.append(len(batch.rows)) or plain(batch))
    return seen


def test_a_text_that_ended_is_not_computed_on(monkeypatch):
    seen, end = counted(monkeypatch), LETTERS.end_of_document
    assert spoken(monkeypatch, [1, end, 1, 1], [2, 2, end, 2], [3, 3, 3, 3])[1] == ["a", "bb", "cccc"]
    assert seen == [3, 3, 2, 1]


@EACH_PRESET
def test_of_many_texts_some_begin_when_others_have_ended(preset, monkeypatch):
    """Each is what it is alone; keys and values take the memory of three."""
    model, config = tiny_model(preset), SampleConfig(tokens=2 * BLOCK, samples=2, stop=("a", "7"), temperature=1.3)
    prompts = ["cat", "", "a" * 2 * BLOCK, "7b", "dog"]
    each = [text for prompt in prompts for text in generate_text(model, LETTERS, prompt, config)]
    monkeypatch.setattr("nanogpt.sampling.generate.rows_that_fit", lambda config: 3)
    seen = counted(monkeypatch)
    assert generate_text(model, LETTERS, prompts, config) == each
    assert len(set(map(len, each))) > 3  # some ended early
    assert max(seen) == 3
    assert sum(seen) < 10 * 2 * BLOCK
