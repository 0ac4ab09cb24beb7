"""What the settings can say already: shared embeddings, fewer heads of keys and values, AdamW, weight decay, dropout.

Tied embeddings: Press and Wolf 2017. Grouped queries: Ainslie et al. 2023. AdamW: Loshchilov and Hutter 2019, with the
learning rate that the preset names for it. Dropout: Srivastava et al. 2014. Qwen3 has all of them.
"""

from benchmarks.ideas.idea import Idea

ADAMW = {
    **{"optimizer": "adamw", "learning_rate": 3e-3, "embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0},
    **{"beta1": 0.9, "beta2": 0.99},
}

IDEAS = (
    Idea(name="tied embeddings", in_qwen3=True, settings={"tie_embeddings": True}),
    Idea(name="two heads of keys and values", in_qwen3=True, settings={"n_kv_head": 2}),
    Idea(name="one head of keys and values", in_qwen3=True, settings={"n_kv_head": 1}),
    Idea(name="AdamW for everything", in_qwen3=True, settings=ADAMW),
    Idea(name="no weight decay", in_qwen3=True, settings={"weight_decay": 0.0}),
    Idea(name="weight decay 0.3", in_qwen3=True, settings={"weight_decay": 0.3}),
    Idea(name="no dropout", in_qwen3=True, settings={"dropout": 0.0}),
    Idea(name="dropout 0.1", in_qwen3=True, settings={"dropout": 0.1}),
    Idea(name="dropout 0.2", in_qwen3=True, settings={"dropout": 0.2}),
)
