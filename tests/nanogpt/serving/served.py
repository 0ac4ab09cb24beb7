"""Jobs for an engine, and what they should give. Shared by the tests of this folder."""

import asyncio
import time

import torch

from nanogpt.config import SampleConfig
from nanogpt.sampling.cache import window_start
from nanogpt.sampling.generate import generate_text
from nanogpt.sampling.text import encode_prompt
from nanogpt.serving.jobs import Job, Prompt


def job_of(run, *prompts, tokens=7, logprobs=None, score_prompts=False, **sampling):
    """A job in the running event loop."""
    made = []
    for prompt in prompts:
        ids = torch.from_numpy(run.tokenizer.encode(prompt)).long()
        made.append(Prompt(prompt, ids, encode_prompt(run.tokenizer, prompt)))
    return Job(made, SampleConfig(tokens=max(1, tokens), **sampling), tokens, run.tokenizer, logprobs, score_prompts)


async def read(job, limit=None):
    """The texts of a job, and the news of each; at most `limit` rounds of them."""
    texts, rounds = [""] * job.size, 0
    async for news in job.news():
        for one in news:
            texts[one.index] += one.piece
        rounds += 1
        if rounds == limit:
            break
    return texts


def alone(run, prompt, tokens, **sampling):
    return generate_text(run.model, run.tokenizer, prompt, SampleConfig(tokens=tokens, **sampling))


async def wait_for(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not become true")


def by_hand(model, ids):
    """Of each token from the second on, the log-probabilities of the whole vocabulary in its place, (T - 1, V)."""
    found = []
    for position in range(1, len(ids)):
        start = window_start(position, model.config.block_size)
        with torch.no_grad():
            found.append(model(torch.tensor([ids[start:position]]))[0, -1].double().log_softmax(-1))
    return torch.stack(found)


def until(true, seconds=10.0):
    """Wait until something is true; how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not become true"
        time.sleep(0.005)
    return time.monotonic() - began
