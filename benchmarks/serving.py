"""Tokens a second and the wait for the first token of `nanogpt serve`, by parallel streams; its memory when clients go.

    python -m benchmarks.serving --seconds 60
    python -m benchmarks.serving --seconds 3 --leave 60 --trial

The network is that of nanoGPT's GPU recipe (6 layers, 384 channels, block 256, characters) after one step of training,
without an end-of-document token, so that every text has its full length. Each stream asks for a text, and for the next
one when it has ended: prompts of 1 to 200 characters, 200 tokens at temperature 0.8. Tokens are counted by the server,
in /metrics; waits by the clients, who run on the same cores and take a share of them. Streams and one stream take
turns, so that both see the same machine.

Then clients come, 50 at a time, and leave when the first piece of their text arrives. The server's resident memory is
read after the first of them, when all that is made once has been made, and at the end.
"""

import argparse
import asyncio
import json
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ours import NANOGPT, Ours
from benchmarks.pairs import ratios, told, values
from benchmarks.processes import own_environment
from benchmarks.record import Parts, add_part_options

SERVE = (*NANOGPT, "serve")
SIZES = {"n-layer": 6, "n-head": 6, "n-embd": 384, "block-size": 256}
STREAMS = (1, 16, 64)
PRECISIONS = ("float32", "bfloat16", "int8")
TOKENS = 200
LONGEST_PROMPT = 56
LEAVING_AT_ONCE = 50
WARM_UP_CLIENTS = 200
GOALS = {"16 streams, tokens/s over one stream's": 6.0, "seconds until places are free": 1.0}


@dataclass
class Seen:
    """What the clients of one measurement saw."""

    waits: list[float] = field(default_factory=list)
    """seconds from a request to the first piece of its text"""
    texts: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Served:
    """A server that runs, and the name of its model."""

    port: int
    model: str
    process: subprocess.Popen[str]


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--runs", type=int, default=3, help="how often each number of streams is measured")
    parser.add_argument("--streams", type=int, nargs="+", default=list(STREAMS))
    parser.add_argument("--leave", type=int, default=1000, help="clients that leave")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("serving", keep=options.keep, trial=options.trial)
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        place = Ours(Path(folder), options.threads)
        sizes = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
        place.train(["python"], 1, *sizes, "--end-of-document", "False", "--batch-size", "2")
        rows = []
        for precision in options.precisions:
            with serving(place, "--precision", precision) as server:
                rows += measure_streams(parts, server, precision, options)
        with serving(place) as server:
            left = parts.measure(
                {"leave": options.leave, "threads": options.threads}, lambda: leaving(server, options.leave)
            )
    before, after = (left[when] / 1e6 for when in ("before_bytes", "after_bytes"))
    print(f"{options.leave} clients left: {before:.1f} MB before, {after:.1f} MB after")
    print(f"    {left['freed_seconds']:.2f} s until all places were free")
    result = {"sizes": SIZES, "tokens": TOKENS, "streams": rows, "left": left}
    parts.write(result | {"goals": GOALS})


