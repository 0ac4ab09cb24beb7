"""Model work in threads, so that the page stays responsive. Each text has a thread, as texts would fill a pool."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

BATCH_SECONDS = 0.06
"""Pause between two batches: short enough to look like a stream, long enough for the page to keep up."""


async def run_in_thread(call: Callable[[], T], lock: threading.Lock) -> T:
    """Return the result of a call made in a thread that holds the lock."""

    def locked() -> T:
        with lock:
            return call()

    return await asyncio.to_thread(locked)


async def stream_from_thread(
    make: Callable[[], Iterator[T]], lock: threading.Lock, stop: threading.Event
) -> AsyncGenerator[list[T], None]:
    """Yield an iterator's items in batches until it ends or `stop` is set; hold the lock for one item at a time."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[list[T] | BaseException | None] = asyncio.Queue()

    def put(one: list[T] | BaseException | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, one)

    def run() -> None:
        try:
            with lock:
                iterator = make()
            while not stop.is_set():
                with lock:
                    item = next(iterator, None)
                if item is None:
                    break
                put([item])
            put(None)
        except RuntimeError as error:
            if not loop.is_closed():  # otherwise the studio is shutting down
                put(error)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, name="nanogpt-text")
    thread.start()
    ended = False
    try:
        while not ended:
            waiting = [await queue.get(), *(queue.get_nowait() for _ in range(queue.qsize()))]
            ended, batch = None in waiting, list[T]()
            for one in waiting:
                if isinstance(one, BaseException):
                    raise one
                batch += one or []
            if batch:
                yield batch
            if not ended:
                await asyncio.sleep(BATCH_SECONDS)
    finally:
        if not ended:
            stop.set()
            await asyncio.to_thread(thread.join)
