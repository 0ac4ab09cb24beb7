"""The models that are worth a forecast, from small to large; `nanogpt.planning.choice` takes one of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Size:
    """A model and its batch."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    dropout: float

    def settings(self, processes: int = 1) -> dict[str, float]:
        """The config fields that it sets; the batch a little larger where so many processes could not share it."""
        return asdict(self) | {"batch_size": -(-self.batch_size // processes) * processes}


SIZE_FIELDS = frozenset(
    {"n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden", "block_size", "batch_size", "accumulation"}
)
"""Settings that make a size: who names one of them has chosen, and nothing is chosen instead."""


SIZES = (
    Size(2, 4, 64, 32, 16, dropout=0.0),
    Size(3, 4, 128, 64, 16, dropout=0.0),
    Size(4, 6, 192, 128, 16, dropout=0.0),
    Size(5, 8, 256, 256, 16, dropout=0.1),
    Size(6, 6, 384, 256, 64, dropout=0.2),
)


def candidates(train_tokens: int) -> Sequence[Size]:
    """The sizes to choose from for a text of so many tokens; the first is the smallest."""
    return SIZES
