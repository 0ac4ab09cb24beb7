"""Work in a thread: all of it arrives, in order, it can be stopped, and its errors are not lost."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from nanogpt.errors import UserError
from nanogpt.studio.work import in_pieces, in_thread


def collect(make, stop=None, take=10**9):
    async def run():
        found = []
        async with aclosing(in_pieces(make, threading.Lock(), stop or threading.Event())) as lots:
            async for lot in lots:
                found += lot
                if len(found) >= take:
                    break
        return found

    return asyncio.run(run())


def test_everything_arrives_in_order():
    assert collect(lambda: iter(range(1, 1000))) == list(range(1, 1000))


def test_nothing_is_nothing():
    assert collect(lambda: iter(())) == []


def test_an_error_comes_after_what_came_before_it():
    def broken():
        yield 1
        raise UserError("the model diverged")

    with pytest.raises(UserError, match="diverged"):
        collect(broken)


def test_a_runtime_error_is_not_swallowed():
    def broken():
        yield 1
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes"):
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


def test_the_lock_is_free_between_pieces():
    """Whoever looks inside must not wait for a whole text."""
    lock, waited = threading.Lock(), []

    def slow():
        for number in range(1, 40):
            time.sleep(0.005)
            yield number

    async def run():
        async def look():
            await asyncio.sleep(0.02)
            began = time.perf_counter()
            await in_thread(lambda: waited.append(time.perf_counter() - began), lock)

        looking = asyncio.create_task(look())
        async for _ in in_pieces(slow, lock, threading.Event()):
            pass
        await looking

    asyncio.run(run())
    assert waited[0] < 0.15


def test_in_thread_gives_what_the_call_gives():
    assert asyncio.run(in_thread(lambda: 7, threading.Lock())) == 7


def test_long_texts_leave_the_pool_to_others():
    """Models are opened and looked into in the pool's few threads: texts that take minutes must not hold them."""

    def endless():
        while True:
            time.sleep(0.001)
            yield 1

    async def run():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        begun = asyncio.Event()

        async def text():
            async for _ in in_pieces(endless, threading.Lock(), stop):
                begun.set()

        stop = threading.Event()
        texts = [asyncio.create_task(text()) for _ in range(3)]
        await asyncio.wait_for(begun.wait(), 10)
        try:
            return await asyncio.wait_for(in_thread(lambda: 7, threading.Lock()), 10)
        finally:
            stop.set()
            await asyncio.gather(*texts)

    assert asyncio.run(run()) == 7
