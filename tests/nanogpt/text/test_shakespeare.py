"""Tiny Shakespeare from disk, and downloaded from a server of our own."""

import hashlib
import http.server
import socket
import threading
import time

import pytest

from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text import shakespeare
from nanogpt.text.corpus import load_corpus
from nanogpt.text.shakespeare import CorpusUnavailable

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"


def refuses(*words, source):
    with pytest.raises(UserError) as caught:
        load_corpus(source)
    for word in words:
        assert word in str(caught.value), caught.value
    return caught.value


@pytest.fixture
def play(monkeypatch):
    """Tiny Shakespeare, tinier."""
    monkeypatch.setattr(shakespeare, "SHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    monkeypatch.setattr(shakespeare, "SHAKESPEARE_BYTES", len(PLAY))
    return PLAY


@pytest.fixture
def serve(monkeypatch):
    """Answer every request with some bytes, on this machine."""
    servers = []

    def start(body, status=200, seconds=0.0):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(seconds)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setattr(shakespeare, "SHAKESPEARE_URL", f"http://127.0.0.1:{server.server_port}/input.txt")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def cached():
    return cache_folder() / "shakespeare.txt"


def test_shakespeare_is_downloaded_once(play, serve, monkeypatch):
    serve(play)
    found = load_corpus("shakespeare")
    assert (found.text.encode(), found.name, found.source) == (play, "shakespeare", "shakespeare")
    assert cached().read_bytes() == play
    monkeypatch.setattr(shakespeare, "_download", None)  # a second one would raise
    assert load_corpus("shakespeare").text == found.text == load_corpus().text


def test_the_data_folder_comes_before_the_cache(play, monkeypatch, tmp_path):
    (tmp_path / "shakespeare.txt").write_bytes(play)
    cached().parent.mkdir(parents=True, exist_ok=True)
    cached().write_bytes(b"never read")
    monkeypatch.setenv("NANOGPT_DATA", str(tmp_path))
    assert load_corpus("shakespeare").text.encode() == play


def test_a_data_folder_without_it_is_passed_over(play, monkeypatch, tmp_path):
    monkeypatch.setenv("NANOGPT_DATA", str(tmp_path))
    cached().write_bytes(play)
    assert load_corpus("shakespeare").text.encode() == play


def test_a_data_folder_that_there_is_not(monkeypatch):
    monkeypatch.setenv("NANOGPT_DATA", "nowhere")
    refuses("NANOGPT_DATA is 'nowhere'", "not a folder", source="shakespeare")


def test_a_file_of_that_name_with_another_text_is_refused(monkeypatch, tmp_path):
    (tmp_path / "shakespeare.txt").write_bytes(PLAY)
    monkeypatch.setenv("NANOGPT_DATA", str(tmp_path))
    refuses("shakespeare.txt is not Tiny Shakespeare", "SHA-256", source="shakespeare")


@pytest.mark.parametrize("change", [lambda play: play[:-2] + b"!\n", lambda play: play + b"x" * 100_000])
def test_a_download_of_something_else_is_not_kept(play, serve, change):
    """A network's sign-in page answers every address with 200: named, it is refused; by default, `python` is read."""
    serve(change(play))
    error = refuses("is not Tiny Shakespeare", "nothing was kept", "NANOGPT_DATA", source="shakespeare")
    assert isinstance(error, CorpusUnavailable)
    assert not cached().exists()
    assert load_corpus().name == "python"


def unavailable(*words):
    error = refuses("'shakespeare'", "network", "NANOGPT_DATA", "'python'", *words, source="shakespeare")
    assert isinstance(error, CorpusUnavailable)
    assert not cached().exists()


def test_a_server_that_fails(serve):
    serve(b"", status=503)
    unavailable("Service Unavailable")


def test_a_server_that_does_not_answer_in_time(serve, monkeypatch):
    monkeypatch.setattr(shakespeare, "DOWNLOAD_TIMEOUT_SECONDS", 0.1)
    serve(PLAY, seconds=0.5)
    unavailable("timed out")


def test_no_network():
    unavailable()


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nFi"]
)
def test_a_server_that_speaks_something_else(answer, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply():
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(answer)
            connection.close()

        threading.Thread(target=reply, daemon=True).start()
        monkeypatch.setattr(shakespeare, "SHAKESPEARE_URL", f"http://127.0.0.1:{server.getsockname()[1]}/")
        unavailable()
