"""One token of each row through the model by the fewest operations: what a step of generation is made of.

A step of a small model takes about as long to ask for as to compute. Here are the model's own parts, called in the
order in which its blocks call them, without what a single position in evaluation does not need (dropout, masks, the
calls of modules). It is no other model: tests hold it against `GPT.forward` for every part, and where a block is not
the library's own, or hooks want to see what passes, `GPT.forward` itself is used.

Shapes: B rows, C channels, H heads, K heads of keys and values, G = H / K, S time of keys and values, D channels of a
head, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.model.gpt import GPT, Attention, Block, Cache, FeedForward, LayerCache
from nanogpt.model.norm import RMSNorm
from nanogpt.model.positions import rotate

Map = Callable[[Tensor], Tensor]


def can_decode(model: GPT) -> bool:
    """Whether all that the model does is known here."""
    kinds = (("attention", Attention), ("mlp", FeedForward))
    return (
        type(model) is GPT
        and not model.config.mask_documents
        and all(type(block) is Block for block in model.blocks)
        and all(type(getattr(block, name)) is kind for block in model.blocks for name, kind in kinds)
        and not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    )


class Decoder:
    """The parts of a model in evaluation, prepared for steps. The model must be one that `can_decode`."""

    def __init__(self, model: GPT) -> None:
        self.model = model
        self.layers = [DecoderLayer(block) for block in model.blocks if isinstance(block, Block)]
        self.norm, self.head = norm_of(model.final_norm), product_of(model.lm_head)

    @torch.inference_mode()
    def __call__(self, idx: Tensor, cache: Cache) -> Tensor:
        """Logits (B, V) of the tokens after idx (B, 1), which follow what `cache` holds."""
        where = cache.positions(1)
        x = self.model._embed(idx, where)[:, 0]  # (B, C)
        turn = None
        if self.model.config.position == "rope":
            turn = (self.model.cos[where], self.model.sin[where])  # each (1, D/2) or (B, 1, D/2)
        for layer, kept in zip(self.layers, cache.layers):
            x = layer(x, turn, kept)
        cache.advance(1)
        return self.head(self.norm(x))


class DecoderLayer:
    """One block."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.attention, block.mlp
        self.pre_norm = block.pre_norm
        self.norms = norm_of(block.attention_norm), norm_of(block.mlp_norm)
        self.qkv, self.proj = product_of(attention.qkv), product_of(attention.proj)
        self.up, self.activate, self.down = product_of(mlp.up), mlp._activate, product_of(mlp.down)
        self.q_norm, self.k_norm = norm_of(attention.q_norm), norm_of(attention.k_norm)
        self.sizes, self.D = [attention.n_head, attention.kv_heads, attention.kv_heads], attention.size

    def __call__(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, cache: LayerCache) -> Tensor:
        first, second = self.norms
        if self.pre_norm:
            x = x + self.attend(first(x), turn, cache)
            return x + self.down(self.activate(self.up(second(x))))
        x = first(x + self.attend(x, turn, cache))
        return second(x + self.down(self.activate(self.up(x))))

    def attend(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, cache: LayerCache) -> Tensor:
        """Self-attention of a single position, which sees all that came before it: (B, C) -> same."""
        B, K = x.size(0), self.sizes[1]
        q, k, v = self.qkv(x).view(B, -1, self.D).split_with_sizes(self.sizes, 1)  # (B, H, D), 2 x (B, K, D)
        q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rotate(q, turn), rotate(k, turn)
        k, v = cache.append(k.unsqueeze(2), v.unsqueeze(2))  # each (B, K, S, D)
        # Heads that share keys and values stand where positions would: nothing is repeated.
        q = q.reshape(B, K, -1, self.D)  # (B, K, G, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=cache.seen)
        return self.proj(y.reshape(B, -1))


def norm_of(module: nn.Module) -> Map:
    """A normalisation as a function; a module asks torch for it by two calls more."""
    if type(module) is RMSNorm:
        size, gain, epsilon = list(module.normalized_shape), module.weight, module.eps
        return lambda x: torch.rms_norm(x, size, gain.to(x.dtype), epsilon)
    if type(module) is not nn.LayerNorm:
        return module.forward
    shape, weight, bias, eps = list(module.normalized_shape), module.weight, module.bias, module.eps
    return lambda x: torch.layer_norm(x, shape, weight, bias, eps)


def product_of(linear: nn.Module) -> Map:
    """A linear layer as a function, (B, N) -> (B, M).

    A few rows should cost little more than reading the weights once. MKL's product of a matrix and a vector reached a
    third of what one core reads (on a processor not made by Intel), its batched product of two half matrices nearly
    all; for two to eight rows that took 0.4 to 0.7 of the time of one product, and for more it was no slower.
    """
    if not isinstance(linear, nn.Linear):
        return linear.forward
    weight, bias, (M, N) = linear.weight.detach(), linear.bias, linear.weight.shape
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or M % 2:
        return linear.forward
    halves, biases = weight.view(2, M // 2, N), None if bias is None else bias.detach().view(2, M // 2, 1)

    def product(x: Tensor) -> Tensor:
        columns = x.t().expand(2, N, -1)  # its strides matter: of a single row a view (N, 1) takes a slow path
        y = torch.bmm(halves, columns) if biases is None else torch.baddbmm(biases, halves, columns)  # (2, M / 2, B)
        return y.view(M, -1).t().contiguous()

    return product
