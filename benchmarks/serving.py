"""Tokens/s and time to the first token of `nanogpt serve` by parallel streams, and its memory when clients leave.

    python -m benchmarks.serving --seconds 60
    python -m benchmarks.serving --seconds 3 --leave 60 --trial

The network is that of nanoGPT's GPU recipe after one step, without an end-of-document token, so that every text has its
full length. Each stream requests text after text: prompts of 1 to 56 characters, 200 tokens at temperature 0.8. The
server counts tokens, clients measure waiting times, on the same cores. Then clients come, 50 at a time, and leave when
the first piece of their text arrives; the server's resident memory is read after the first of them and at the end.
"""

import argparse
import asyncio
import json
import math
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from benchmarks.pairs import ratios, values
from benchmarks.processes import Workspace, flags, server
from benchmarks.record import Parts, new_parser, parse

SIZES = {"n-layer": 6, "n-head": 6, "n-embd": 384, "block-size": 256}
STREAMS = (1, 16, 64)
PRECISIONS = ("float32", "bfloat16", "int8")
TOKENS = 200
LONGEST_PROMPT = 56
LEAVING_AT_ONCE = 50
WARM_UP_CLIENTS = 200
GOALS = {"16 streams, tokens/s over one stream's": 6.0, "seconds until places are free": 1.0}


class Server(NamedTuple):
    """A running server, and the name of its model."""

    port: int
    model: str
    process: "subprocess.Popen[str]"


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(
        __doc__, threads=True, seconds=60.0, runs=3, streams=list(STREAMS), precisions=PRECISIONS, leave=1000
    )
    options, parts = parse(parser, "serving")
    with Workspace.temporary(options.threads) as work:
        work.train(["python"], 1, *flags(SIZES), "--end-of-document", "False", "--batch-size", "2")
        rows = []
        for precision in options.precisions:
            with serving(work, "--precision", precision) as one:
                rows += measure_streams(parts, one, precision, options)
        with serving(work) as one:
            key = {"leave": options.leave, "threads": options.threads}
            left = parts.measure(key, lambda: measure_leaving(one, options.leave))
    parts.write({"sizes": SIZES, "tokens": TOKENS, "streams": rows, "left": left, "goals": GOALS})


def measure_streams(parts: Parts, one: Server, precision: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all numbers of streams in turn; all are compared with the first."""
    asyncio.run(load(one, 1, 1.0))  # what a first request makes once
    key = {"precision": precision, "seconds": options.seconds, "threads": options.threads}
    keys = {count: key | {"streams": count} for count in options.streams}
    found = parts.in_turn(options.runs, keys, lambda count: asyncio.run(load(one, count, options.seconds)))
    single = [row["rate"] for row in found[options.streams[0]]]
    rows = []
    for count, each in found.items():
        rates = [one["rate"] for one in each]
        row = {"precision": precision, "streams": count, "rate": values(rates), "over_first": ratios(rates, single)}
        row |= {name: values([one[name] for one in each]) for name in ("p50", "p95")}
        row |= {"texts": sum(one["texts"] for one in each), "errors": sum(len(one["errors"]) for one in each)}
        rows.append(row)
    return rows


async def load(one: Server, streams: int, seconds: float) -> dict[str, Any]:
    """Run this many streams for this long; return tokens/s while all of them ran, and their clients' waiting times."""
    texts, end = list[tuple[float, str | None]](), time.monotonic() + seconds

    async def client(number: int) -> None:
        draw = random.Random(number)
        while time.monotonic() < end:
            texts.append(await read_text(one, draw))

    clients = [asyncio.ensure_future(client(number)) for number in range(streams)]
    began, before = time.monotonic(), await counter(one, "tokens_total")
    await asyncio.sleep(end - time.monotonic())
    rate = (await counter(one, "tokens_total") - before) / (time.monotonic() - began)
    await asyncio.gather(*clients)
    waits = sorted(wait for wait, _ in texts)
    p50, p95 = (waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.95))
    errors = [error for _, error in texts if error]
    return {"rate": rate, "p50": p50, "p95": p95, "texts": len(texts), "errors": errors}


async def read_text(one: Server, draw: random.Random) -> tuple[float, str | None]:
    """Request a text and read it to its end; return the seconds to its first piece, and what went wrong."""
    prompt = "".join(draw.choices("abcdefghij (),=\n", k=draw.randint(1, LONGEST_PROMPT)))
    began, wait, last = time.monotonic(), math.inf, b""

    def read(piece: bytes) -> bool:
        nonlocal last, wait
        wait, last = min(wait, time.monotonic() - began), (last + piece)[-100:]
        return b"data: [DONE]" not in last

    status = await request(one, {"prompt": prompt, "seed": draw.getrandbits(32)}, read)
    is_whole = status == 200 and b"[DONE]" in last and b'"error"' not in last
    return wait, None if is_whole else f"{status}: {last.decode(errors='replace')}"


async def request(one: Server, fields: dict[str, Any], read: Callable[[bytes], bool]) -> int:
    """Stream an answer, pass what follows its headers to `read` until that returns False; return the status."""
    settings = {"model": one.model, "max_tokens": TOKENS, "temperature": 0.8, "stream": True}
    body = json.dumps(settings | fields).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    try:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        headers = await reader.readuntil(b"\r\n\r\n")
        while (piece := await reader.read(1 << 16)) and read(piece):
            pass
        return int(headers.split()[1])
    finally:
        writer.close()


async def counter(one: Server, name: str) -> float:
    """Return one of the server's metrics."""
    text = await asyncio.to_thread(lambda: urlopen(f"http://127.0.0.1:{one.port}/metrics").read().decode())
    found = re.search(rf"^nanogpt_{name}{{.*}} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def measure_leaving(one: Server, clients: int) -> dict[str, Any]:
    """Let clients leave; return the server's memory before and after, and how long it took to free their places."""

    async def leave(count: int) -> float:
        places = asyncio.Semaphore(LEAVING_AT_ONCE)

        async def client(number: int) -> None:
            async with places:
                fields = {"prompt": "a", "seed": number, "max_tokens": 4000}
                assert await request(one, fields, lambda piece: False) == 200

        await asyncio.gather(*(client(number) for number in range(count)))
        began = time.monotonic()
        while await counter(one, "running") or await counter(one, "waiting"):
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    asyncio.run(leave(min(WARM_UP_CLIENTS, clients)))
    before = resident_bytes(one.process.pid)
    freed = asyncio.run(leave(clients))
    after = resident_bytes(one.process.pid)
    return {"clients": clients, "before_bytes": before, "after_bytes": after, "freed_seconds": freed}


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, on Linux."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found is not None
    return 1024 * int(found[1])


@contextmanager
def serving(work: Workspace, *words: str) -> Iterator[Server]:
    """Serve the trained run in its own process."""
    command = ["serve", str(work.run_folder), "--port", "0", *words]
    with server(command, work.folder, work.environment) as (process, line):
        address = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert address is not None, f"the server did not start: {line}"
        yield Server(int(address[1]), work.run_folder.name, process)


if __name__ == "__main__":
    main()
