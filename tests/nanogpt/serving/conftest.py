import threading
from types import SimpleNamespace

import pytest
from served import until
from tiny import make_run

from nanogpt.serving.app import make_app
from nanogpt.serving.engine import Engine
from nanogpt.serving.server import Server, address_of, listen
from nanogpt.serving.settings import Access, Limits
from nanogpt.text.tokenizer import CharTokenizer

NAME = "tale-1"


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / NAME)


@pytest.fixture
def endless(tmp_path):
    """Return a run whose texts end only at their limit."""
    tokenizer = CharTokenizer.train(["hello there, old world"], end_of_document=False)
    return make_run(tmp_path / "endless", tokenizer=tokenizer)


@pytest.fixture
def engines():
    """Create engines of runs, and close them."""
    made = []

    def make(run, rows=5, **options):
        made.append(Engine(run.model, run.tokenizer, rows=rows, about="tale-1-step-1-float32", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def live(run, engines):
    """Start servers: `live(rows=3)`; each has a `url`, an `engine` and a `run`, and can `stop`."""
    started = []

    def start(*, rows=5, access=None, limits=None, run=run, engine=None, grace_seconds=0.2):
        limits = limits or Limits()
        engine = engine or engines(run, rows, limits=limits)
        listening = listen("127.0.0.1", 0)
        server = Server(make_app({NAME: engine}, access or Access(), limits), [engine], grace_seconds)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: server.started)

        def stop():
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

        started.append(stop)
        port = listening.getsockname()[1]
        return SimpleNamespace(url=address_of(listening), port=port, engine=engine, run=run, server=server, stop=stop)

    yield start
    for stop in started:
        stop()
