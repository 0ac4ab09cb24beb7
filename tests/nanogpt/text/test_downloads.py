import hashlib
import http.server
import io
import sys
import threading

import pytest
from tiny import refuses

from nanogpt import plan
from nanogpt.cli.main import main
from nanogpt.files import cache_folder
from nanogpt.text import downloads
from nanogpt.text.corpus import load_corpus
from nanogpt.training.options import TrainOptions, start_training

TALE = "Once upon a time, said the tale.\n" * 19
SIZES = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 8, "sample_tokens": 0}
ANSWERS = {
    "/tale.txt": (200, {"Content-Type": "text/plain"}, TALE),
    "/pages/7": (200, {"Content-Type": "text/html; charset=utf-8"}, "<p>Once"),
    "/blob/tale.txt": (200, {"Content-Type": "text/html"}, "<p>Once"),
    "/pdf/1706.03762": (200, {"Content-Type": "application/pdf"}, "PDF"),
    "/download": (200, {"Content-Type": "application/epub+zip"}, "PK"),
    "/caf%C3%A9%20ole.md": (200, {"Content-Type": "text/plain"}, "Once"),
    "/there": (302, {"Location": "/tale.txt"}, ""),
    "/file": (302, {"Location": "file:///etc/hostname"}, ""),
    "/ftp": (302, {"Location": "ftp://127.0.0.1:9/tale.txt"}, ""),
    "/loop": (302, {"Location": "/loop"}, ""),
    "/cut": (200, {"Content-Length": "100000"}, "Once"),
    "/long": (200, {"Content-Type": "text/plain"}, TALE * 99),
}


@pytest.fixture
def web():
    """Serve ANSWERS; return the address, and the paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, headers, body = ANSWERS.get(self.path, (404, {}, ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def kept():
    return [path for path in (cache_folder() / "fetched").rglob("*") if path.is_file()]


def test_a_text_is_fetched_once_and_then_read_without_a_network(web):
    home, asked = web
    refuses(lambda: load_corpus(f"{home}/tale.txt"), "--yes", "1 GB", "yes=True", "give its path")
    assert (asked, kept()) == ([], [])
    found = load_corpus([f"{home}/tale.txt"], yes=True)
    assert (found.text, found.name, found.source) == (TALE, "tale", f"{home}/tale.txt")
    assert hashlib.sha256(TALE.encode()).hexdigest() in found.notes[0]
    assert load_corpus(found.source).text == TALE
    assert asked == ["/tale.txt"]
    refuses(lambda: load_corpus(f"{home}/tale.txt?again"), "--yes")


@pytest.mark.parametrize(("answer", "fetched"), [("y\n", True), ("\n", False), ("no\n", False)])
def test_a_terminal_asks(web, monkeypatch, answer, fetched):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    home, asked = web
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if fetched:
        assert load_corpus(f"{home}/tale.txt").text == TALE
    else:
        refuses(lambda: load_corpus(f"{home}/tale.txt"), "--yes")
    assert f"{home}/tale.txt" in sys.stderr.getvalue()
    assert asked == ["/tale.txt"] * fetched


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/pages/7", "7.html"),
        ("/blob/tale.txt", "tale.txt.html"),
        ("/pdf/1706.03762", "1706.03762.pdf"),
        ("/download", "download.epub"),
        ("/café ole.md", "café-ole.md"),
        ("/there", "there.txt"),
    ],
)
def test_the_name_says_how_the_file_is_read(web, path, name):
    assert downloads.local_copy(web[0] + path, agreed=True)[0].name == name


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/missing.txt", ["404"]),
        ("/file", ["file:"]),
        ("/ftp", ["unknown url type: ftp"]),
        ("/loop", ["302"]),
        ("/cut", ["99,996 bytes too early"]),
        ("/long", ["more than 50,021 bytes"]),
    ],
)
def test_what_cannot_be_fetched_leaves_nothing(web, monkeypatch, path, words):
    monkeypatch.setattr(downloads, "MOST_BYTES", 50_021)
    refuses(lambda: load_corpus(web[0] + path, yes=True), f"cannot fetch {web[0]}{path}", "give its path", *words)
    assert kept() == []


def test_without_a_network_or_by_another_protocol():
    refuses(lambda: load_corpus("https://example.org/tale.txt", yes=True), "no connection", "save the file")
    refuses(lambda: load_corpus("ftp://example.org/tale.txt", yes=True), "no file or folder")


def test_a_run_of_an_address(web, monkeypatch, tmp_path, capsys):
    home, asked = web
    address = f"{home}/tale.txt"
    refuses(lambda: plan(address, n_layer=1, progress=False), "yes=True")
    start_training(TrainOptions(text=address, steps=2, out="run", yes=True), SIZES, quiet=True)  # killed at once
    for number, command in enumerate([["train", "--resume", "run"], ["eval", "run"]]):
        monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / f"another-{number}"))
        assert main(command) == 2
        assert "--yes" in capsys.readouterr().err
        assert main([*command, "--yes"]) == 0
    assert main(["eval", "run", "--text", f"{home}/there", "--yes"]) == 0
    assert main(["data", "check", address, "--json"]) == 0  # it is here now
    assert asked == [*["/tale.txt"] * 3, "/there", "/tale.txt"]
