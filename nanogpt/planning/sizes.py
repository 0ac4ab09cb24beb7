"""The models to choose from: a short list, each with the steps below which a smaller one is the better use of time."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Size:
    """A model and batch to choose from, and the fewest steps that make it worth its cost."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    learning_rate: float
    dropout: float
    fewest_steps: int

    def settings(self, processes: int = 1) -> dict[str, float]:
        """The config fields that it sets; the batch a little larger where so many processes could not share it."""
        settings = {name: value for name, value in asdict(self).items() if name != "fewest_steps"}
        return settings | {"batch_size": -(-self.batch_size // processes) * processes}


SIZE_FIELDS = frozenset(
    {"n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden", "block_size", "batch_size", "accumulation"}
)
"""Settings that make a size: who names one of them has chosen, and nothing is chosen instead."""


SIZES = (
    Size(2, 4, 64, 32, 16, learning_rate=5e-3, dropout=0.0, fewest_steps=0),
    Size(3, 4, 128, 64, 16, learning_rate=4e-3, dropout=0.0, fewest_steps=700),
    Size(4, 6, 192, 128, 16, learning_rate=3e-3, dropout=0.0, fewest_steps=1200),
    Size(5, 8, 256, 256, 16, learning_rate=2e-3, dropout=0.1, fewest_steps=1500),
    Size(6, 6, 384, 256, 64, learning_rate=1e-3, dropout=0.2, fewest_steps=3000),
)
