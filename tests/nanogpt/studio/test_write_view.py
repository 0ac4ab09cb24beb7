import asyncio
import threading

import pytest
from tiny import make_run, raising

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'nanogpt[studio]'")

from nicegui.client import Client
from nicegui.page import page

from nanogpt.errors import UserError
from nanogpt.studio import write_column
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State
from nanogpt.studio.write_view import WriteView
from nanogpt.text.tokenizer import CharTokenizer

SETTINGS = {"prompt": "the ", "temperature": 1.0, "seed": 7}
SHORT, LONG = State(**SETTINGS, tokens=60), State(**SETTINGS, tokens=10_000)


@pytest.fixture
def make_view(tmp_path):
    """Makes views on one model, which never ends a text."""
    make_run(tmp_path / "tale", tokenizer=CharTokenizer("".join(sorted(set("the cat sat"))), end_of_document=False))
    clients = []

    def make(state=SHORT):
        clients.append(Client(page("")))
        with clients[-1]:
            return WriteView(RunRegistry(tmp_path), state, lambda state: None)

    yield make
    for one in clients:
        one.delete()


def is_free(view):
    buttons = (view._write, view._continue, view._stop)
    return [bool(one.props["disabled"]) for one in buttons] == [False, False, True]


def wanted(view, tokens=60):
    return view.columns[0].run.generate("the ", tokens=tokens, temperature=1.0, seed=7)


@pytest.mark.parametrize(
    ("error", "words"), [(RuntimeError("out of memory"), "log says why"), (UserError("it diverged"), "it diverged")]
)
def test_an_error_is_shown_and_the_buttons_are_free(make_view, monkeypatch, caplog, error, words):
    view = make_view()

    async def scenario():
        await view.start()
        with monkeypatch.context() as patch:
            patch.setattr(write_column, "generate_predictions", raising(error))
            await view.write()
        assert words in view._status.text
        assert is_free(view)
        await view.write()

    asyncio.run(scenario())
    assert ("out of memory" in caplog.text) == isinstance(error, RuntimeError)
    assert view.columns[0].plain == wanted(view)


def test_an_error_in_one_column_ends_the_other(make_view, monkeypatch):
    view = make_view(State(prompt="the ", tokens=10_000, run2="tale"))
    original = write_column.generate_predictions

    def fail_once(*words):
        monkeypatch.setattr(write_column, "generate_predictions", original)
        raise RuntimeError("out of memory")

    async def scenario():
        await view.start()
        monkeypatch.setattr(write_column, "generate_predictions", fail_once)
        await view.write()
        assert is_free(view)
        assert all(one.stop.is_set() for one in view.columns)

    asyncio.run(scenario())


def test_a_text_that_is_begun_while_another_is_written_can_be_stopped(make_view):
    view = make_view(LONG)

    async def scenario():
        await view.start()
        first = asyncio.create_task(view.write())
        while len(view.columns[0].ids) < 10:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(view.write())
        await first
        assert view._status.text == "Writing …"
        assert not view._stop.props["disabled"]
        view.stop()
        await second
        assert view._status.text.count("Stopped after") == 1
        assert is_free(view)

    asyncio.run(scenario())


def test_continue_pressed_twice_writes_one_text(make_view):
    view = make_view()

    async def scenario():
        await view.start()
        await view.write()
        first = asyncio.create_task(view.go_on())
        while len(view.columns[0].ids) <= len("the ") + 60:
            await asyncio.sleep(0.005)
        await asyncio.gather(first, view.go_on())

    asyncio.run(scenario())
    found = view.columns[0].plain
    assert found == wanted(view, len(found) - len("the "))


def test_a_new_text_is_not_replaced_by_an_old_one_that_was_still_being_read(make_view):
    first = make_view()

    async def branch():
        await first.start()
        await first.write()
        for position in (20, 10):
            found = first.columns[0].prediction(position)
            other = next(one for one in found.alternatives if one.token != found.choice.token)
            assert first.columns[0].branch(position, other.token)
        first._save()

    asyncio.run(branch())
    view = make_view(first.state)

    async def scenario():
        opening = asyncio.create_task(view.start())
        while view.columns[0].run is None:
            await asyncio.sleep(0)
        await asyncio.gather(opening, view.write())

    asyncio.run(scenario())
    assert view.columns[0].plain == wanted(view)
    assert [len(one) for one in view.columns[0].predictions] == [len("the ") + 60 - 1]


def test_the_last_chosen_model_wins_over_one_that_loads_slowly(make_view, monkeypatch, tmp_path):
    make_run(tmp_path / "large")
    view = make_view(State(run="tale"))
    view.registry.open("tale")
    choice, open_now, go_on = view.choices[0], view.registry.open, threading.Event()

    def open_late(name, *words):
        if name == "large":
            assert go_on.wait(10)
        return open_now(name, *words)

    async def scenario():
        await view.start()
        monkeypatch.setattr(view.registry, "open", open_late)
        first = asyncio.create_task(choice._choose_name("large"))
        await asyncio.sleep(0.05)
        await choice._choose_name("tale")
        go_on.set()
        await first

    asyncio.run(scenario())
    run = view.columns[0].run
    assert view.registry.name_of(run) == view.columns[0].title.text == "tale"
    assert choice.hash == view.registry.hash_of(run)
