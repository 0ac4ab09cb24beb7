"""The pictures of this view. Each has words that stand for it."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element
from torch import Tensor

from nanogpt.explain import Head, Trace
from nanogpt.studio.inside.png import shades
from nanogpt.studio.inside.window import Span
from nanogpt.studio.inside.words import LensRow, head_told
from nanogpt.studio.words import percent


class Heads(Element, component="heads.js"):
    """A small picture of each head's attention; `choose` is told the layer and head of one."""

    def __init__(self, choose: Callable[[int, int], Any]) -> None:
        super().__init__()
        self.props.update({"layers": [], "chosen": None})
        self.on("choose", lambda event: choose(*event.args))

    def show(self, trace: Trace, span: Span, chosen: Head | None) -> None:
        """Show the heads' attention among the tokens of a span of the trace."""
        some = trace.attention[:, :, span.start : span.end, span.start : span.end]
        self.props["layers"] = [
            [
                [shades(one.sqrt()), head_told(trace, layer, head), (layer, head) in trace.off]
                for head, one in enumerate(some[layer])
            ]
            for layer in range(len(some))
        ]
        self.props["chosen"] = chosen
        self.update()


class Map(Element, component="map.js"):
    """Attention of one head, large. The arrow keys or a mouse go through it; a click is told to `choose` as a row."""

    def __init__(self, choose: Callable[[int], Any]) -> None:
        super().__init__()
        self.props.update({"names": [], "weights": [], "row": 0, "first": 0})
        self.on("choose", lambda event: choose(int(event.args)))

    def show(self, weights: Tensor, names: Sequence[str], row: int, first: int, label: str) -> None:
        """Show weights (T, T); `first` is the place of the first of these tokens in the text."""
        packed = [[round(one, 4) for one in line[: place + 1]] for place, line in enumerate(weights.tolist())]
        self.props.update({"weights": packed, "names": list(names), "row": row, "first": first, "label": label})
        self.update()


class Lens(Element, component="lens.js"):
    """A table of what each layer would say."""

    def __init__(self) -> None:
        super().__init__()
        self.props.update({"rows": [], "final": ""})

    def show(self, rows: Sequence[LensRow]) -> None:
        """Show other rows."""
        self.props["rows"] = [
            [
                one.name,
                [[choice.text, percent(choice.probability), choice.probability] for choice in one.choices],
                f"{percent(one.final.probability)}, number {one.final.rank:,}",
            ]
            for one in rows
        ]
        self.props["final"] = rows[-1].choices[0].text
        self.update()


class Plane(Element, component="plane.js"):
    """Names at their places on a plane."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.props.update({"points": [], "label": label, "joined": False})

    def show(self, points: Sequence[tuple[float, float, str, bool]], joined: bool = False) -> None:
        """Show names at points, some of them marked; `joined` by a line in their order."""
        self.props.update({"points": [list(one) for one in points], "joined": joined})
        self.update()
