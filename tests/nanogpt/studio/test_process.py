import http.client
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest
import torch
from studio_process import Studio, Window
from tiny import make_run, refuses

from nanogpt.cli.studio import main

slow = pytest.mark.slow

WITHIN_SECONDS = 2.0
TRIES = 3


def get(address, path="/", **headers):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_another_address_asks_for_a_token(monkeypatch):
    monkeypatch.delenv("NANOGPT_TOKEN", raising=False)
    refuses(lambda: main(["--host", "0.0.0.0", "--no-browser"]), "0.0.0.0", "--token")


def test_a_port_in_use_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refuses(lambda: main(["--port", str(port), "--no-browser"]), str(port), "--port")


def test_a_missing_extra_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    refuses(lambda: main(["--no-browser"]), "pip install 'nanogpt[studio]'")


@slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(runs_folder, how):
    studio = Studio(runs_folder)
    assert get(studio.address)[0] == 200
    assert studio.end(how) == 0
    assert studio.lines == []


@slow
def test_it_ends_while_it_writes(runs_folder, browser):
    studio = Studio(runs_folder)
    window = Window(browser, studio, "tokens=9999").opened()
    window.button("Write").click()
    window.wait("() => document.querySelectorAll('.text .token').length > 20")
    began = time.perf_counter()
    assert studio.end() == 0
    assert time.perf_counter() - began < 15
    assert studio.lines == []
    window.close()


@slow
def test_without_runs_the_starter_writes_and_can_be_inspected(tmp_path, start_studio, visit):
    empty, note = start_studio(tmp_path), "starter model that comes with Nano-GPT"
    window = visit("tokens=20&prompt=ROMEO:", at=empty).opened()
    assert window.page.locator("select").first.input_value() == "starter"
    window.says(".status", note)
    assert window.write().startswith("ROMEO:")
    visit("view=inside&text=ROMEO:", at=empty).opened().says(".status", note)


@slow
class TestAccess:
    def test_other_hosts_and_origins_are_refused(self, studio):
        assert get(studio.address)[0] == 200
        assert get(studio.address, host="evil.example")[0] == 421
        assert get(studio.address, origin="http://evil.example")[0] == 403
        socket_path = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
        assert get(studio.address, socket_path, origin="http://evil.example")[0] == 403

    def test_no_path_leads_to_a_file(self, studio):
        for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/modern/config.toml", "/docs", "/openapi.json"):
            status, body = get(studio.address, path)
            assert "root:" not in body
            assert "n_layer" not in body
            assert status in (400, 404)

    def test_a_run_outside_of_the_folder_cannot_be_named(self, visit, runs_folder):
        make_run(runs_folder.parent / "secret", text="The secret")
        window = visit("run=../secret&prompt=The").opened()
        window.says(".status", "which is not here")
        assert window.page.locator("select").first.input_value() == "modern"

    def test_page_and_api_require_the_token(self, runs_folder, browser):
        studio = Studio(runs_folder, "--token", "open sesame")
        bare = studio.address.partition("?")[0]
        assert studio.address.endswith("?token=open%20sesame")
        assert get(bare)[0] == 401
        assert get(bare, "/v1/models")[0] == 401
        assert get(bare, "/v1/models", Authorization="Bearer open sesame")[0] == 200
        window = Window(browser, studio).opened()
        assert "token" not in window.page.url.partition("#")[0]
        window.button("Write").click()
        assert window.written()
        assert not window.errors
        window.close()
        assert studio.end() == 0


@slow
def test_it_is_usable_in_two_seconds(tmp_path, browser):
    """With two million parameters: from the line that it listens to an open model. The best of some starts counts."""
    text = "".join(map(chr, range(32, 96)))
    sizes = {"n_layer": 6, "n_head": 6, "n_embd": 168, "head_size": 28, "mlp_hidden": 448, "block_size": 256}
    run = make_run(tmp_path / "runs" / "large", text=text, **sizes)
    assert 1.8e6 < run.model.parameter_count < 2.4e6
    took = []
    for _ in range(TRIES):
        studio = Studio(tmp_path / "runs")
        began = time.perf_counter()
        window = Window(browser, studio).opened()
        took.append(time.perf_counter() - began)
        window.close()
        studio.end()
        if took[-1] < WITHIN_SECONDS:
            return
    raise AssertionError(f"usable after {took} seconds")


@slow
def test_nothing_of_a_run_is_executed(tmp_path, browser):
    run = make_run(tmp_path / "runs" / "modern", text="The cat")
    trap = f"import pathlib; pathlib.Path({str(tmp_path / 'sprung')!r}).touch()"
    for name in ("config.py", "sitecustomize.py", "__init__.py", "conftest.py", "model.py"):
        (run.path / name).write_text(trap)
    torch.save({"a": 1}, run.path / "model.pt")
    studio = Studio(tmp_path / "runs")
    window = Window(browser, studio, "tokens=5").opened()
    window.button("Write").click()
    assert window.written()
    window.close()
    studio.end()
    assert not (tmp_path / "sprung").exists()
