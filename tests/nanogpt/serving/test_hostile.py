"""Bodies that are broken, huge or slow, and clients that go away."""

import json
import os
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest
from served import until

from nanogpt.serving import guard
from nanogpt.serving import server as serving
from nanogpt.serving.settings import Limits

NAME = "tale-1"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(live):
    return live(limits=Limits(body_bytes=2000, body_seconds=0.4, queue=3, max_tokens=10**6))


def error_of(answer):
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model": ', "not JSON"),
        (b"", "not an object of JSON"),
        (b"[]", "not an object of JSON"),
        (b"3", "not an object of JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"model": "\xff"}', "error parsing the body"),
        (b"[" * 1900, "error parsing the body"),
        (b'{"model": "tale-1", "prompt": "\\ud800"}', "the model never saw '\\ud800'"),
        (b'{"model": "tale-1", "temperature": NaN}', "'temperature' is not as it should be"),
        (b'{"model": "tale-1", "seed": 1e999}', "'seed' is not as it should be"),
        (b'{"model": "tale-1", "seed": 1' + b"0" * 1800 + b"}", "'seed' is not as it should be"),
        (b'{"prompt": "he"}', "'model' is missing"),
        (b'{"model": null}', "'model' is not as it should be"),
    ],
)
def test_broken_bodies(server, body, words):
    answer = httpx.post(f"{server.url}/v1/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert words in error_of(answer)["message"]


def test_other_kinds_of_content(server):
    body = json.dumps({"model": NAME, "prompt": "he"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = httpx.post(f"{server.url}/v1/completions", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400  # what another server's form can send is not taken


def test_paths_and_methods_that_are_not_there(server):
    answer = httpx.get(f"{server.url}/v1/chat/completions")
    assert (answer.status_code, error_of(answer)["type"]) == (404, "invalid_request_error")
    answer = httpx.get(f"{server.url}/v1/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(answer)
    assert httpx.get(f"{server.url}/docs").status_code == 404


def test_huge_bodies(server):
    def pieces():
        for _ in range(40):
            yield b"x" * 100

    for content in (b"x" * 2001, b"x" * 3_000_000, pieces()):
        answer = httpx.post(f"{server.url}/v1/completions", content=content, headers=JSON)
        assert answer.status_code == 413
        assert "larger than 2000 bytes" in error_of(answer)["message"]
    body = json.dumps({"model": NAME, "prompt": "he"}).encode()
    padded = body + b" " * (2000 - len(body))
    assert httpx.post(f"{server.url}/v1/completions", content=padded, headers=JSON).status_code == 200


def test_a_body_that_waits_to_be_asked_for(server):
    """curl asks before it sends something large, and is told at once."""
    told = raw(server, b"Content-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 413 ")


def test_a_body_without_end_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(guard, "DISCARD_BYTES", 1000)
    assert raw(server, b"Content-Length: 999999999\r\n\r\n" + b"x" * 3001).startswith(b"HTTP/1.1 413 ")


def test_slow_bodies(server):
    began = time.monotonic()
    told = raw(server, b"Content-Length: 1000\r\n\r\n{")
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b"did not come within 0.4 seconds" in told
    assert 0.3 < time.monotonic() - began < 3  # and the connection was closed: `raw` read to its end


def test_headers_that_never_end(live, monkeypatch):
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.3)
    server = live()
    began = time.monotonic()
    assert raw(server, b"X-Slow: ") == b""
    assert 0.2 < time.monotonic() - began < 3
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = b""
        while not told.endswith(b'{"status":"ok"}'):
            told += connection.recv(4096)
        connection.sendall(b"GET /heal")
        assert connection.recv(4096) == b""


def raw(server, rest):
    """All that a server answers to a request with these last headers and bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + rest
        )
        told = b""
        while piece := connection.recv(65536):
            told += piece
        return told


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(live, endless, stream):
    server = live(rows=2, run=endless, limits=Limits(max_tokens=10**6))
    body = json.dumps({"model": NAME, "prompt": "", "max_tokens": 10**6, "n": 3, "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        until(lambda: server.engine.running == 2 and server.engine.waiting == 1)
    assert until(lambda: server.engine.running == server.engine.waiting == 0) < 1


def flood(connection):
    for _ in range(1000):
        connection.sendall(b"x" * 10_000)
        time.sleep(0.001)


def test_headers_that_are_huge(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Huge: ")
        with pytest.raises(ConnectionError):
            flood(connection)
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_client_that_reads_nothing_is_let_go(live, endless, monkeypatch):
    monkeypatch.setattr(serving, "STUCK_SECONDS", 0.3)
    server = live(run=endless, limits=Limits(max_tokens=10**6))
    body = json.dumps({"model": NAME, "prompt": "", "max_tokens": 10**6, "logprobs": 10, "stream": True}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        until(lambda: server.engine.running == 1)
        until(lambda: server.engine.running == 0, 60)


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_when_clients_leave(live, endless):
    server = live(rows=4, run=endless, limits=Limits(max_tokens=10**6))
    body = {"model": NAME, "prompt": "hello", "max_tokens": 10**6, "stream": True}

    def leave(count):
        with httpx.Client() as client:
            for _ in range(count):
                with client.stream("POST", f"{server.url}/v1/completions", json=body) as answer:
                    next(answer.iter_bytes())
        until(lambda: server.engine.running == 0)

    leave(100)
    before = resident_bytes()
    leave(300)
    assert resident_bytes() - before < 20e6
