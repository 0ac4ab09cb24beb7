"""Where another's file keeps the weights of ours: one table for both directions.

Each of our tensors is some of theirs stacked by rows, each perhaps transposed. Nothing is computed: every number keeps
its bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.errors import UserError


@dataclass(frozen=True)
class Place:
    """One of their tensors: some rows of one of ours."""

    name: str
    shape: tuple[int, ...]
    """as in their file"""
    transposed: bool = False
    """their rows are our columns"""

    @property
    def rows(self) -> int:
        """Of ours."""
        return self.shape[-1] if self.transposed else self.shape[0]


Table = Mapping[str, tuple[Place, ...]]
"""Name of ours to theirs, in the order of its rows."""


def to_theirs(ours: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Their names and tensors. A bias that ours does not have is zero in theirs.

    >>> place = Place("h.w", (2, 3), transposed=True)
    >>> to_theirs({"w": torch.arange(6.0).view(3, 2)}, {"w": (place,)})["h.w"]
    tensor([[0., 2., 4.],
            [1., 3., 5.]])
    """
    found: dict[str, Tensor] = {}
    for name, places in table.items():
        if name not in ours:
            if not name.endswith("bias"):
                raise UserError(
                    f"the model has no {name}, which this format needs: it takes the library's blocks alone"
                )
            found |= {place.name: torch.zeros(place.shape) for place in places}
            continue
        parts = ours[name].split([place.rows for place in places])
        pairs = zip(places, parts)
        found |= {place.name: (part.T if place.transposed else part).contiguous() for place, part in pairs}
    left = ours.keys() - table.keys()
    if left:
        raise UserError(f"this format has no place for {', '.join(sorted(left))}: it takes the library's blocks alone")
    return found


def to_ours(theirs: Mapping[str, Tensor], table: Table) -> dict[str, Tensor]:
    """Our names and tensors, in float32.

    >>> place = Place("h.w", (2, 3), transposed=True)
    >>> to_ours({"h.w": torch.arange(6.0).view(2, 3)}, {"w": (place,)})["w"].shape
    torch.Size([3, 2])
    """

    def rows(place: Place) -> Tensor:
        tensor = theirs[place.name].float()
        return tensor.T if place.transposed else tensor

    return {name: torch.cat([rows(place) for place in places]) for name, places in table.items()}
