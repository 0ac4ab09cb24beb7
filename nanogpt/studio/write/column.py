"""One model and its text: written, read again, branched, walked back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import chain

from nanogpt.config import SampleConfig
from nanogpt.runs.run import Run
from nanogpt.sampling.text import encode_prompt
from nanogpt.studio.parts import Branches, Line, Shown, Tag, Text, TokenText, level_of, percent
from nanogpt.studio.told import Told, about, read_told, write_told
from nanogpt.studio.work import in_pieces
from nanogpt.studio.writing import Tree, pieces


class Column:
    """A text on the page. `choose` is told a place in it, or None; `changed` when another branch is shown."""

    def __init__(self, title: str, choose: Callable[[int | None], None], changed: Callable[[], None]) -> None:
        self.run: Run | None = None
        self.lock = threading.Lock()
        self.tree: Tree | None = None
        self.told: list[list[Told]] = []
        """of each branch's own tokens; the very first token of the text has none"""
        self.stop = threading.Event()
        self._changed = changed
        self.from_nothing = False
        """whether the first token is only what an empty prompt starts after"""
        with Tag("div", "column") as self.frame:
            self.title = Text("h3", "")
            self.about = Text("p", "", "hint")
            self.text = TokenText(f"{title}. The arrow keys choose a token.", choose, self._tip)
            self.branches = Branches("Branches of the text", self.go)
            self.branches.set_visibility(False)

    def use(self, run: Run, lock: threading.Lock, name: str) -> None:
        """Write with another model."""
        self.run, self.lock = run, lock
        self.title.set_text(name)
        self.about.set_text(about(run))
        self.clear()

    def clear(self) -> None:
        """Forget the text."""
        self.stop.set()
        self.tree, self.told = None, []
        self.text.show([])
        self._show_branches()

    @property
    def ids(self) -> list[int]:
        """The text that is shown."""
        return [] if self.tree is None else self.tree.path()

    @property
    def plain(self) -> str:
        """The text that is shown, without what an empty prompt starts after."""
        assert self.run is not None
        return self.run.tokenizer.decode(self.ids[self.from_nothing :])

    def origin(self, place: int) -> str:
        """Where the token at a place comes from, in words."""
        if self.tree is not None and place in self.tree.by_hand():
            return "Chosen by you"
        return "Part of the prompt" if self._is_prompt(place) else "Written by the model"

    def thoughts(self) -> list[Told | None]:
        """What the model thought at each place of the text that is shown; None at the first."""
        return [None, *self._thoughts(self.tree.current)] if self.tree is not None else []

    async def write(self, prompt: str, config: SampleConfig) -> str:
        """Begin a text, and tell how it went."""
        assert self.run is not None
        run, ids = self.run, encode_prompt(self.run.tokenizer, prompt, "skip").tolist()
        self.from_nothing = not len(run.tokenizer.encode(prompt, "skip"))
        self.tree, self.told = Tree.begin(ids), [[]]
        self._show_all(None)
        return await self._take(lambda: chain(read_told(run, ids), write_told(run, ids, config)), config)

    async def go_on(self, config: SampleConfig) -> str:
        """Write on at the end of what is shown."""
        assert self.run is not None
        run, ids = self.run, self.ids
        return await self._take(lambda: write_told(run, ids, config), config)

    def branch(self, place: int, token: int) -> bool:
        """Put another of the likeliest tokens at a place; whether the text that begins so has still to be written."""
        assert self.tree is not None
        before = self.thoughts()[place]
        assert before is not None
        self.stop.set()
        new = self.tree.choose(place, token)
        if new:
            chosen = next(one for one in before.others if one.token == token)
            self.told.append([Told(chosen, before.others)])
        self._show_all(place)
        return new

    async def restore(self, tree: Tree, prompt: str, chosen: int | None) -> None:
        """Show a text that was written before, and read it again: the probabilities come with it."""
        assert self.run is not None
        run, stop, told = self.run, self._begin(), list[list[Told]]()
        for number, one in enumerate(tree.branches):
            make = partial(read_told, run, tree.path(number), max(one.start, 1))
            async with aclosing(in_pieces(make, self.lock, stop)) as lots:
                told.append([each async for lot in lots for each in lot])
        if not stop.is_set():  # nobody began another text meanwhile, or chose another model
            self.from_nothing = not len(run.tokenizer.encode(prompt, "skip"))
            self.tree, self.told = tree, told
            self._show_all(chosen)

    def go(self, branch: int) -> None:
        """Show another branch."""
        if self.tree is not None and 0 <= branch < len(self.tree.branches):
            self.stop.set()
            self.tree.current = branch
            self._show_all(None)
            self._changed()

    def back(self) -> int | None:
        """Show the branch that this one left; the place where it did, None where there is none."""
        place = None if self.tree is None else self.tree.back()
        if place is not None:
            self.stop.set()
            self._show_all(place)
        return place

    async def _take(self, make: Callable[[], Iterator[Told]], config: SampleConfig) -> str:
        """Show what comes, as it comes, and tell how many tokens of the model's own there were.

        Where another text is begun meanwhile, the rest is not shown, and there is nothing to tell.
        """
        tree = self.tree
        assert tree is not None
        assert self.run is not None
        branch, own, decoder = tree.current, self.told[tree.current], self.run.tokenizer.decoder()
        shown = len(tree.path())
        first = not own  # a text's beginning: its prompt is read before anything is written
        waiting = shown - 1 if first and tree.branches[branch].parent is None else 0
        for token in self.ids:
            decoder.feed(token)
        stop, began, count = self._begin(), time.perf_counter(), 0
        async with aclosing(in_pieces(make, self.lock, stop)) as lots:
            async for lot in lots:
                if not self._is_current(tree, branch, stop):
                    break
                own += lot
                new = lot[waiting:]
                waiting = max(0, waiting - len(lot))
                for one in new:
                    tree.add(one.choice.token)
                count += len(new)
                self.text.add([_shown(one, decoder.feed(one.choice.token)) for one in new])
        seconds = time.perf_counter() - began
        await self.text.arrived()
        if stop is not self.stop:
            return ""
        return _pace(count, config.tokens, seconds, stopped=stop.is_set() and count < config.tokens)

    def _is_current(self, tree: Tree, branch: int, stop: threading.Event) -> bool:
        """Whether what is written belongs to the text that is shown, and nobody else writes it on."""
        shown = tree is self.tree and tree.current == branch and not self.text.is_deleted
        return shown and stop is self.stop

    def _begin(self) -> threading.Event:
        self.stop.set()
        self.stop = threading.Event()
        return self.stop

    def _thoughts(self, branch: int) -> list[Told]:
        assert self.tree is not None
        one, own = self.tree.branches[branch], self.told[branch]
        return own if one.parent is None else self._thoughts(one.parent)[: one.start - 1] + own

    def _show_all(self, chosen: int | None) -> None:
        assert self.tree is not None
        assert self.run is not None
        ids, by_hand, thoughts = self.ids, set(self.tree.by_hand()), self.thoughts()
        shown = []
        for place, text in enumerate(pieces(self.run.tokenizer, ids)):
            told = thoughts[place] if place < len(thoughts) else None
            if place == 0 and self.from_nothing:
                shown.append(Shown("", 0, "start"))
            elif place in by_hand:
                shown.append(Shown(text, 0, "hand"))
            elif self._is_prompt(place):
                shown.append(Shown(text, 0, "prompt"))
            else:
                shown.append(_shown(told, text))
        self.text.show(shown, chosen)
        self._show_branches()

    def _is_prompt(self, place: int) -> bool:
        assert self.tree is not None
        number, first = self.tree.current, len(self.ids)
        while (one := self.tree.branches[number]).parent is not None:
            first, number = min(first, one.start), one.parent
        return place < min(self.tree.prompt, first)

    def _show_branches(self) -> None:
        tree, run = self.tree, self.run
        many = tree is not None and run is not None and len(tree.branches) > 1
        self.branches.set_visibility(many)
        if tree is None or run is None or not many:
            return
        items, depths = [], [0]
        for number, one in enumerate(tree.branches):
            if one.parent is not None:
                depths.append(depths[one.parent] + 1)
                instead = self._thoughts(number)[one.start - 1].choice.text
                name = f"{number + 1}. from token {one.start + 1} on, with {instead}"
            else:
                name = "1. as first written"
            items.append((name, depths[number], number == tree.current))
        self.branches.show(items)

    def _tip(self, place: int) -> tuple[str, list[Line]] | None:
        thoughts = self.thoughts()
        told = thoughts[place] if place < len(thoughts) else None
        return None if told is None else (f"{told.choice.text}  {percent(told.choice.probability)}", lines_of(told))


def lines_of(told: Told) -> list[Line]:
    """The likeliest tokens at a place as bars, the one that stands there marked."""
    return [
        Line(one.text, one.probability, percent(one.probability), one.token == told.choice.token) for one in told.others
    ]


def _shown(told: Told | None, text: str) -> Shown:
    return Shown(text, 0 if told is None else level_of(told.choice.probability))


def _pace(count: int, wanted: int, seconds: float, stopped: bool) -> str:
    pace = f"{count} tokens, {round(count / max(seconds, 1e-3)):,} a second"
    if stopped:
        return f"Stopped after {pace}."
    return f"{pace}." if count >= wanted else f"The text ended by itself: {pace}."
