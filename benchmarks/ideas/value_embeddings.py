"""Value embeddings: each layer adds to its values an embedding of the token itself, times a learned gain.

What a token is then need not be carried through the residual stream to be found by attention (Jordan et al. 2024,
KellerJordan/modded-nanogpt; after Zhou et al. 2024, "Value residual learning"). A lookup a layer, and as many
parameters more as embeddings. Qwen3 has no such term.
"""

import torch
from torch import Tensor, nn

from benchmarks.ideas.idea import Idea, learn_like
from nanogpt.model.gpt import Attention
from nanogpt.training.trainer import Trainer


class ValueEmbeddings(nn.Module):
    """An embedding and a gain for each layer, zero and one: an untrained model is as without them."""

    def __init__(self, vocab_size: int, channels: int, layers: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(vocab_size, channels) for _ in range(layers))
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in range(layers))
        self.ids: Tensor | None = None
        """what the model is reading now (B, T)"""
        for table in self.tables:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]

    def read(self, module: nn.Module, words: tuple[Tensor, ...]) -> None:
        """Before the token embedding: keep the ids."""
        self.ids = words[0]

    def add(self, layer: int, projected: Tensor) -> Tensor:
        """To queries, keys and values in one (B, T, (H + 2K) D), whose last rows are the values."""
        value = self.gains[layer] * self.tables[layer](self.ids)  # (B, T, KD)
        projected[..., -value.size(-1) :] += value.to(projected.dtype)
        return projected


def embed_values(trainer: Trainer) -> None:
    """Add them to every layer of a training's model."""
    model, stepper = trainer.model, trainer.stepper
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    added = ValueEmbeddings(model.config.vocab_size, layers[0].kv_heads * layers[0].size, len(layers))
    model.value_embeddings = added.to(stepper.device)
    model.token_embedding.register_forward_pre_hook(added.read)
    for number, layer in enumerate(layers):
        layer.qkv.register_forward_hook(lambda module, words, y, number=number: added.add(number, y))
    learn_like(stepper, model.token_embedding.weight, list(added.tables.parameters()))
    learn_like(stepper, next(model.final_norm.parameters()), list(added.gains))


IDEAS = (Idea(name="value embeddings", in_qwen3=False, change=embed_values),)
