import contextlib
import hashlib
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tiny import raising, refuses

from nanogpt.files import cache_folder
from nanogpt.text import downloads, named_corpora
from nanogpt.text.corpus import load_corpus
from nanogpt.text.named_corpora import CorpusUnavailable

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"


@pytest.fixture
def play(monkeypatch):
    monkeypatch.setattr(named_corpora, "SHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    monkeypatch.setattr(named_corpora, "SHAKESPEARE_BYTES", len(PLAY))
    return PLAY


@pytest.fixture
def serve(monkeypatch):
    """Answer every connection to the address of Tiny Shakespeare with some bytes, on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(named_corpora, "SHAKESPEARE_URL", f"http://127.0.0.1:{port}/input.txt")

        def start(answer, seconds=0.0):
            def reply():
                with contextlib.suppress(OSError):  # until the server is closed
                    while True:
                        connection, _ = server.accept()
                        connection.recv(4096)
                        time.sleep(seconds)
                        connection.sendall(answer)
                        connection.close()

            threading.Thread(target=reply, daemon=True).start()

        yield start


def http_answer(body, status="200 OK"):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def cached():
    return cache_folder() / "shakespeare.txt"


def test_shakespeare_is_downloaded_once(play, serve, monkeypatch):
    serve(http_answer(play))
    found = load_corpus("shakespeare")
    assert (found.text.encode(), found.name, found.source) == (play, "shakespeare", "shakespeare")
    assert cached().read_bytes() == play
    monkeypatch.setattr(named_corpora, "SHAKESPEARE_URL", None)  # another download would raise
    assert load_corpus("shakespeare").text == found.text == load_corpus().text


@pytest.mark.parametrize(("data", "cache"), [(PLAY, b"never read"), (None, PLAY)])
def test_the_data_folder_comes_before_the_cache(play, monkeypatch, tmp_path, data, cache):
    if data is not None:
        (tmp_path / "shakespeare.txt").write_bytes(data)
    cached().write_bytes(cache)
    monkeypatch.setenv("NANOGPT_DATA", str(tmp_path))
    assert load_corpus("shakespeare").text.encode() == play


def test_a_wrong_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NANOGPT_DATA", "nowhere")
    refuses(lambda: load_corpus("shakespeare"), "NANOGPT_DATA is 'nowhere'")
    (tmp_path / "shakespeare.txt").write_bytes(PLAY)
    monkeypatch.setenv("NANOGPT_DATA", str(tmp_path))
    refuses(lambda: load_corpus("shakespeare"), "shakespeare.txt is not Tiny Shakespeare", "SHA-256")


@pytest.mark.parametrize("change", [lambda play: play[:-2] + b"!\n", lambda play: play + b"x" * 100_000])
def test_a_download_of_something_else_is_not_kept(play, serve, change):
    """A network's sign-in page answers every address with 200; a default corpus is then `python`."""
    serve(http_answer(change(play)))
    with pytest.raises(CorpusUnavailable, match=r"other than Tiny Shakespeare|more than 122 bytes"):
        load_corpus("shakespeare")
    assert not cached().exists()
    assert load_corpus().name == "python"


def unavailable(*words):
    with pytest.raises(CorpusUnavailable) as caught:
        load_corpus("shakespeare")
    assert all(word in str(caught.value) for word in ("'shakespeare'", "NANOGPT_DATA", "'python'", *words))
    assert not cached().exists()


def test_a_network_that_is_not_there_is_named_in_words(monkeypatch):
    error = urllib.error.URLError(socket.gaierror(-2, "Name not known"))
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", raising(error))
    assert "[Errno" not in refuses(lambda: load_corpus("shakespeare"), ": Name not known)")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (http_answer(b"", "503 Service Unavailable"), "Service Unavailable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "network"),
        (b"", "network"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nFi", "network"),
    ],
)
def test_a_server_that_answers_something_else(serve, answer, word):
    serve(answer)
    unavailable(word)


def test_a_server_that_does_not_answer_in_time(serve, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.1)
    serve(PLAY, seconds=0.5)
    unavailable("timed out")


@pytest.fixture
def small_python(monkeypatch):
    """A standard library of three files, one of them a test."""
    for name in ("b.py", "a.py", "test/c.py"):
        path = Path("stdlib", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    monkeypatch.setattr(named_corpora.sysconfig, "get_paths", lambda: {"stdlib": "stdlib"})


def test_python_is_the_standard_library_without_its_tests(small_python):
    found = load_corpus("python")
    assert found.documents == ("# a.py\n", "# b.py\n")
    assert (found.name, found.source, found.notes) == ("python", "python", ())
    Path("python").write_text("my own")
    assert load_corpus("python").documents[0] == "# a.py\n"  # a name wins over a file
    assert load_corpus("./python").text == "my own"


def test_without_a_network_the_default_is_python_with_a_note(small_python):
    unavailable()  # a corpus given by name is never replaced
    found = load_corpus()
    assert (found.name, found.source) == ("python", "python")
    (note,) = found.notes
    assert "'shakespeare' is not on this machine" in note
    assert "'python'" in note
    assert "\n" not in note
