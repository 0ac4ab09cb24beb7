"""The view "Watch it learn": its cards, and the timer that reads what is new."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nicegui import ui

from nanogpt.studio.checkpoint_browser import CheckpointBrowser
from nanogpt.studio.compare import RunComparison
from nanogpt.studio.elements import Tag, Text, VisibilityObserver, hint
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State
from nanogpt.studio.training_form import TrainingForm
from nanogpt.studio.training_jobs import Jobs
from nanogpt.studio.training_progress import TrainingProgress

STYLE = Path(__file__).parent / "assets" / "learn.css"
READ_SECONDS = 1.0
LIST_EVERY = 4
"""Every fourth reading also looks for new runs."""


class LearnView:
    """The view, which reads files only while it is visible. `keep` is called with each new state."""

    def __init__(self, registry: RunRegistry, state: State, keep: Callable[[State], Any]) -> None:
        self._registry, self._jobs = registry, Jobs(registry.folder)
        self.state, self._keep = state, keep
        self._turn = 0
        self._resolved = False
        ui.add_css(STYLE)
        with VisibilityObserver(self._close) as self._observer, Tag("div", "learn"):
            self._note = Text("p", "", "warning", role="status")
            self._note.set_visibility(False)
            self._form: TrainingForm | None = None
            if registry.is_run:
                hint("This studio shows one run. To start others, open it on the folder with all runs.")
            else:
                self._form = TrainingForm(registry.folder, self._jobs, self._started)
            self._progress = TrainingProgress(registry, self._jobs, self._chosen)
            self._browser = CheckpointBrowser(registry, state, self._save)
            self._comparison = RunComparison(registry, state, self._save)
        ui.timer(READ_SECONDS, self._tick)

    async def _tick(self) -> None:
        if not self._observer.seen:
            return
        if self._turn % LIST_EVERY == 0:
            await self._update_runs()
        self._turn += 1
        await self._progress.tick()
        await self._comparison.tick()
        await self._browser.tick()

    async def _update_runs(self) -> None:
        names, starting = await asyncio.to_thread(self._list)
        if not self._resolved:
            self._resolved = True
            known = [*starting, *names]
            self.state, problems = await asyncio.to_thread(resolve_state, self._registry, self.state, known)
            self._note.set_text(" ".join(problems))
            self._note.set_visibility(bool(problems))
        self._progress.set_runs(names, starting, self.state.run)
        await self._comparison.set_runs(names)

    def _list(self) -> tuple[list[str], list[str]]:
        starting = [] if self._registry.is_run else [one.name for one in self._jobs.starting()]
        return list(reversed(self._registry.names())), starting

    def _started(self, name: str) -> None:
        """Show a training that was started from the page."""
        self._progress.add(name)
        self._turn = 0

    def _chosen(self, name: str) -> None:
        """Show a run in all cards; a step in the address was meant for the run of the address only."""
        if self.state.run not in ("", name):
            self.state = replace(self.state, step=None, model="")
        self._browser.use(name, self.state.step, self.state.model)
        self.state = replace(self.state, run=name)
        self._save()

    def _save(self) -> None:
        """Put the state into the address."""
        if not self._observer.is_deleted:
            self.state = self._comparison.read(self._browser.read(self.state))
            self._keep(self.state)

    def _close(self) -> None:
        if self._form is not None:
            self._form.close()
        self._browser.close()


def resolve_state(registry: RunRegistry, state: State, names: Sequence[str]) -> tuple[State, list[str]]:
    """Return the state with a run of `names` (newest first), and a sentence about each run that is missing.

    A missing run is replaced by the same weights under another name. Reads files: not for the event loop.
    """
    problems = []
    found = registry.find(state.model) if state.model and state.run not in names else None
    if found is not None:
        state = replace(state, run=found[0], step=None if state.step is None else found[1])
    elif state.run and state.run not in names:
        instead = f"; this is {names[0]}" if names else ""
        problems.append(f"The address means the run {state.run!r}, which is not here{instead}.")
        state = replace(state, run="", step=None, model="")
    missing = [repr(one) for one in state.compared if one not in names]
    if missing:
        problems.append(f"It compares runs that are not here: {', '.join(missing)}.")
    return state, problems