def measure_streams(parts: Parts, server: Served, precision: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each number of streams in turn with the others; all are held against the first."""
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in options.streams}
    asyncio.run(load(server, 1, 1.0))  # what a first request makes once
    for number in range(options.runs):
        for count in options.streams:
            key = {"precision": precision, "seconds": options.seconds, "threads": options.threads}
            one = parts.measure(
                key | {"streams": count, "number": number},
                lambda count=count: asyncio.run(load(server, count, options.seconds)),  # type: ignore[misc]
            )
            found[count].append(one)
    single = [one["rate"] for one in found[options.streams[0]]]
    rows = []
    for count, each in found.items():
        rates = [one["rate"] for one in each]
        row: dict[str, Any] = {"precision": precision, "streams": count}
        row |= {"rate": values(rates), "over_first": ratios(rates, single)}
        row |= {name: values([one[name] for one in each]) for name in ("p50", "p95")}
        row |= {"texts": sum(one["texts"] for one in each), "errors": sum(len(one["errors"]) for one in each)}
        rows.append(row)
        print(
            f"{precision}, {count} streams: tokens/s {told(row['rate'], 0)}; {told(row['over_first'], 1)} of the first"
        )
        print(
            f"    first token: p50 {told(row['p50'])} s, p95 {told(row['p95'])} s; errors {row['errors']}", flush=True
        )
    return rows


async def load(server: Served, streams: int, seconds: float) -> dict[str, Any]:
    """So many streams for so long: tokens a second while all of them ran, and their clients' waits."""
    seen, end = Seen(), time.monotonic() + seconds

    async def client(number: int) -> None:
        drawn = random.Random(number)
        while time.monotonic() < end:
            await one_text(server, drawn, seen)

    async def watch() -> float:
        began, before = time.monotonic(), await counter(server, "tokens_total")
        await asyncio.sleep(end - time.monotonic())
        return (await counter(server, "tokens_total") - before) / (time.monotonic() - began)

    clients = [asyncio.ensure_future(client(number)) for number in range(streams)]
    rate = await watch()
    await asyncio.gather(*clients)
    waits = sorted(seen.waits)
    shares = {
        name: waits[min(len(waits) - 1, int(len(waits) * share))] for name, share in (("p50", 0.5), ("p95", 0.95))
    }
    return {"rate": rate, **shares, "texts": seen.texts, "errors": seen.errors}


async def one_text(server: Served, drawn: random.Random, seen: Seen) -> None:
    """Ask for a text and read it to its end."""
    prompt = "".join(drawn.choices("abcdefghij (),=\n", k=drawn.randint(1, LONGEST_PROMPT)))
    began, last = time.monotonic(), b""

    async def read(piece: bytes) -> bool:
        nonlocal last
        if not last:
            seen.waits.append(time.monotonic() - began)
        last = (last + piece)[-100:]
        return b"data: [DONE]" not in last

    status = await request(server, {"prompt": prompt, "seed": drawn.getrandbits(32)}, read)
    if status != 200 or b"[DONE]" not in last or b'"error"' in last:
        seen.errors.append(f"{status}: {last.decode(errors='replace')}")
    seen.texts += 1


async def request(server: Served, asked: dict[str, Any], read: Callable[[bytes], Awaitable[bool]]) -> int:
    """Stream an answer: `read` is given what comes after its headers until it wants no more. Returns the status."""
    settings = {"model": server.model, "max_tokens": TOKENS, "temperature": 0.8, "stream": True}
    body = json.dumps(settings | asked).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        headers = await reader.readuntil(b"\r\n\r\n")
        while (piece := await reader.read(1 << 16)) and await read(piece):
            pass
        return int(headers.split()[1])
    finally:
        writer.close()


async def counter(server: Served, name: str) -> float:
    """A figure of the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read(-1)).decode()
    writer.close()
    found = re.search(rf"^nanogpt_{name}{{.*}} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def leaving(server: Served, clients: int) -> dict[str, Any]:
    """Clients that leave: the server's memory before and after, and how long the last ones' places were taken."""

    async def leave(count: int) -> float:
        places = asyncio.Semaphore(LEAVING_AT_ONCE)

        async def one(number: int) -> None:
            async def no_more(piece: bytes) -> bool:
                return False

            async with places:
                assert await request(server, {"prompt": "a", "seed": number, "max_tokens": 4000}, no_more) == 200

        await asyncio.gather(*(one(number) for number in range(count)))
        began = time.monotonic()
        while await counter(server, "running") or await counter(server, "waiting"):
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    asyncio.run(leave(min(WARM_UP_CLIENTS, clients)))
    before = resident_bytes(server.process.pid)
    freed = asyncio.run(leave(clients))
    after = resident_bytes(server.process.pid)
    return {"clients": clients, "before_bytes": before, "after_bytes": after, "freed_seconds": freed}


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, by Linux."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found is not None
    return 1024 * int(found[1])


@contextmanager
def serving(place: Ours, *words: str) -> Iterator[Served]:
    """A server of the run that was trained, in a process of its own; ended by SIGTERM, and cleanly."""
    command = [*SERVE, str(place.run_folder), "--port", "0", *words]
    environment = own_environment(place.folder, place.threads)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert address is not None, "the server did not start"
            yield Served(int(address[1]), place.run_folder.name, process)
        finally:
            process.terminate()
            code = process.wait(30)
        assert code == 0, f"the server ended with code {code}"


if __name__ == "__main__":
    main()
