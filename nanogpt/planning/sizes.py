"""The trainings that are worth a forecast: sizes, and the rules by which batch, dropout and weight decay follow.

`nanogpt.planning.choice` takes the one whose forecast is lowest. The rules were read off recorded sweeps on held-out
parts of training texts (`benchmarks/records/sweeps/`):

- The learning rate is one for all: Muon's updates have the same spectral norm at every width, and 0.03 was the
  best of what was tried at 200 steps of 3 layers and at 600 of 5.
- The batch follows from the size: one that is worth more time takes more tokens a step, of longer windows.
- Dropout slows learning, and pays only where a text is read several times. All of `DROPOUTS` are forecast.
- Weight decay follows from the text: see `weight_decay_for`.
"""

from dataclasses import asdict, dataclass

from nanogpt.config import TrainConfig

DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4)
FORGETTING_EPOCHS = 2.0
"""In which decay alone takes a weight to 1/e. On 200,000 characters of two texts, read eight times, 3.4 and 1.0 were
alike on one and 3.4 the better on the other, and 0.3 the worst on both (`repeated.jsonl`)."""
MOST_DECAY = 1.0


@dataclass(frozen=True)
class Size:
    """A model and its batch."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int

    def settings(self, processes: int = 1) -> dict[str, float]:
        """The config fields that it sets; the batch a little larger where so many processes could not share it."""
        return asdict(self) | {"batch_size": -(-self.batch_size // processes) * processes}


SIZE_FIELDS = frozenset(
    {"n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden", "block_size", "batch_size", "accumulation"}
)
"""Settings that make a size: who names one of them has chosen, and nothing is chosen instead."""


SIZES = (
    Size(2, 4, 64, 32, 16),
    Size(3, 4, 128, 64, 16),
    Size(4, 6, 192, 128, 16),
    Size(5, 6, 192, 256, 8),
    Size(5, 8, 256, 256, 16),
    Size(6, 5, 320, 256, 16),
    Size(6, 6, 384, 256, 16),
    Size(8, 8, 512, 256, 32),
    Size(12, 12, 768, 256, 64),
)
"""From small to large; how large a text is worth is for the forecast to say."""


def weight_decay_for(train_tokens: int, train: TrainConfig, block_size: int) -> float:
    """The decay with which a weight forgets within `FORGETTING_EPOCHS` of the text, and at least the preset's.

    What a weight remembers is then about two readings of the text, whatever its length, batch and learning rate (Wang
    and Aitchison 2024, "How to set AdamW's weight decay as you scale model and dataset size", section 3). A short text
    that is read often needs much more of it than a long one (Kim et al. 2025, "Pre-training under infinite compute").

    >>> round(weight_decay_for(200_000, TrainConfig(learning_rate=0.03, batch_size=16), 128), 3)
    0.171
    """
    steps = FORGETTING_EPOCHS * train_tokens / (train.batch_sequences * block_size)
    return min(MOST_DECAY, max(train.weight_decay, 1 / (train.learning_rate * steps)))
