"""Each row of a batch has the tokens that it has alone, whoever else is there."""

import pytest
import torch
from tiny import BLOCK, PRESETS, V, refuses, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.sampling.batch import Batch
from nanogpt.sampling.generate import generate_ids

EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)
LENGTHS = (3, 1, BLOCK + 2, 3, BLOCK, 5)
SETTINGS = (
    {"temperature": 0.0},
    {"temperature": 1.1, "seed": 3},
    {"repetition_penalty": 1.7, "seed": 5},
    {"top_k": 7, "top_p": 0.9},
    {"repetition_penalty": 1.7, "seed": 7},
    {"min_p": 0.05},
)


def prompts_of(*lengths):
    return [token_ids(length, seed=number) for number, length in enumerate(lengths)]


def alone(model, prompt, tokens, number=0, **settings):
    """A text's tokens, the window read anew for each."""
    config = SampleConfig(tokens=tokens, samples=number + 1, **settings)
    return [row[number] for row in generate_ids(model, prompt, config, cached=False)]


@EACH_PRESET
@pytest.mark.parametrize("cached", [True, False])
def test_prompts_of_different_lengths(preset, cached):
    model, prompts = tiny_model(preset), prompts_of(*LENGTHS)
    config = SampleConfig(tokens=3 * BLOCK, samples=2, repetition_penalty=1.3)
    columns = list(zip(*generate_ids(model, prompts, config, cached=cached)))
    each = [list(zip(*generate_ids(model, prompt, config, cached=False))) for prompt in prompts]
    assert columns == [column for two in each for column in two]


@pytest.mark.parametrize("position", ["rope", "learned", "sinusoidal"])
def test_prompts_of_different_lengths_within_documents(position):
    model = tiny_model(position=position, mask_documents=True, document_token=V - 1, n_kv_head=1)
    prompts = [torch.cat([ids, torch.tensor([V - 1, 2, 3])]) for ids in prompts_of(*LENGTHS)]
    found = zip(*generate_ids(model, prompts, SampleConfig(tokens=2 * BLOCK, temperature=2.0)))
    assert list(map(list, found)) == [alone(model, prompt, 2 * BLOCK, temperature=2.0) for prompt in prompts]


def test_each_row_has_its_own_settings():
    model, prompts = tiny_model(), prompts_of(*LENGTHS)
    batch = Batch(model, len(prompts))
    for number, (prompt, settings) in enumerate(zip(prompts, SETTINGS)):
        batch.join(prompt, SampleConfig(**settings), number)
    found = list(zip(*(batch.step() for _ in range(2 * BLOCK))))
    for number, (prompt, settings) in enumerate(zip(prompts, SETTINGS)):
        assert list(found[number]) == alone(model, prompt, 2 * BLOCK, number, **settings)


@EACH_PRESET
@pytest.mark.parametrize("cached", [True, False])
def test_rows_join_and_leave(preset, cached):
    """Three places, six texts: whoever is finished makes room for the next."""
    model, waiting = tiny_model(preset), list(zip(prompts_of(*LENGTHS), (5, 2 * BLOCK, 3, 17, BLOCK, 1)))
    batch, found, wanted = Batch(model, 3, cached), {}, {}
    expected = [alone(model, prompt, tokens) for prompt, tokens in waiting]
    while waiting or batch.rows:
        while waiting and len(batch.rows) < 3:
            prompt, wanted_tokens = waiting.pop(0)
            row = batch.join(prompt, SampleConfig())
            found[row], wanted[row] = [], wanted_tokens
        rows = list(batch.rows)
        for row, token in zip(rows, batch.step()):
            found[row].append(token)
            if len(found[row]) == wanted[row]:
                batch.leave(row)
    assert list(found.values()) == expected


def test_a_full_batch_takes_no_more():
    batch = Batch(tiny_model(), 1)
    batch.join(token_ids(3), SampleConfig())
    refuses(lambda: batch.join(token_ids(3), SampleConfig()), "all 1 rows are taken", "leave first")


def test_what_is_kept_of_a_row_does_not_grow():
    batch = Batch(tiny_model(), 2)
    batch.join(token_ids(7 * BLOCK), SampleConfig())
    for _ in range(3 * BLOCK):
        batch.step()
        assert batch.rows[0].width <= BLOCK + 1
    assert batch.rows[0].position == 10 * BLOCK


@pytest.mark.parametrize("temperature", [0.0, 1e-40, 0.8])
def test_a_model_that_diverged_is_told_at_any_temperature(temperature):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    batch = Batch(model, 1)
    batch.join(token_ids(3), SampleConfig(temperature=temperature))
    refuses(batch.step, "not numbers", "diverged")


def test_a_temperature_near_0_takes_the_likeliest():
    """Divided by it predictions would be no numbers, and a sound model be called diverged."""
    model, prompt = tiny_model(), token_ids(3)
    wanted = alone(model, prompt, 2 * BLOCK, temperature=0.0)
    for temperature in (1e-45, 1e-40, 1e-21):
        assert alone(model, prompt, 2 * BLOCK, temperature=temperature) == wanted
