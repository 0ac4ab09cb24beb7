"""The parts of the recipe, each exchanged for what it replaced: what `benchmarks.ablation` trains.

A variant is what it changes of the base, as settings of `nanogpt.config`. Where a part needs another learning rate to
do its best, the variant names it: a part is not to win by a rate that was chosen for it.
"""

from typing import Any

BASE: dict[str, Any] = {"preset": "modern"}
"""The recipe itself."""

VARIANTS: dict[str, dict[str, Any]] = {
    "AdamW for everything": {
        **{"optimizer": "adamw", "learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.99, "batch_size": 12},
        **{"embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0, "decay": 0.95},
    },
    "GELU for SwiGLU": {"activation": "gelu"},
    "LayerNorm for RMSNorm": {"norm": "layer"},
    "learned positions for RoPE": {"position": "learned"},
    "no normalised queries and keys": {"qk_norm": False},
    "tied embeddings": {"tie_embeddings": True},
    "first weights scaled by depth for zeros": {"init": "scaled"},
    "half the heads for keys and values": {"n_kv_head": 2},
    "no weight decay": {"weight_decay": 0.0},
    "no warm-up": {"warmup": 0.0},
    "decay all the way": {"decay": 0.95},
    "decay to a tenth": {"final_lr": 0.1},
}
"""By what a table calls them."""
