"""A model's work beside the page: in a thread, piece by piece, so that the page answers meanwhile.

A text has a thread of its own: a few long ones would take all that the pool has for what is done in a moment.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 0.06
"""Between two lots of pieces: often enough to look like a stream, and seldom enough for a page to keep up."""


async def in_thread(call: Callable[[], T], lock: threading.Lock) -> T:
    """What a call gives, made in a thread that holds the lock."""

    def locked() -> T:
        with lock:
            return call()

    return await asyncio.to_thread(locked)


async def in_pieces(
    make: Callable[[], Iterator[T]], lock: threading.Lock, stop: threading.Event
) -> AsyncGenerator[list[T], None]:
    """What an iterator yields, in lots as they come, until it ends or `stop` is set. Its errors are raised here.

    The lock is held for a piece at a time, so that whoever else uses the model waits no longer than that.
    """
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
                    piece = next(iterator, None)
                if piece is None:
                    break
                put([piece])
            put(None)
        except RuntimeError as error:
            if not loop.is_closed():  # the studio is going away
                put(error)
        except BaseException as error:
            put(error)

    work = threading.Thread(target=run, name="nanogpt-text")
    work.start()
    ended = False
    try:
        while not ended:
            waiting = [await queue.get(), *(queue.get_nowait() for _ in range(queue.qsize()))]
            ended, lot = None in waiting, _lot(waiting)
            if lot:
                yield lot
            if not ended:
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        if not ended:
            stop.set()
            await asyncio.to_thread(work.join)


def _lot(waiting: list[list[T] | BaseException | None]) -> list[T]:
    """What has come together; an error among it is raised."""
    lot: list[T] = []
    for one in waiting:
        if isinstance(one, BaseException):
            raise one
        lot += one or []
    return lot
