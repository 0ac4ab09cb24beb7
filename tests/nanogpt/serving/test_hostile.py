import asyncio
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from served import alone, until

from nanogpt.serving import app, middleware
from nanogpt.serving import server as serving
from nanogpt.serving.api import CompletionRequest, TokenizeRequest
from nanogpt.serving.settings import Limits

NAME = "tale-1"
JSON = {"Content-Type": "application/json"}
POST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


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
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b'{"model": "\xff"}', "error parsing the body"),
        (b"[" * 1900, "the body"),  # too deep, or not ended, depending on the recursion limit
        (b'{"model": "tale-1", "prompt": "\\ud800"}', "'\\ud800'"),
        (b'{"model": "tale-1", "temperature": NaN}', "'temperature' is"),
        (b'{"model": "tale-1", "seed": 1' + b"0" * 1800 + b"}", "'seed' is"),
        (b'{"prompt": "he"}', "'model' is missing"),
    ],
)
def test_broken_bodies(server, body, words):
    answer = httpx.post(f"{server.url}/v1/completions", content=body, headers=JSON)
    assert answer.status_code == 400
    assert words in error_of(answer)["message"]


WRONG = ["x", "", -1, 0, 1.5, 1e30, 10**30, True, None, [], [None], ["x", 1], {}, {"a": 1}, [[]], [-1], [99], "Zé"]


@pytest.mark.parametrize(("path", "kind"), [("completions", CompletionRequest), ("tokenize", TokenizeRequest)])
def test_no_answer_speaks_of_flags_or_python(server, path, kind):
    bodies = [
        {"model": NAME, "prompt": "he", "max_tokens": 1, name: one} for name in kind.model_fields for one in WRONG
    ]
    refused = 0
    for body in bodies:
        if path == "tokenize":
            body.pop("max_tokens")
        answer = httpx.post(f"{server.url}/v1/{path}", json=body)
        if answer.status_code != 200:
            assert answer.status_code in (400, 404), (body, answer.text)
            message = error_of(answer)["message"]
            words = r"--|\b(Input|str|int|float|bool|dict\w*|tuple|None\w*|True|False|Python)\b"
            assert not re.search(words, message), (body, message)
            refused += 1
    assert refused > len(bodies) / 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": [1] * 1000 + ["x"]},
        {"prompt": [[1, "x"]] * 1000},
        {"prompt": ["a"] * 1000 + [1]},
        {"stop": [""] * 1000},
        {"logit_bias": {str(number): "x" for number in range(1000)}},
        {"stream_options": {str(number): 1 for number in range(1000)}},
        {str(number): 1 for number in range(1000)},
    ],
    ids=["tokens", "lists", "texts", "stops", "bias", "options", "fields"],
)
def test_a_thousand_errors_are_reported_as_few(wrong):
    """Collecting the errors of a body of a megabyte would block all other requests for seconds."""
    with pytest.raises(ValidationError) as refused:
        CompletionRequest.model_validate({"model": NAME, **wrong})
    assert refused.value.error_count() < 10


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-39, 1e-21])
def test_a_temperature_near_0_takes_the_likeliest(server, run, temperature):
    """Dividing by it gives infinities: the step would fail, and with it every request in the batch."""
    body = {"model": NAME, "prompt": "he", "temperature": temperature, "max_tokens": 9, "repetition_penalty": 0.01}
    answer = httpx.post(f"{server.url}/v1/completions", json=body)
    assert answer.status_code == 200
    wanted = alone(run, "he", 9, temperature=0.0, repetition_penalty=0.01)
    assert [one["text"] for one in answer.json()["choices"]] == wanted


def test_a_long_text_is_tokenized_in_a_thread(server, monkeypatch):
    """A body of a megabyte is a million tokens, and must not block all other requests."""
    loops, text_of = [], app.token_text
    monkeypatch.setattr(app, "token_text", lambda *a: loops.append(asyncio._get_running_loop()) or text_of(*a))
    answer = httpx.post(f"{server.url}/v1/tokenize", json={"model": NAME, "prompt": "hello"})
    assert answer.json()["texts"] == list("hello")
    assert loops == [None] * 5


def test_other_content_types(server):
    body = json.dumps({"model": NAME, "prompt": "he"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = httpx.post(f"{server.url}/v1/completions", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400  # a form of another website can send these


def test_unknown_paths_and_methods(server):
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
        assert "2000 bytes" in error_of(answer)["message"]
    body = json.dumps({"model": NAME, "prompt": "he"}).encode()
    padded = body + b" " * (2000 - len(body))
    assert httpx.post(f"{server.url}/v1/completions", content=padded, headers=JSON).status_code == 200


def test_a_body_that_waits_for_100_continue(server):
    """curl asks before it sends something large, and is refused at once."""
    found = raw(server, b"Content-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(middleware, "DISCARD_BYTES", 1000)
    assert raw(server, b"Content-Length: 999999999\r\n\r\n" + b"x" * 3001).startswith(b"HTTP/1.1 413 ")


def test_slow_bodies(server):
    began = time.monotonic()
    found = raw(server, b"Content-Length: 1000\r\n\r\n{")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"0.4 seconds" in found
    assert 0.3 < time.monotonic() - began < 3  # and the connection was closed: `raw` read to its end


def test_headers_that_never_end(live, monkeypatch):
    monkeypatch.setattr(serving, "HEADER_SECONDS", 0.3)
    server = live()
    began = time.monotonic()
    assert raw(server, b"X-Slow: ") == b""
    assert 0.2 < time.monotonic() - began < 3
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while not found.endswith(b'{"status":"ok"}'):
            found += connection.recv(4096)
        connection.sendall(b"GET /heal")
        assert connection.recv(4096) == b""


def raw(server, rest):
    """Return all that a server sends until it closes, after a request with these last headers and bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(POST + rest)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_disconnects_frees_its_rows(live, endless, stream):
    server = live(rows=2, run=endless, limits=Limits(max_tokens=10**6))
    body = json.dumps({"model": NAME, "prompt": "", "max_tokens": 10**6, "n": 3, "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: server.engine.running == 2 and server.engine.waiting == 1)
    assert until(lambda: server.engine.running == server.engine.waiting == 0) < 1


def test_huge_headers(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Huge: ")
        with pytest.raises(ConnectionError):
            [connection.sendall(b"x" * 10_000) or time.sleep(0.001) for _ in range(1000)]
    assert httpx.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.slow
def test_a_client_that_reads_nothing_is_dropped(live, endless, monkeypatch):
    monkeypatch.setattr(serving, "STUCK_SECONDS", 0.3)
    server = live(run=endless, limits=Limits(max_tokens=10**6))
    body = json.dumps({"model": NAME, "prompt": "", "max_tokens": 10**6, "logprobs": 10, "stream": True}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
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
