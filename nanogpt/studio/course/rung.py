"""One section on the page: what it adds, how far it is, what it reached, and what its model writes."""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.course.rungs import Attempt, Section
from nanogpt.studio.parts import Tag, Text, button

UNTRAINED = "Not trained yet."


class Rung:
    """A section's card. `train` is called by its button."""

    def __init__(self, section: Section, train: Callable[[], Any]) -> None:
        with Tag("li", "card rung", aria_labelledby=f"rung-{section.number}"):
            with Tag("div", "rung-head"):
                Text("h2", f"{section.number}. {section.title}", id=f"rung-{section.number}")
                self.button = button("Train", train, aria_label=f"Train section {section.number}, {section.title}")
            Text("p", section.idea[:1].upper() + section.idea[1:] + ".", "hint")
            self._bar = Tag("progress", "bar", max=1, value=0, aria_label=f"Section {section.number}: steps done")
            self._reached = Text("p", UNTRAINED, "reached")
            self._sample = Text(
                "pre", "", "sample", tabindex="0", role="region", aria_label=f"What section {section.number} writes"
            )
            self._sample.set_visibility(False)
            self._notes = Text("p", "", "hint")
            self._notes.set_visibility(False)

    def show(self, attempt: Attempt) -> None:
        """Show what the section's process told so far."""
        share = round(attempt.step / attempt.steps, 3) if attempt.steps else 0
        if self._bar.props["value"] != share:
            self._bar.set(value=share)
        for element, text in ((self._reached, reached(attempt)), (self._notes, " ".join(attempt.notes))):
            if element.text != text:
                element.set_text(text)
        self._notes.set_visibility(bool(attempt.notes))
        if self._sample.text != attempt.sample:
            self._sample.set_text(attempt.sample)
        self._sample.set_visibility(bool(attempt.sample))


def reached(attempt: Attempt) -> str:
    """Where an attempt is, or what came of it, in words."""
    if attempt.problem:
        return f"{attempt.problem[:1].upper()}{attempt.problem[1:]}."
    if attempt.result is not None:
        found = attempt.result
        return (
            f"Validation loss {found['val_loss']:.3f} (training {found['train_loss']:.3f}) with "
            f"{found['parameters']:,.0f} parameters, {found['seconds']:.1f} s of training: {attempt.steps:,} steps on "
            f"{attempt.text}."
        )
    newest = attempt.curve.newest
    if newest is None:
        return "Starting: its demonstrations come first."
    return f"Step {attempt.step:,} of {attempt.steps:,} ({attempt.label}): loss {newest.loss:.3f}."
