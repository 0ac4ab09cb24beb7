"""The view "Write" without a browser: what happens where something fails, or two things happen at once."""

import asyncio
import threading

import pytest
from tiny import make_run

pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'nanogpt[studio]'")

from nicegui.client import Client
from nicegui.page import page

from nanogpt.errors import UserError
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State
from nanogpt.studio.write.desk import Desk
from nanogpt.text.tokenizer import CharTokenizer

STATE = State(prompt="the ", tokens=200, temperature=1.0, seed=7)


@pytest.fixture
def make_desk(tmp_path):
    """Desks on one model, whose texts end at their limit alone."""
    make_run(tmp_path / "tale", tokenizer=CharTokenizer("".join(sorted(set("the cat sat"))), end_of_document=False))
    clients = []

    def make(state=STATE):
        clients.append(Client(page("")))
        with clients[-1]:
            return Desk(Shelf(tmp_path), state, lambda state: None)

    yield make
    for one in clients:
        one.delete()


def status_of(desk):
    return desk._status.text


def is_free(desk):
    buttons = (desk._write, desk._continue, desk._stop)
    return [bool(one.props["disabled"]) for one in buttons] == [False, False, True]


def alone(desk, tokens):
    return desk.columns[0].run.generate("the ", tokens=tokens, temperature=1.0, seed=7)


@pytest.mark.parametrize(
    ("error", "words"), [(RuntimeError("out of memory"), "log says why"), (UserError("it diverged"), "it diverged")]
)
def test_an_error_is_told_and_the_buttons_are_free(make_desk, monkeypatch, caplog, error, words):
    desk = make_desk()

    def fail(*words, **options):
        raise error

    async def scenario():
        await desk.start()
        with monkeypatch.context() as patch:
            patch.setattr("nanogpt.studio.write.column.write_told", fail)
            await desk.write()
        assert words in status_of(desk)
        assert is_free(desk)
        await desk.write()

    asyncio.run(scenario())
    assert ("out of memory" in caplog.text) == isinstance(error, RuntimeError)
    assert desk.columns[0].plain == alone(desk, 200)


def test_an_error_in_one_column_ends_the_other(make_desk, monkeypatch):
    from nanogpt.studio.write import column

    desk = make_desk(State(prompt="the ", tokens=10_000, run2="tale"))
    written = column.write_told

    def fail_once(*words):
        monkeypatch.setattr(column, "write_told", written)
        raise RuntimeError("out of memory")

    async def scenario():
        await desk.start()
        monkeypatch.setattr(column, "write_told", fail_once)
        await desk.write()
        assert is_free(desk)
        assert all(one.stop.is_set() for one in desk.columns)

    asyncio.run(scenario())


def test_a_model_that_cannot_be_opened_is_told(make_desk, monkeypatch):
    desk = make_desk()

    def fail(*words):
        raise PermissionError("no")

    with monkeypatch.context() as patch:
        patch.setattr(desk.shelf, "open", fail)
        asyncio.run(desk.start())
    assert "log says why" in status_of(desk)


def test_a_text_that_is_begun_while_another_is_written_can_be_stopped(make_desk):
    """The end of the first one is not the end of the work."""
    desk = make_desk(State(prompt="the ", tokens=10_000, temperature=1.0, seed=7))

    async def scenario():
        await desk.start()
        first = asyncio.create_task(desk.write())
        while len(desk.columns[0].ids) < 10:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(desk.write())
        await first
        assert status_of(desk) == "Writing …"
        assert not desk._stop.props["disabled"]
        desk.stop()
        await second
        assert status_of(desk).count("Stopped after") == 1
        assert is_free(desk)

    asyncio.run(scenario())


def test_continue_pressed_twice_writes_one_text(make_desk):
    desk = make_desk()

    async def scenario():
        await desk.start()
        await desk.write()
        first = asyncio.create_task(desk.go_on())
        while len(desk.columns[0].ids) <= len("the ") + 200:
            await asyncio.sleep(0.005)
        await asyncio.gather(first, desk.go_on())

    asyncio.run(scenario())
    found = desk.columns[0].plain
    assert found == alone(desk, len(found) - len("the "))


def test_a_text_that_is_begun_while_an_old_one_is_read_stays(make_desk):
    first = make_desk()

    async def branch():
        await first.start()
        await first.write()
        for place in (20, 10):
            told = first.columns[0].thoughts()[place]
            other = next(one for one in told.others if one.token != told.choice.token)
            assert first.columns[0].branch(place, other.token)
        first._save()

    asyncio.run(branch())
    desk = make_desk(first.state)

    async def scenario():
        opening = asyncio.create_task(desk.start())
        while desk.columns[0].run is None:
            await asyncio.sleep(0)
        await asyncio.gather(opening, desk.write())

    asyncio.run(scenario())
    assert desk.columns[0].plain == alone(desk, 200)
    assert [len(one) for one in desk.columns[0].told] == [len("the ") + 200 - 1]


def test_who_chooses_another_model_while_one_is_read_gets_the_other(make_desk, monkeypatch, tmp_path):
    """A large one that comes late must not take the place of the small one that was chosen after it."""
    make_run(tmp_path / "large")
    desk = make_desk(State(run="tale"))
    desk.shelf.open("tale")
    choice, open_now, go_on = desk.choices[0], desk.shelf.open, threading.Event()

    def open_late(name, *words):
        if name == "large":
            assert go_on.wait(10)
        return open_now(name, *words)

    async def scenario():
        await desk.start()
        monkeypatch.setattr(desk.shelf, "open", open_late)
        first = asyncio.create_task(choice._choose_name("large"))
        await asyncio.sleep(0.05)
        await choice._choose_name("tale")
        go_on.set()
        await first

    asyncio.run(scenario())
    run = desk.columns[0].run
    assert desk.shelf.name_of(run) == "tale"
    assert choice.hash == desk.shelf.hash_of(run)
    assert desk.columns[0].title.text == "tale"
