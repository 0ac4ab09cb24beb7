"""Texts that join, leave and wait: each is what it would be alone, and nobody is kept out."""

import asyncio
import random
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import alone, job_of, read, wait_for
from tiny import make_run

from nanogpt.serving.engine import Engine
from nanogpt.serving.errors import ApiError
from nanogpt.serving.settings import Limits
from nanogpt.text.tokenizer import ByteTokenizer

ALPHABET = " ,dehlortw"
LONG = 100_000


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), rows=st.sampled_from([1, 2, 5]))
def test_each_text_is_what_it_is_alone(run, seed, rows):
    """Requests that come at any time, for several samples, with stop strings; some go away in the middle."""
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
        await asyncio.gather(*(one() for _ in range(12)))
        await wait_for(lambda: engine.running == engine.waiting == 0)

    try:
        asyncio.run(all_of_them())
    finally:
        engine.close()


def test_lower_precision(run, engines):
    engine = engines(run, precision="bfloat16")

    async def ask():
        job = job_of(run, "hello", tokens=12)
        engine.submit(job)
        return await read(job)

    assert asyncio.run(ask()) == alone(run, "hello", 12, precision="bfloat16")


def test_bytes_come_as_whole_characters(tmp_path, engines):
    run = make_run(tmp_path / "bytes", tokenizer=ByteTokenizer())
    engine = engines(run)

    async def ask():
        job = job_of(run, "né", tokens=60, samples=3, temperature=1.5)
        engine.submit(job)
        return await read(job)

    assert asyncio.run(ask()) == alone(run, "né", 60, samples=3, temperature=1.5)


def test_a_request_for_one_is_not_kept_out_by_one_for_many(endless, engines):
    engine = engines(endless, rows=1)
    ended = []

    async def ask(name, samples):
        job = job_of(endless, "he", tokens=20, samples=samples, temperature=0)
        engine.submit(job)
        await read(job)
        ended.append(name)

    async def both():
        many = asyncio.ensure_future(ask("many", 20))
        await wait_for(lambda: engine.running)
        await asyncio.gather(many, ask("one", 1))

    asyncio.run(both())
    assert ended == ["one", "many"]


def test_places_are_free_within_a_second(endless, engines):
    engine = engines(endless, rows=2, limits=Limits(queue=3))

    async def scenario():
        job = job_of(endless, "he", tokens=LONG, samples=5, temperature=1.0)
        engine.submit(job)
        await wait_for(lambda: engine.running == 2 and engine.waiting == 3)
        with pytest.raises(ApiError, match="5 texts are being generated or wait") as refused:
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


def test_a_long_prompt_does_not_keep_others_waiting(run, engines):
    """Scoring a prompt of many windows takes turns with the steps of those who are there."""
    engine = engines(run)
    order = []

    async def ask(name, prompt, **options):
        job = job_of(run, prompt, **options)
        engine.submit(job)
        await read(job)
        order.append(name)

    async def both():
        long = asyncio.ensure_future(ask("long", "hello there " * 400, tokens=1, logprobs=0, score_prompts=True))
        await asyncio.sleep(0)
        await asyncio.gather(long, ask("short", "he", tokens=3))

    asyncio.run(both())
    assert order == ["short", "long"]


def test_a_reader_that_is_slow_gets_all(run, engines):
    engine = engines(run)

    async def ask():
        job = job_of(run, "he", tokens=30, temperature=0.9)
        engine.submit(job)
        await wait_for(lambda: engine.running == 0 and engine.tokens)
        rounds = [news async for news in job.news()]
        return rounds

    rounds = asyncio.run(ask())
    assert len(rounds) == 1
    assert ["".join(one.piece for one in rounds[0])] == alone(run, "he", 30, temperature=0.9)


def test_a_model_that_diverged_is_told_and_the_engine_goes_on(run, engines):
    engine = engines(run)

    async def ask():
        job = job_of(run, "he")
        engine.submit(job)
        return await read(job)

    kept = run.model.lm_head.weight.detach().clone()
    with torch.no_grad():
        run.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="not numbers"):
        asyncio.run(ask())
    with torch.no_grad():
        run.model.lm_head.weight.copy_(kept)
    assert asyncio.run(ask()) == alone(run, "he", 7)


def test_an_error_of_ours_is_logged_and_the_engine_goes_on(run, engines, monkeypatch, caplog):
    engine = engines(run)

    async def ask():
        job = job_of(run, "he")
        engine.submit(job)
        return await read(job)

    with monkeypatch.context() as patch:
        patch.setattr(type(engine._batch), "step", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(ask())
    assert "a step failed" in caplog.text
    assert asyncio.run(ask()) == alone(run, "he", 7)


def test_after_an_error_the_same_memory_is_used(run, engines, monkeypatch):
    """Where a step failed for want of memory there is none for a second cache."""
    engine = engines(run)
    cache = engine._batch._cache

    async def ask(tokens):
        job = job_of(run, "hello", tokens=tokens, samples=3, temperature=1.0)
        engine.submit(job)
        return await read(job)

    def fail_late(*words):
        if engine.steps == 4:
            raise MemoryError
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_scores", fail_late)
        with pytest.raises(MemoryError):
            asyncio.run(ask(9))
    assert asyncio.run(ask(30)) == alone(run, "hello", 30, samples=3, temperature=1.0)
    assert engine._batch._cache is cache


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_the_thread_ends_nobody_waits_for_ever(endless, engines, monkeypatch):
    engine = engines(endless)

    async def scenario():
        job = job_of(endless, "he", tokens=LONG)
        engine.submit(job)
        await wait_for(lambda: engine.running)
        monkeypatch.setattr(engine, "_leave_who_left", lambda: 1 / 0)
        with pytest.raises(ApiError, match="stopping"):
            await asyncio.wait_for(read(job), 10)
        await wait_for(lambda: not engine.alive)
        with pytest.raises(ApiError, match="stopping"):
            engine.submit(job_of(endless, "he"))

    asyncio.run(scenario())


def test_the_end(endless, engines):
    """What is there may finish for a while; then it is told; nothing new is taken."""
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


def test_a_loop_that_was_closed_frees_its_places(endless, engines):
    engine = engines(endless)

    async def ask():
        engine.submit(job_of(endless, "he", tokens=LONG))
        await wait_for(lambda: engine.running)

    asyncio.run(ask())
    asyncio.run(wait_for(lambda: engine.running == 0))


def test_the_memory_of_keys_and_values_is_there_from_the_start(run, engines):
    from nanogpt.sampling.room import cache_bytes

    cache = engines(run, rows=3)._batch._cache
    assert sum(layer.nbytes for layer in (*cache.k, *cache.v)) == cache_bytes(run.config.model, 3)
