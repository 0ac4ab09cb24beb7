"""The trainings that are worth a forecast: sizes, and the rules by which batch and dropout follow.

`nanogpt.planning.choice` takes the one whose forecast is lowest. The rules were read off recorded sweeps on held-out
parts of training texts (`benchmarks/records/sweeps/`):

- The learning rate is one for all: Muon's updates have the same spectral norm at every width, and 0.03 was the
  best of what was tried at 200 steps of 3 layers and at 600 of 5.
- The batch follows from the size: one that is worth more time takes more tokens a step, of longer windows.
- Dropout slows learning, and pays only where a text is read several times. All of `DROPOUTS` are forecast; 0, 0.1, 0.2
  and 0.4 were tried.
- Weight decay is one for all. On 200,000 characters of two texts, read eight times, the preset's 0.1 was as good as
  0.35 or better, and 1.0 the worst.

What was recorded reaches from the second size to the fifth. The two largest are for a GPU.
"""

from dataclasses import asdict, dataclass

DROPOUTS = (0.0, 0.1, 0.2, 0.3, 0.4)


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
