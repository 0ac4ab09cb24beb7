import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from tiny import make_run

from nanogpt.cli.arguments import ServerOptions
from nanogpt.text.tokenizer import CharTokenizer


@pytest.fixture
def serving():
    """Starts servers; each knows its `address`, and what it printed first is in `printed`."""
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-m", "nanogpt", "serve", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        process.printed = [process.stdout.readline() for _ in range(4)]
        process.address = re.search(r"http://[0-9.]+:\d+", process.printed[0])[0]
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def endless(tmp_path):
    """The folder of a run whose texts end at their limit alone."""
    return make_run(tmp_path / "tale-1", tokenizer=CharTokenizer.train(["hello"], end_of_document=False)).path


@pytest.mark.slow
def test_a_token_is_named_or_in_the_environment(serving, endless, monkeypatch):
    monkeypatch.setenv("NANOGPT_TOKEN", "of the environment")
    assert ServerOptions().access().token == "of the environment"
    server = serving(endless, "--token", "named")
    assert 'Bearer $NANOGPT_TOKEN"' in server.printed[3]
    for token, status in (("of the environment", 401), ("named", 200)):
        answer = httpx.get(f"{server.address}/v1/models", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_it_prints_works_until_a_signal(serving, endless, number):
    """A short stream has all its text; a long one is stopped; both answers are complete."""
    server = serving(endless, "--max-tokens", "1000000")
    assert "tale-1, step 1, at http://127.0.0.1:" in server.printed[0]
    curl = server.printed[3]
    assert f"{server.address}/v1/completions" in curl
    body = curl.split(" -d ")[1].strip().strip("'")
    answer = httpx.post(f"{server.address}/v1/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 200
    began, found = threading.Barrier(3), {}

    def ask(tokens):
        body = {"model": "tale-1", "prompt": "he", "max_tokens": tokens, "stream": True}
        with httpx.stream("POST", f"{server.address}/v1/completions", json=body, timeout=30) as answer:
            lines = answer.iter_lines()
            next(lines)
            began.wait(20)
            found[tokens] = [line for line in lines if line]

    threads = [threading.Thread(target=ask, args=(tokens,)) for tokens in (500, 1_000_000)]
    for thread in threads:
        thread.start()
    began.wait(20)
    server.send_signal(number)
    for thread in threads:
        thread.join(30)
    assert found[500][-1] == found[1_000_000][-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in found[500][-2]
    assert '"code":"stopping"' in found[1_000_000][-2]
    assert server.wait(20) == 0
    assert server.stderr.read() == ""


def test_a_port_that_is_taken(refuses, endless):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refuses("serve", endless, "--port", port, saying=[f"port {port} is in use", "--port"])


def test_what_is_refused_before_it_begins(refuses, endless):
    refuses("serve", endless, "--host", "0.0.0.0", saying=["'0.0.0.0'", "--token"])
    refuses(
        "serve", endless, "--host", "no.such.host.invalid", "--token", "t", saying=["--host 'no.such.host.invalid'"]
    )
    for flag, value in (("--rows", 0), ("--threads", 0), ("--queue", -1), ("--port", 99999)):
        refuses("serve", endless, "--port", "0", flag, value, saying=[f"{flag} is {value}; choose"])


def test_a_missing_package(refuses, endless, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("nanogpt.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    refuses("serve", endless, saying=["fastapi", "pip install 'nanogpt[studio]'"])
