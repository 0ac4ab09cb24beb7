"""Each text follows from its prompt, settings and seed, whatever is generated with it; how texts end and stop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import BLOCK, PRESETS, V, plain_tokens, refuses, tiny_config, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.sampling.generate import (
    Batch,
    TextStream,
    default_batch_size,
    encode_prompt,
    generate_ids,
    generate_text,
    stream_text,
    window_start,
)
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer

LETTERS = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz0123456789"[: V - 1])
END = LETTERS.end_of_document
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)
LENGTHS = (1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK)
PROMPTS = [token_ids(length, seed=length) for length in LENGTHS]


def generated_rows(model, prompts, config):
    """The tokens of each row."""
    return [list(row) for row in zip(*(step.values() for step in generate_ids(model, prompts, config)))]


# Tokens


@EACH_PRESET
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"temperature": 0.9, "repetition_penalty": 1.3, "seed": 5}])
def test_tokens_are_those_of_the_definition(preset, settings):
    model, config = tiny_model(preset), SampleConfig(tokens=2 * BLOCK + 3, samples=2, **settings)
    expected = [plain_tokens(model, prompt, config, sample) for prompt in PROMPTS for sample in range(2)]
    assert generated_rows(model, PROMPTS, config) == expected


@pytest.mark.parametrize("position", ["rope", "learned", "sinusoidal"])
def test_prompts_of_different_lengths_within_documents(position):
    model = tiny_model(position=position, mask_documents=True, document_token=V - 1, n_kv_head=1)
    prompts = [torch.cat([ids, torch.tensor([V - 1, 2, 3])]) for ids in PROMPTS]
    config = SampleConfig(tokens=2 * BLOCK, temperature=2.0)
    assert generated_rows(model, prompts, config) == [plain_tokens(model, prompt, config) for prompt in prompts]


SETTINGS = ({"temperature": 0.0}, {"temperature": 1.1, "seed": 3}, {"repetition_penalty": 1.7, "seed": 5})
SETTINGS += ({"top_k": 7, "top_p": 0.9}, {"repetition_penalty": 1.7, "seed": 7}, {"min_p": 0.05})


@EACH_PRESET
def test_rows_of_their_own_settings_join_and_leave(preset):
    """Of six texts, three at a time: a row that leaves makes way for the next."""
    model, found = tiny_model(preset), {}
    batch, waiting = Batch(model, 3), list(zip(PROMPTS, SETTINGS, (5, 2 * BLOCK, 3, 17, BLOCK, 1)))
    expected = [
        plain_tokens(model, prompt, SampleConfig(**one), number, tokens)
        for number, (prompt, one, tokens) in enumerate(waiting)
    ]
    left = iter(enumerate(waiting))
    while len(found) < 6 or batch.rows:
        while len(found) < 6 and len(batch.rows) < 3:
            number, (prompt, settings, _) = next(left)
            found[batch.join(prompt, SampleConfig(**settings), number)] = []
        for row, token in zip(list(batch.rows), batch.step()):
            found[row].append(token)
            if len(found[row]) == waiting[row.number][2]:
                batch.leave(row)
    assert list(found.values()) == expected


@given(st.integers(1, 2000), st.integers(1, 70))
def test_a_window_holds_at_most_a_block_and_never_less_than_half(position, block_size):
    start = window_start(position, block_size)
    length, before = position - start, window_start(position - 1, block_size) if position > 1 else 0
    assert 1 <= length <= block_size
    assert start == 0 or length >= max(1, block_size // 2)
    assert start >= before
    if start != before:
        assert length == max(1, block_size // 2)
        assert position - 1 - before == block_size


def test_windows_by_hand():
    assert [window_start(position, 5) for position in range(1, 16)] == [0] * 5 + [4] * 4 + [8] * 4 + [12] * 2
    assert [window_start(position, 1) for position in range(1, 5)] == [0, 1, 2, 3]


def test_a_full_batch_takes_no_more_and_keeps_a_window_of_each_row():
    batch = Batch(tiny_model(), 1)
    batch.join(token_ids(7 * BLOCK), SampleConfig())
    refuses(lambda: batch.join(token_ids(3), SampleConfig()), "all 1 rows are taken")
    for _ in range(3 * BLOCK):
        batch.step()
        assert len(batch.rows[0].window) <= BLOCK + 1
    assert batch.rows[0].position == 10 * BLOCK
    refuses(lambda: list(generate_ids(tiny_model(), [], SampleConfig())), "no prompt")


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-40, 1e-21, 0.8])
def test_a_temperature_near_0_takes_the_likeliest_and_a_diverged_model_is_reported(temperature):
    """Divided by such a temperature the logits of a sound model would not be numbers."""
    model, prompt, config = tiny_model(), token_ids(3), SampleConfig(temperature=temperature, tokens=2 * BLOCK)
    found, cold = (
        [*generate_ids(model, prompt, one)] for one in (config, SampleConfig(temperature=0.0, tokens=2 * BLOCK))
    )
    assert (found == cold) == (temperature < 0.8)
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    refuses(lambda: next(generate_ids(model, prompt, config)), "not numbers", "diverged")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", ["to its end", "closed", "streamed and closed", "refused"])
def test_generation_is_lazy_in_evaluation_mode_and_restores_each_modules_mode(how, precision):
    model, state = tiny_model("gpt2", dropout=0.5).train(), torch.get_rng_state()
    config = SampleConfig(tokens=3 if how == "to its end" else 10**9, precision=precision)
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    if how == "to its end":
        assert len(list(generate_ids(model, token_ids(3), config))) == 3
    elif how == "refused":
        with torch.no_grad():
            model.lm_head.weight.fill_(torch.nan)
        refuses(lambda: list(generate_ids(model, token_ids(3), config)), "not numbers")
    else:
        streamed = how.startswith("streamed")
        found = stream_text(model, LETTERS, "a", config) if streamed else generate_ids(model, token_ids(3), config)
        next(found)
        # In a lower precision a copy generates.
        assert precision != "float32" or not any(module.training for module in model.modules())
        found.close()
    assert [module.training for module in model.modules()] == modes
    assert how == "refused" or torch.equal(state, torch.get_rng_state())


def test_how_many_rows_are_generated_at_once():
    """64, or as many as have 1 GiB of keys and values: 2 x 12 layers x 1024 positions x 768 channels x 4 bytes each."""
    sizes = {"block_size": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768, "head_size": None}
    assert default_batch_size(tiny_config().model) == 64
    assert default_batch_size(tiny_config(**sizes).model) == 14
    assert default_batch_size(tiny_config(**sizes | {"block_size": 2**20}).model) == 1


# Text


def written(monkeypatch, *ids, tokenizer=LETTERS, stop=()):
    """Pieces and texts of samples that generate these tokens, whatever the model predicts."""

    class Script(Batch):
        def _draw(self, indices):
            rows = [self.rows[index] for index in indices]
            return torch.tensor([ids[row.number][row.position - 1] for row in rows])  # the prompt has one token

    monkeypatch.setattr("nanogpt.sampling.generate.Batch", Script)
    config = SampleConfig(samples=len(ids), stop=stop, tokens=len(ids[0]))
    pieces = list(stream_text(tiny_model(vocab_size=tokenizer.vocab_size), tokenizer, "a", config))
    return [list(sample) for sample in zip(*pieces)]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("abcabdxyz", ("abd",), ["", "", "abc", "", "", ""]),  # across tokens
        ("abcab", ("nothere",), ["a", "b", "c", "a", "b", ""]),
        ("abcabdxyz", ("xyz", "bd"), ["a", "", "bc", "a", "", ""]),
        ("xyz", ("z!", "yz!"), ["x", "", "", "yz"]),  # what was held back comes at the end
        ("aabab", ("abc",), ["", "a", "", "ab", "", "ab"]),  # what could become a stop string is held back
    ],
)
def test_stop_strings(text, stop, expected, monkeypatch):
    (found,) = written(monkeypatch, LETTERS.encode(text).tolist(), stop=stop)
    assert found == expected


@pytest.mark.parametrize(
    ("ids", "stop", "expected"),
    [
        (ByteTokenizer().encode("é😀a").tolist(), (), ["", "é", "", "", "", "😀", "a", ""]),  # whole characters
        ([195], (), ["", "\ufffd"]),
        (ByteTokenizer().encode("aéb😀c").tolist(), ("b😀",), ["a", "", "é", "", "", "", "", ""]),
    ],
)
def test_bytes(ids, stop, expected, monkeypatch):
    assert written(monkeypatch, ids, tokenizer=ByteTokenizer(), stop=stop) == [expected]


@pytest.fixture
def rows_of_steps(monkeypatch):
    """How many rows each step of generation computes."""
    seen, step = [], Batch.step
    monkeypatch.setattr(Batch, "step", lambda batch: seen.append(len(batch.rows)) or step(batch))
    return seen


def test_each_sample_ends_by_itself_and_is_not_computed_further(rows_of_steps, monkeypatch):
    a, b, c = LETTERS.encode("abc").tolist()
    found = written(monkeypatch, [a, END, a, a], [b, b, END, b], [c, c, c, c], [b, c, a, a], stop=("ca",))
    assert ["".join(pieces) for pieces in found] == ["a", "bb", "cccc", "b"]
    assert rows_of_steps == [4, 4, 3, 1]


@EACH_PRESET
def test_of_many_texts_some_begin_when_others_have_ended(preset, rows_of_steps, monkeypatch):
    """Each is what it is alone; keys and values take the memory of three."""
    model, config = tiny_model(preset), SampleConfig(tokens=2 * BLOCK, samples=2, stop=("a", "7"), temperature=1.3)
    prompts = ["cat", "", "a" * 2 * BLOCK, "7b", "dog"]
    each = [text for prompt in prompts for text in generate_text(model, LETTERS, prompt, config)]
    rows = [*zip(*stream_text(model, LETTERS, "cat", config))]
    assert each[:2] == ["".join(pieces) for pieces in rows]
    rows_of_steps.clear()
    monkeypatch.setattr("nanogpt.sampling.generate.default_batch_size", lambda config: 3)
    assert generate_text(model, LETTERS, prompts, config) == each
    assert len(set(map(len, each))) > 3  # some ended early
    assert max(rows_of_steps) == 3
    assert sum(rows_of_steps) < 10 * 2 * BLOCK


@pytest.mark.parametrize(
    ("tokenizer", "ids"),
    [(LETTERS, [0]), (CharTokenizer("ab\n"), [2]), (CharTokenizer("xyz"), [0]), (ByteTokenizer(), [10])],
)
def test_an_empty_prompt_starts_after_a_newline_or_the_first_token(tokenizer, ids):
    assert encode_prompt(tokenizer, "").tolist() == ids


def test_unknown_characters_of_a_prompt():
    assert encode_prompt(LETTERS, "ÄÖ", "skip").tolist() == [0]
    assert encode_prompt(LETTERS, "Äa", "skip").tolist() == [1]
    refuses(lambda: encode_prompt(LETTERS, "ÄÖ"), "'Ä' 'Ö'")


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stopping_on_the_way_is_cutting_the_whole(text, stops):
    stream = TextStream(CharTokenizer("ab"), tuple(stops))
    found = "".join(stream.feed(token) for token in CharTokenizer("ab").encode(text)) + stream.flush()
    # The first position, in reading order, at which some stop string has been completed.
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)]
    if ends:
        text = text[: min(text[: ends[0]].find(stop) for stop in stops if text[: ends[0]].endswith(stop))]
    assert found == text
