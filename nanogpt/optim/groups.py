"""Parameters that are updated alike."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Parameters, and how their updates differ from those of others."""

    parameters: list[Tensor]
    rate: float = 1.0
    """their learning rate, as a multiple of the run's"""
    weight_decay: float = 0.0
    rows: tuple[int, ...] = ()
    """for Muon: of the matrices, one below the other, that each parameter holds"""
