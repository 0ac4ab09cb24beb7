"""What every test gets: an empty folder, an empty cache, no network, one thread, a fixed seed.

At the root, and not in `tests/`, so that the doctests in `nanogpt/` get it too.
"""

import os
import signal
import socket
import ssl
from pathlib import Path

import pytest

# One thread each, also in child processes: tests run in parallel, and sums are then rounded in one way.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from hypothesis import settings

torch.set_num_threads(1)

# The same examples each time, and no deadline on a busy machine.
settings.register_profile("nanogpt", derandomize=True, deadline=None)
settings.load_profile("nanogpt")

# A shell's background process ignores Ctrl-C; then Python raises no KeyboardInterrupt, which tests expect.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A port that nothing listens on: a client that respects the proxy variables fails at once, also in a child process.
NOWHERE = "http://127.0.0.1:9"

BROWSERS = {"browser", "open_page", "open_window"}
"""Fixtures that open Chromium; tests that use one are marked `browser`."""

WORDS = "the cat sat on the mat, and the dog saw that the cat sat there. so they ran to a tree; it was red."


def pytest_collection_modifyitems(items):
    """Mark the tests that open a browser."""
    for item in items:
        if BROWSERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")


@pytest.fixture(autouse=True)
def isolated(tmp_path, tmp_path_factory):
    """Set an empty working folder, an empty cache, no data folder, no network, and a seed."""
    with pytest.MonkeyPatch.context() as patch:  # a test's `monkeypatch.undo()` does not undo it
        patch.chdir(tmp_path)
        patch.setenv("NANOGPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("NANOGPT_DATA", raising=False)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name.upper(), raising=False)
            patch.setenv(name, NOWHERE)
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        forbid_network(patch)
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)  # takes most of a client's start
        patch.setattr(os, "fsync", lambda file: None)  # no test outlives a power failure, and a busy disk takes long
        torch.default_generator.manual_seed(1337)  # `torch.manual_seed` asks each accelerator, which takes long
        yield


def forbid_network(patch):
    """Let connections to other machines raise."""

    def guarded(original):
        def connect(self, address):
            if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in ("127.0.0.1", "::1", "localhost"):
                raise AssertionError(f"a test tried to connect to {address}")
            return original(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """Return the folder of a small finished run: 2 layers, trained on 2,000 characters."""
    import nanogpt

    home = tmp_path_factory.mktemp("finished")
    text = home / "cats.txt"
    text.write_text((WORDS + "\n") * 30, encoding="utf-8")
    text.write_text(text.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16, "batch_size": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANOGPT_CACHE", str(home / "cache"))
        nanogpt.train(text, steps=30, out=home / "run", progress=False, sample_tokens=4, **sizes)
    return home / "run"


@pytest.fixture(autouse=True)
def _doctests(request, isolated):
    """Provide the names that the examples in docstrings use, and the text that they train on."""
    if isinstance(request.node, pytest.DoctestItem):
        import nanogpt

        names = request.getfixturevalue("doctest_namespace")
        names.update(nanogpt=nanogpt, torch=torch, folder=request.getfixturevalue("finished_run"))
        Path("tale.txt").write_text((WORDS + "\n") * 10, encoding="utf-8")
