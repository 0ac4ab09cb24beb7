"""What an address means among the runs that there are."""

from collections.abc import Sequence
from dataclasses import replace

from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


def settle(shelf: Shelf, state: State, names: Sequence[str]) -> tuple[State, list[str]]:
    """The state with the run that it means, and a sentence about each thing that is not here.

    `names` are the runs, the newest first. In the place of a run that is not among them the same weights under another
    name do; a state without a step gets none by that. Reads files: not for the event loop.
    """
    problems = []
    found = shelf.find(state.model) if state.model and state.run not in names else None
    if found is not None:
        state = replace(state, run=found[0], step=None if state.step is None else found[1])
    elif state.run and state.run not in names:
        instead = f"; this is {names[0]}" if names else ""
        problems.append(f"The address means the run {state.run!r}, which is not here{instead}.")
        state = replace(state, run="", step=None, model="")
    gone = [repr(one) for one in state.compared if one not in names]
    if gone:
        problems.append(f"It compares runs that are not here: {', '.join(gone)}.")
    return state, problems
