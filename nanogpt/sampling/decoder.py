"""One token of each row through the model with few operations: the step of generation.

For a small model, launching operations takes as long as computing them. `Decoder` calls the model's own parts in their
order, without what a single position in evaluation does not need: dropout, masks, module calls. Tests compare it with
`GPT.forward` for every part. A model with blocks of your own, or with hooks, is called as it is (`can_decode`).

Shapes: B rows, V vocabulary, C channels, H heads of D channels, K key and value heads, G = H / K, S cached positions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.model.gpt import GPT, Attention, Block, FeedForward, Rotation, rotate
from nanogpt.model.kv_cache import KVCache, LayerCache

Map = Callable[[Tensor], Tensor]


def can_decode(model: GPT) -> bool:
    """Return whether `Decoder` knows all that the model does."""
    return (
        type(model) is GPT
        and not model.config.mask_documents
        and all(type(block) is Block for block in model.blocks)
        and all(type(b.attention) is Attention and type(b.mlp) is FeedForward for b in model.blocks)
        and not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    )


class Decoder:
    """The parts of a model in evaluation, ready for steps. The model must be one that `can_decode`."""

    def __init__(self, model: GPT) -> None:
        self.model = model
        self.layers = [DecoderLayer(block) for block in model.blocks if isinstance(block, Block)]
        self.norm, self.head = model.final_norm.forward, linear_function(model.lm_head)

    @torch.inference_mode()
    def __call__(self, idx: Tensor, cache: KVCache) -> Tensor:
        """Return the logits, (B, V), of the tokens after idx, (B, 1), which follow what `cache` holds."""
        positions = cache.positions(1)
        x = self.model.embed(idx, positions)[:, 0]  # (B, C)
        rotation = self.model.rotation(positions)  # each (1, D) or (B, 1, 1, D)
        for layer, layer_cache in zip(self.layers, cache.layers):
            x = layer(x, rotation, layer_cache, cache.mask)
        cache.advance(1)
        return self.head(self.norm(x))


class DecoderLayer:
    """One block."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.attention, block.mlp
        self.pre_norm = block.pre_norm
        self.attention_norm, self.mlp_norm = block.attention_norm.forward, block.mlp_norm.forward
        self.qkv, self.proj = linear_function(attention.qkv), linear_function(attention.proj)
        self.up, self.activate, self.down = linear_function(mlp.up), mlp.activate, linear_function(mlp.down)
        self.q_norm, self.k_norm = attention.q_norm.forward, attention.k_norm.forward
        self.heads, self.D = [attention.n_head, attention.n_kv_head, attention.n_kv_head], attention.head_size

    def __call__(self, x: Tensor, rotation: Rotation | None, cache: LayerCache, mask: Tensor | None) -> Tensor:
        """Return the new residual stream, (B, C) -> (B, C)."""
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), rotation, cache, mask)
            return x + self.down(self.activate(self.up(self.mlp_norm(x))))
        x = self.attention_norm(x + self.attention(x, rotation, cache, mask))
        return self.mlp_norm(x + self.down(self.activate(self.up(x))))

    def attention(self, x: Tensor, rotation: Rotation | None, cache: LayerCache, mask: Tensor | None) -> Tensor:
        """Return self-attention of one position, which sees all before it, (B, C) -> (B, C)."""
        B, K = x.size(0), self.heads[1]
        heads = self.qkv(x).view(B, -1, 1, self.D)  # (B, H + 2K, 1, D)
        q, k, v = heads.split_with_sizes(self.heads, 1)  # (B, H, 1, D), 2 x (B, K, 1, D)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        k, v = cache.append(k, v)  # each (B, K, S, D)
        # Heads that share keys and values take the place of positions: nothing is repeated.
        q = q.reshape(B, K, -1, self.D)  # (B, K, G, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(y.reshape(B, -1))


def linear_function(linear: nn.Module) -> Map:
    """Return a linear layer as a function, (B, N) -> (B, M).

    A few rows should cost little more than reading the weights once. MKL's product of a matrix and a vector reached a
    third of one core's memory bandwidth (not on Intel), its batched product of two half matrices nearly all. For two
    to eight rows that took 0.4 to 0.7 of the time of one product, and for more it was no slower.
    """
    if not isinstance(linear, nn.Linear):
        return linear.forward
    weight, bias, (M, N) = linear.weight.detach(), linear.bias, linear.weight.shape
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or M % 2:
        return linear.forward
    halves, biases = weight.view(2, M // 2, N), None if bias is None else bias.detach().view(2, M // 2, 1)

    def product(x: Tensor) -> Tensor:
        columns = x.t().expand(2, N, -1)  # its strides matter: for a single row, a view (N, 1) takes a slow path
        y = torch.bmm(halves, columns) if biases is None else torch.baddbmm(biases, halves, columns)  # (2, M / 2, B)
        return y.view(M, -1).t().contiguous()

    return product
