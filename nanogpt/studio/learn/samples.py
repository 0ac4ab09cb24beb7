"""What a run wrote on the way: the newest text, and below it earlier ones, to see how the writing grew."""

from collections.abc import Sequence

from nanogpt.studio.learn.curves import Sample
from nanogpt.studio.parts import Tag, Text

COMING = "Nothing yet: it writes after each evaluation."
NONE_KEPT = "No sample of it was kept. Below it can be asked to write."
NEWEST = "What it wrote last"


class Samples:
    """A part of the page. Sent again only where it changed."""

    def __init__(self) -> None:
        self._shown: list[Sample] = []
        Text("h3", NEWEST)
        self._about = Text("p", "", "hint")
        self._text = _text("", NEWEST)
        self._text.set_visibility(False)
        with Tag("details") as self._earlier:
            Text("summary", "Earlier samples")
            self._list = Tag("div", "earlier")
        self._earlier.set_visibility(False)

    def show(self, samples: Sequence[Sample], coming: bool) -> None:
        """Show other samples, the last of them the newest; `coming` tells whether there may be some soon."""
        newest_first = list(reversed(samples))
        about = title(newest_first[0]) if newest_first else COMING if coming else NONE_KEPT
        if self._about.text != about:
            self._about.set_text(about)
        if newest_first != self._shown:
            self._shown = newest_first
            self._text.set_text(newest_first[0].text if newest_first else "")
            self._text.set_visibility(bool(self._text.text))
            self._show_earlier(newest_first[1:])

    def _show_earlier(self, samples: list[Sample]) -> None:
        self._earlier.set_visibility(bool(samples))
        self._list.clear()
        with self._list:
            for one in samples:
                Text("p", title(one), "hint")
                if one.text:
                    _text(one.text, title(one).rstrip(":"))


def title(sample: Sample) -> str:
    """When it was written.

    >>> [title(one) for one in (Sample(0, "qx"), Sample(1024, "the cat"), Sample(2048, ""))]
    ['Before the first step:', 'After 1,024 steps:', 'After 2,048 steps: nothing.']
    """
    when = f"After {sample.step:,} steps" if sample.step else "Before the first step"
    return f"{when}:" if sample.text else f"{when}: nothing."


def _text(text: str, label: str) -> Text:
    return Text("pre", text, "sample", tabindex="0", role="region", aria_label=label)
