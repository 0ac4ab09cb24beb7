"""Log-probabilities against the model, one forward pass per token."""

import asyncio

import pytest
import torch
from served import by_hand, job_of, read

from nanogpt.serving.jobs import score_prompt


@pytest.mark.parametrize("length", [1, 2, 11, 12, 13, 40])
def test_prompts_shorter_and_longer_than_the_context(run, length):
    ids = torch.arange(length) * 7 % run.tokenizer.vocab_size
    found = [one for some in score_prompt(run.model, ids, 3) for one in some]
    assert len(found) == length - 1
    if not found:
        return
    wanted = by_hand(run.model, ids.tolist())
    values = wanted.gather(1, ids[1:, None])[:, 0]
    torch.testing.assert_close(torch.tensor([one.value for one in found]).double(), values, atol=1e-4, rtol=0)
    top, where = wanted.topk(3)
    assert [[token for token, _ in one.top] for one in found] == where.tolist()
    values = torch.tensor([[value for _, value in one.top] for one in found]).double()
    torch.testing.assert_close(values, top, atol=1e-4, rtol=0)


def test_tokens_of_texts_in_one_batch(run, engines):
    engine = engines(run)

    async def ask(prompt, logprobs, **sampling):
        job = job_of(run, prompt, tokens=25, logprobs=logprobs, **sampling)
        engine.submit(job)
        return [one async for updates in job.updates() for one in updates]

    async def all_of_them():
        return await asyncio.gather(
            ask("the", None, seed=6), ask("hello", 4, temperature=0.3, top_k=2), ask("o", 0, seed=5)
        )

    third, first, second = asyncio.run(all_of_them())
    assert all(one.score is None for one in third)
    assert all(one.score.top == () for one in second)
    for prompt, updates in (("hello", first), ("o", second)):
        ids = [*run.tokenizer.encode(prompt).tolist(), *(one.token for one in updates)]
        wanted = by_hand(run.model, ids)[len(prompt) - 1 :]
        values = [wanted[i, one.token].item() for i, one in enumerate(updates)]
        assert [one.score.value for one in updates] == pytest.approx(values, abs=1e-4)
    assert all(len(one.score.top) == 4 for one in first)


def test_a_prompt_alone(run, engines):
    engine = engines(run)

    async def ask():
        job = job_of(run, "hello", "he", tokens=0, logprobs=1, score_prompts=True, samples=2)
        engine.submit(job)
        return await read(job), job.prompt_scores

    texts, scores = asyncio.run(ask())
    assert texts == [""] * 4
    assert [len(each) for each in scores] == [4, 1]
    assert engine.steps == 0
