"""Work in a thread: everything arrives in order, it can be stopped, and its errors are not lost."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from nanogpt.errors import UserError
from nanogpt.studio.background import run_in_thread, stream_from_thread


def collect(make, stop=None, take=10**9):
    async def run():
        found = []
        async with aclosing(stream_from_thread(make, threading.Lock(), stop or threading.Event())) as batches:
            async for batch in batches:
                found += batch
                if len(found) >= take:
                    break
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("count", [0, 1000])
def test_everything_arrives_in_order(count):
    assert collect(lambda: iter(range(count))) == list(range(count))


@pytest.mark.parametrize("error", [UserError("it failed"), RuntimeError("it failed")])
def test_an_error_is_raised_again(error):
    def broken():
        yield 1
        raise error

    with pytest.raises(type(error), match="it failed"):
        collect(broken)


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_it_ends_when_it_is_asked_to(how):
    """An endless text must not go on in its thread when the page is gone."""
    stop, made = threading.Event(), []

    def endless():
        while True:
            made.append(len(made) + 1)
            if how == "stop" and len(made) == 5:
                stop.set()
            time.sleep(0.001)
            yield made[-1]

    collect(endless, stop, take=5)
    assert stop.is_set()
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count


def test_the_lock_is_free_between_items():
    lock, waited = threading.Lock(), []

    def slow():
        for number in range(1, 40):
            time.sleep(0.005)
            yield number

    async def run():
        async def look():
            await asyncio.sleep(0.02)
            began = time.perf_counter()
            assert await run_in_thread(lambda: waited.append(time.perf_counter() - began) or 7, lock) == 7

        looking = asyncio.create_task(look())
        async for _ in stream_from_thread(slow, lock, threading.Event()):
            pass
        await looking

    asyncio.run(run())
    assert waited[0] < 0.15


def test_long_texts_do_not_occupy_the_thread_pool():
    """Models are loaded and inspected in the pool's few threads."""

    def endless():
        while True:
            time.sleep(0.001)
            yield 1

    async def run():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        begun = asyncio.Event()

        async def text():
            async for _ in stream_from_thread(endless, threading.Lock(), stop):
                begun.set()

        stop = threading.Event()
        texts = [asyncio.create_task(text()) for _ in range(3)]
        await asyncio.wait_for(begun.wait(), 10)
        try:
            return await asyncio.wait_for(run_in_thread(lambda: 7, threading.Lock()), 10)
        finally:
            stop.set()
            await asyncio.gather(*texts)

    assert asyncio.run(run()) == 7
