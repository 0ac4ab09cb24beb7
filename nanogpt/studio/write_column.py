"""One model and its text: generated, read again from an address, and branched."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from functools import partial
from itertools import chain

from nanogpt.config import SampleConfig
from nanogpt.errors import counted
from nanogpt.runs.run import Run
from nanogpt.sampling.generate import encode_prompt
from nanogpt.studio.background import stream_from_thread
from nanogpt.studio.elements import Branches, Tag, Text, TokenText, hint
from nanogpt.studio.generation import Prediction, describe_model, generate_predictions, predict_text, token_texts
from nanogpt.studio.labels import Bar, TokenLabel, level_of, percent
from nanogpt.studio.text_tree import TextTree


class TextColumn:
    """A text on the page. `choose` is called with the selected position or None, `changed` for another branch."""

    def __init__(self, title: str, choose: Callable[[int | None], None], changed: Callable[[], None]) -> None:
        self.run: Run | None = None
        self.lock = threading.Lock()
        self.tree: TextTree | None = None
        self.predictions: list[list[Prediction]] = []
        """of each branch's own tokens; the very first token of the text has none"""
        self.stop = threading.Event()
        self._changed = changed
        self.empty_prompt = False
        """whether the first token only replaces an empty prompt"""
        with Tag("div", "column") as self.frame:
            self.title = Text("h3", "")
            self.about = hint()
            self.text = TokenText(f"{title}. The arrow keys choose a token.", choose, self._tip)
            self.branches = Branches("Branches of the text", self.go)
            self.branches.set_visibility(False)

    def use(self, run: Run, lock: threading.Lock, name: str) -> None:
        """Change the model."""
        self.run, self.lock = run, lock
        self.title.set_text(name)
        self.about.set_text(describe_model(run))
        self.clear()

    def clear(self) -> None:
        """Remove the text."""
        self.stop.set()
        self.tree, self.predictions = None, []
        self.text.show([])
        self._show_branches()

    @property
    def ids(self) -> list[int]:
        """Tokens of the current branch."""
        return [] if self.tree is None else self.tree.path()

    @property
    def plain(self) -> str:
        """Text of the current branch, without the token that replaces an empty prompt."""
        assert self.run is not None
        return self.run.tokenizer.decode(self.ids[self.empty_prompt :])

    def origin(self, position: int) -> str:
        """Return in words where a token comes from."""
        if self.tree is not None and position in self.tree.chosen_positions():
            return "Chosen by you"
        return "Part of the prompt" if self._is_prompt(position) else "Written by the model"

    def prediction(self, position: int) -> Prediction | None:
        """Return the prediction of a token in the current branch; None for the first and where there is none."""
        found = [] if self.tree is None else self._branch_predictions(self.tree.current)
        return found[position - 1] if 0 < position <= len(found) else None

    async def write(self, prompt: str, config: SampleConfig) -> str:
        """Start a new text; return a sentence about speed and length."""
        assert self.run is not None
        run, ids = self.run, encode_prompt(self.run.tokenizer, prompt, "skip").tolist()
        self.empty_prompt = not len(run.tokenizer.encode(prompt, "skip"))
        self.tree, self.predictions = TextTree.begin(ids), [[]]
        self._show_all(None)
        return await self._stream(lambda: chain(predict_text(run, ids), generate_predictions(run, ids, config)), config)

    async def go_on(self, config: SampleConfig) -> str:
        """Continue the current branch; return a sentence about speed and length."""
        assert self.run is not None
        run, ids = self.run, self.ids
        return await self._stream(lambda: generate_predictions(run, ids, config), config)

    def branch(self, position: int, token: int) -> bool:
        """Put one of the alternatives at a position; return whether this began a branch, which has to be generated."""
        assert self.tree is not None
        before = self.prediction(position)
        assert before is not None
        self.stop.set()
        new = self.tree.choose(position, token)
        if new:
            chosen = next(one for one in before.alternatives if one.token == token)
            self.predictions.append([Prediction(chosen, before.alternatives)])
        self._show_all(position)
        return new

    async def restore(self, tree: TextTree, prompt: str, chosen: int | None) -> None:
        """Show a text from an address, after computing its predictions again."""
        assert self.run is not None
        run, stop, found = self.run, self._begin(), list[list[Prediction]]()
        for number, one in enumerate(tree.branches):
            make = partial(predict_text, run, tree.path(number), max(one.start, 1))
            async with aclosing(stream_from_thread(make, self.lock, stop)) as batches:
                found.append([each async for batch in batches for each in batch])
        if not stop.is_set():  # nobody began another text or chose another model meanwhile
            self.empty_prompt = not len(run.tokenizer.encode(prompt, "skip"))
            self.tree, self.predictions = tree, found
            self._show_all(chosen)

    def go(self, branch: int) -> None:
        """Show another branch."""
        if self.tree is not None and 0 <= branch < len(self.tree.branches):
            self.stop.set()
            self.tree.current = branch
            self._show_all(None)
            self._changed()

    def back(self) -> int | None:
        """Show the parent branch; return the position where this one began, None at the root."""
        position = None if self.tree is None else self.tree.back()
        if position is not None:
            self.stop.set()
            self._show_all(position)
        return position

    async def _stream(self, make: Callable[[], Iterator[Prediction]], config: SampleConfig) -> str:
        """Show predictions as they come; return a sentence about speed and length, empty if another text is begun."""
        tree = self.tree
        assert tree is not None
        assert self.run is not None
        branch, own, decoder = tree.current, self.predictions[tree.current], self.run.tokenizer.decoder()
        # A new text begins with the predictions of its prompt, whose tokens are on the page already.
        skip = len(tree.path()) - 1 if not own and tree.branches[branch].parent is None else 0
        for token in self.ids:
            decoder.feed(token)
        stop, began, count = self._begin(), time.perf_counter(), 0
        async with aclosing(stream_from_thread(make, self.lock, stop)) as batches:
            async for batch in batches:
                if tree is not self.tree or tree.current != branch or self.text.is_deleted or stop is not self.stop:
                    break
                own += batch
                new, skip = batch[skip:], max(0, skip - len(batch))
                for one in new:
                    tree.add(one.choice.token)
                count += len(new)
                self.text.add([_label(one, decoder.feed(one.choice.token)) for one in new])
        seconds = time.perf_counter() - began
        await self.text.arrived()
        if stop is not self.stop:
            return ""
        pace = f"{counted(count, 'token')}, {round(count / max(seconds, 1e-3)):,} a second"
        if count >= config.tokens:
            return f"{pace}."
        return f"Stopped after {pace}." if stop.is_set() else f"The text ended by itself: {pace}."

    def _begin(self) -> threading.Event:
        self.stop.set()
        self.stop = threading.Event()
        return self.stop

    def _branch_predictions(self, branch: int) -> list[Prediction]:
        assert self.tree is not None
        one, own = self.tree.branches[branch], self.predictions[branch]
        return own if one.parent is None else self._branch_predictions(one.parent)[: one.start - 1] + own

    def _show_all(self, chosen: int | None) -> None:
        assert self.tree is not None
        assert self.run is not None
        by_hand, labels = set(self.tree.chosen_positions()), []
        predictions = [None, *self._branch_predictions(self.tree.current)]
        for position, text in enumerate(token_texts(self.run.tokenizer, self.ids)):
            if position == 0 and self.empty_prompt:
                labels.append(TokenLabel("", 0, "start"))
            elif position in by_hand:
                labels.append(TokenLabel(text, 0, "hand"))
            elif self._is_prompt(position):
                labels.append(TokenLabel(text, 0, "prompt"))
            else:
                labels.append(_label(predictions[position] if position < len(predictions) else None, text))
        self.text.show(labels, chosen)
        self._show_branches()

    def _is_prompt(self, position: int) -> bool:
        assert self.tree is not None
        return position < min([self.tree.prompt, *self.tree.chosen_positions()])

    def _show_branches(self) -> None:
        tree = self.tree
        self.branches.set_visibility(tree is not None and len(tree.branches) > 1)
        if tree is None:
            return
        items = [("1. as first written", 0, tree.current == 0)]
        for number, one in enumerate(tree.branches[1:], 1):
            assert one.parent is not None
            name = f"{number + 1}. from token {one.start + 1} on, with {self.predictions[number][0].choice.text}"
            items.append((name, items[one.parent][1] + 1, number == tree.current))
        self.branches.show(items)

    def _tip(self, position: int) -> tuple[str, list[Bar]] | None:
        found = self.prediction(position)
        return None if found is None else (f"{found.choice.text}  {percent(found.choice.probability)}", found.bars())


def _label(prediction: Prediction | None, text: str) -> TokenLabel:
    return TokenLabel(text, 0 if prediction is None else level_of(prediction.choice.probability))
