"""What the studio's views are built of: native elements, fields, and texts whose tokens can be chosen.

Each `.js` file is a component of NiceGUI, served from this package. Whatever comes from a model, a run or an address is
put in as text, never as HTML.
"""

from nanogpt.studio.parts.elements import Tag, Text, button, card, legend
from nanogpt.studio.parts.fields import Field, choose, number, slider, writing
from nanogpt.studio.parts.lists import Bars, Branches
from nanogpt.studio.parts.shell import Shell
from nanogpt.studio.parts.tokens import TokenText
from nanogpt.studio.shown import Line, Shown
from nanogpt.studio.words import level_of, percent

__all__ = [
    "Bars",
    "Branches",
    "Field",
    "Line",
    "Shell",
    "Shown",
    "Tag",
    "Text",
    "TokenText",
    "button",
    "card",
    "choose",
    "legend",
    "level_of",
    "number",
    "percent",
    "slider",
    "writing",
]
