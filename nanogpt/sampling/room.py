"""How many texts are generated at once, by the memory of their keys and values. Light to import."""

from nanogpt.config import ModelConfig

MOST_ROWS = 64
CACHE_BYTES = 1 << 30
"""Keys and values take no more than this unless a number of rows is named."""


def cache_bytes(config: ModelConfig, rows: int) -> int:
    """Bytes that keys and values of so many texts take, in float32.

    >>> cache_bytes(ModelConfig(n_layer=2, n_head=3, n_embd=12, block_size=5), rows=7)
    6720
    """
    return 2 * config.n_layer * rows * config.kv_heads * config.block_size * config.head_channels * 4


def rows_that_fit(config: ModelConfig) -> int:
    """Texts generated at once where nobody names a number: 64, or fewer, whose keys and values take up to 1 GiB."""
    return max(1, min(MOST_ROWS, CACHE_BYTES // cache_bytes(config, 1)))
