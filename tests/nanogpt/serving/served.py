"""Jobs for an engine, and their expected results. Shared by the tests of this folder."""

import asyncio
import time

import torch

from nanogpt.config import SampleConfig
from nanogpt.sampling.generate import encode_prompt, generate_text, window_start
from nanogpt.serving.jobs import Job, Prompt


def job_of(run, *prompts, tokens=7, logprobs=None, score_prompts=False, **sampling):
    made = []
    for prompt in prompts:
        ids = torch.from_numpy(run.tokenizer.encode(prompt)).long()
        made.append(Prompt(prompt, ids, encode_prompt(run.tokenizer, prompt)))
    return Job(made, SampleConfig(tokens=max(1, tokens), **sampling), tokens, run.tokenizer, logprobs, score_prompts)


async def read(job, limit=None):
    """Return the texts of a job, after at most `limit` rounds of updates."""
    texts, rounds = [""] * job.size, 0
    async for updates in job.updates():
        for one in updates:
            texts[one.index] += one.piece
        rounds += 1
        if rounds == limit:
            break
    return texts


def generate(engine, job_run, *prompts, **options):

    async def ask():
        job = job_of(job_run, *prompts, **options)
        engine.submit(job)
        return await read(job)

    return asyncio.run(ask())


def alone(run, prompt, tokens, **sampling):
    return generate_text(run.model, run.tokenizer, prompt, SampleConfig(tokens=tokens, **sampling))


async def wait_for(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not become true")


def by_hand(model, ids):
    """Return the log-probabilities of the whole vocabulary at each token after the first, (T - 1, V)."""
    found = []
    for position in range(1, len(ids)):
        start = window_start(position, model.config.block_size)
        with torch.no_grad():
            found.append(model(torch.tensor([ids[start:position]]))[0, -1].double().log_softmax(-1))
    return torch.stack(found)


def until(true, seconds=10.0):
    """Wait until something is true; return how long it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not become true"
        time.sleep(0.005)
    return time.monotonic() - began
