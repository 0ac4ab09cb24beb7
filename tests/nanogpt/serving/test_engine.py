"""Texts that join, leave and wait: each is what it would be alone, and no request is blocked."""

import asyncio
import random
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import alone, generate, job_of, read, wait_for
from tiny import make_run

from nanogpt.serving.api import ApiError
from nanogpt.serving.engine import Engine
from nanogpt.serving.settings import Limits
from nanogpt.text.bpe import ByteTokenizer

ALPHABET = " ,dehlortw"
LONG = 100_000


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), rows=st.sampled_from([1, 2, 5]))
def test_each_text_is_what_it_is_alone(run, seed, rows):
    """Requests arrive at any time, for several samples, with stop strings; some are cancelled."""
    drawn = random.Random(seed)
    engine = Engine(run.model, run.tokenizer, rows=rows)

    async def one():
        prompt = "".join(drawn.choices(ALPHABET, k=drawn.randrange(30)))
        sampling = {
            "temperature": drawn.choice([0.0, 0.8, 1.3]),
            "top_k": drawn.choice([None, 3]),
            "repetition_penalty": drawn.choice([1.0, 1.3]),
            "seed": drawn.randrange(9),
            "samples": drawn.randrange(1, 4),
            "stop": drawn.choice([(), ("l",), ("he", "o w")]),
        }
        tokens, leaves = drawn.randrange(1, 40), drawn.random() < 0.25
        await asyncio.sleep(drawn.random() * 0.03)
        job = job_of(run, prompt, tokens=tokens, **sampling)
        engine.submit(job)
        found = await read(job, limit=2 if leaves else None)
        engine.cancel(job)
        if not leaves:
            assert found == alone(run, prompt, tokens, **sampling)

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(9)))
        await wait_for(lambda: engine.running == engine.waiting == 0)

    try:
        asyncio.run(all_of_them())
    finally:
        engine.close()


def test_lower_precision(run, engines):
    found = generate(engines(run, precision="bfloat16"), run, "hello", tokens=12)
    assert found == alone(run, "hello", 12, precision="bfloat16")


def test_bytes_come_as_whole_characters(tmp_path, engines):
    run = make_run(tmp_path / "bytes", tokenizer=ByteTokenizer())
    found = generate(engines(run), run, "né", tokens=60, samples=3, temperature=1.5)
    assert found == alone(run, "né", 60, samples=3, temperature=1.5)


def finished_order(engine, run, first, second):
    """Return the prompts of two jobs in the order in which they end; the second comes when the first has started."""
    ended = []

    async def ask(prompt, **options):
        job = job_of(run, prompt, **options)
        engine.submit(job)
        await read(job)
        ended.append(prompt)

    async def both():
        one = asyncio.ensure_future(ask(**first))
        await wait_for(lambda: engine._jobs)
        await asyncio.gather(one, ask(**second))

    asyncio.run(both())
    return ended


def test_a_request_for_many_texts_does_not_block_one_for_one(endless, engines):
    many = {"prompt": "hello", "tokens": 20, "samples": 20, "temperature": 0}
    one = {"prompt": "he", "tokens": 20, "temperature": 0}
    assert finished_order(engines(endless, rows=1), endless, many, one) == ["he", "hello"]


def test_scoring_a_long_prompt_does_not_block_others(run, engines):
    long = {"prompt": "hello there " * 400, "tokens": 1, "logprobs": 0, "score_prompts": True}
    assert finished_order(engines(run), run, long, {"prompt": "he", "tokens": 3})[0] == "he"


def test_a_cancelled_job_frees_its_rows_within_a_second(endless, engines):
    engine = engines(endless, rows=2, limits=Limits(queue=3))

    async def scenario():
        job = job_of(endless, "he", tokens=LONG, samples=5, temperature=1.0)
        engine.submit(job)
        await wait_for(lambda: engine.running == 2 and engine.waiting == 3)
        with pytest.raises(ApiError, match="5 of 5") as refused:
            engine.submit(job_of(endless, "he"))
        assert refused.value.status == 429
        engine.cancel(job)
        assert engine.waiting == 0
        began = asyncio.get_running_loop().time()
        await wait_for(lambda: engine.running == 0)
        assert asyncio.get_running_loop().time() - began < 1
        after = job_of(endless, "he")
        engine.submit(after)
        assert await read(after) == alone(endless, "he", 7)

    asyncio.run(scenario())


def test_a_slow_reader_gets_everything(run, engines):
    engine = engines(run)

    async def ask():
        job = job_of(run, "he", tokens=30, temperature=0.9)
        engine.submit(job)
        await wait_for(lambda: engine.running == 0 and engine.tokens)
        return [updates async for updates in job.updates()]

    rounds = asyncio.run(ask())
    assert len(rounds) == 1
    assert ["".join(one.piece for one in rounds[0])] == alone(run, "he", 30, temperature=0.9)


def test_a_model_that_diverged_is_reported_and_the_engine_goes_on(run, engines):
    engine = engines(run)
    kept = run.model.lm_head.weight.detach().clone()
    with torch.no_grad():
        run.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not numbers"):
        generate(engine, run, "he")
    with torch.no_grad():
        run.model.lm_head.weight.copy_(kept)
    assert generate(engine, run, "he") == alone(run, "he", 7)


def test_after_an_error_the_same_memory_is_used(run, engines, monkeypatch):
    engine = engines(run)
    cache = engine._batch.cache
    asked = {"samples": 3, "temperature": 1.0}

    def fail_late(*words):
        if engine.steps == 4:
            raise MemoryError
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_scores", fail_late)
        with pytest.raises(MemoryError):
            generate(engine, run, "hello", tokens=9, **asked)
    assert generate(engine, run, "hello", tokens=30, **asked) == alone(run, "hello", 30, **asked)
    assert engine._batch.cache is cache


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_job_waits_for_ever_when_the_thread_ends(endless, engines, monkeypatch):
    engine = engines(endless)

    async def scenario():
        job = job_of(endless, "he", tokens=LONG)
        engine.submit(job)
        await wait_for(lambda: engine.running)
        monkeypatch.setattr(engine, "_admit", lambda: 1 / 0)
        with pytest.raises(ApiError, match="stopping"):
            await asyncio.wait_for(read(job), 10)
        await wait_for(lambda: not engine.alive)
        with pytest.raises(ApiError, match="stopping"):
            engine.submit(job_of(endless, "he"))

    asyncio.run(scenario())


def test_closing(endless, engines):
    """Present jobs may finish for a while, then end with an error; new ones are refused."""
    engine = engines(endless)

    async def scenario():
        short, long = job_of(endless, "he", tokens=5), job_of(endless, "he", tokens=LONG)
        engine.submit(short)
        engine.submit(long)
        closing = asyncio.ensure_future(asyncio.to_thread(engine.close, 0.3))
        await wait_for(lambda: not engine.alive)
        with pytest.raises(ApiError) as refused:
            engine.submit(job_of(endless, "he"))
        assert refused.value.status == 503
        assert await read(short) == alone(endless, "he", 5)
        with pytest.raises(ApiError, match="stopping"):
            await read(long)
        await closing

    asyncio.run(scenario())
    assert "nanogpt-engine" not in [thread.name for thread in threading.enumerate() if thread is engine._thread]


def test_a_closed_event_loop_frees_its_rows(endless, engines):
    engine = engines(endless)

    async def ask():
        engine.submit(job_of(endless, "he", tokens=LONG))
        await wait_for(lambda: engine.running)

    asyncio.run(ask())
    asyncio.run(wait_for(lambda: engine.running == 0))
