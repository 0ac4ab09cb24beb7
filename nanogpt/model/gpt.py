"""The decoder: token ids in, logits of the next token out.

One class for the lecture's block, GPT-2's and the modern one; `ModelConfig` chooses the parts. Only the model is
here: sampling, key-value caches, mixed precision and compilation are applied from outside.

Shapes: B batch, T time, S time of keys and values (T, and what a cache holds before it), C channels (n_embd),
H heads, K heads of keys and values, D channels of a head, F channels inside the feed-forward network, V vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.attention import attend
from nanogpt.model.dropout import Dropout
from nanogpt.model.norm import RMSNorm
from nanogpt.model.positions import rotate, rotations, sinusoids


class LayerCache(Protocol):
    """Keys and values of one layer, kept from earlier calls."""

    @property
    def seen(self) -> Tensor | None:
        """Which keys each row may see (B, 1, T, S), where they differ in length."""
        ...

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take (B, K, T, D) new ones; return all so far, (B, K, S, D)."""
        ...


class Cache(Protocol):
    """What a model needs of a key-value cache; `nanogpt.sampling.cache` has one."""

    length: int
    """of the longest row"""
    documents: Tensor | None
    """the document that each position so far belongs to (B, S), where attention is masked by it"""

    @property
    def layers(self) -> Sequence[LayerCache]: ...

    def positions(self, T: int) -> slice | Tensor:
        """Where the next T tokens stand: the same for each row, or (B, T)."""
        ...

    def advance(self, T: int) -> None:
        """T tokens were read."""
        ...


def make_norm(config: ModelConfig, size: int) -> nn.Module:
    """Normalisation over the last dimension, of `size` channels."""
    if config.norm == "rms":
        return RMSNorm(size, eps=config.norm_eps)
    return nn.LayerNorm(size, eps=config.norm_eps, bias=config.bias)


class Attention(nn.Module):
    """Causal scaled dot-product self-attention with several heads (Vaswani et al. 2017, 3.2): (B, T, C) -> same.

    The three projections are one product, rows in the order queries, keys, values.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head, self.kv_heads, self.size = config.n_head, config.kv_heads, config.head_channels
        self.dropout = Dropout(config.dropout if config.attention_dropout is None else config.attention_dropout)
        rows = (self.n_head + 2 * self.kv_heads) * self.size
        self.qkv = nn.Linear(config.n_embd, rows, bias=config.qkv_bias)
        self.proj = nn.Linear(self.n_head * self.size, config.n_embd, bias=config.bias)
        self.q_norm = RMSNorm(self.size, eps=config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.size, eps=config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor] | None, cache: LayerCache | None, seen: Tensor | None = None
    ) -> Tensor:
        B, T, _ = x.shape
        heads = self.qkv(x).view(B, T, -1, self.size).transpose(1, 2)  # (B, H + 2K, T, D)
        q, k, v = heads.split([self.n_head, self.kv_heads, self.kv_heads], dim=1)  # (B, H, T, D), 2 x (B, K, T, D)
        q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rotate(q, turn), rotate(k, turn)
        if cache is not None:
            k, v = cache.append(k, v)  # each (B, K, S, D)
            seen = cache.seen if seen is None else seen
        if self.kv_heads < self.n_head:
            # Repeating is what enable_gqa does on a CPU; done here, every torch and device takes the same path.
            k, v = (t.repeat_interleave(self.n_head // self.kv_heads, dim=1) for t in (k, v))  # each (B, H, S, D)
        y = self._attend(q, k, v, seen)  # (B, H, T, D)
        return self.proj(y.transpose(1, 2).reshape(B, T, -1))  # (B, T, C)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        """softmax(q k' / sqrt(D)) v, every position seeing itself and what came before: (B, H, T, D).

        Where not all of that is to be seen, `seen` (B, 1, T, S) says what is.
        """
        T, S = q.size(2), k.size(2)
        if T == S:
            share = self.dropout.share if self.dropout.is_on else 0.0
            return attend(q, k, v, seen=seen, share=share, keys=self.dropout.sample_keys(q) if share else None)
        # A cache holds what came before, all of which a single query may see.
        seen = causal_mask(T, S, q.device) if seen is None and T > 1 else seen
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


def in_compute_format(x: Tensor) -> Tensor:
    """The residual stream under mixed precision in the format of its products.

    Nothing is cast after this, but by layer norms on GPUs: CUDA's autocast has them in float32.
    """
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def causal_mask(T: int, S: int, device: torch.device) -> Tensor:
    """Which of S keys each of the last T positions may see, (T, S): itself and those before it.

    torch's `is_causal` lines up the first query with the first key; with a cache it is the last that belong together.
    """
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


class FeedForward(nn.Module):
    """The position-wise network (Vaswani et al. 2017, 3.3; gated: Shazeer 2020): (B, T, C) -> (B, T, C).

    With swiglu, `up` holds the gate's rows first, then the values': one product for both.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.n_embd, config.hidden * (2 if self.activation == "swiglu" else 1), config.bias)
        self.down = nn.Linear(config.hidden, config.n_embd, config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self._activate(self.up(x)))  # (B, T, C)

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation == "swiglu":
            gate, value = x.chunk(2, dim=-1)  # each (B, T, F)
            return F.silu(gate.contiguous()) * value  # the copy is cheap, and silu on half rows is slow
        if self.activation == "relu":
            return F.relu(x)
        return F.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")


class Block(nn.Module):
    """Attention, then the feed-forward network, each inside a residual connection: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm_position == "pre"
        self.attention_norm = make_norm(config, config.n_embd)
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config, config.n_embd)
        self.mlp = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.attention_norm(x), turn, cache, seen))
            return x + self.dropout(self.mlp(self.mlp_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, turn, cache, seen)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


class GPT(nn.Module):
    """Token ids (B, T) to the logits of each next token (B, T, V).

    `block` is the place for a block of one's own: a class made from a `ModelConfig`, whose modules map (B, T, C),
    the rotation of the positions and one layer's cache to (B, T, C). Subclass `Block` and override what differs. With
    `mask_documents` it is also given which keys each position may see, (B, 1, T, S).

    >>> from nanogpt.config import ModelConfig
    >>> model = GPT(ModelConfig(vocab_size=11, block_size=7, n_layer=2, n_head=3, n_embd=12))
    >>> model(torch.tensor([[1, 2, 3, 5, 8]])).shape
    torch.Size([1, 5, 11])
    """

    sinusoids: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(
        self, config: ModelConfig, generator: torch.Generator | None = None, block: type[nn.Module] = Block
    ) -> None:
        super().__init__()
        if config.mask_documents and config.document_token is None:
            raise UserError("mask_documents needs the end-of-document token: give its id as document_token")
        if not config.vocab_size:
            raise UserError("vocab_size is 0, so the model would know no token: give it, or a tokenizer's vocab_size")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        elif config.position == "sinusoidal":
            self.register_buffer("sinusoids", sinusoids(config.block_size, config.n_embd), persistent=False)
        else:
            cos, sin = rotations(config.block_size, config.head_channels, config.rope_theta)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        self.dropout = Dropout(config.dropout if config.embedding_dropout is None else config.embedding_dropout)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layer))
        # After post-norm blocks the stream is normalised already (the paper has no further norm).
        self.final_norm = make_norm(config, config.n_embd) if config.norm_position == "pre" else nn.Identity()
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=config.head_bias)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        initialise(self, generator)

    def forward(self, idx: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V) of the tokens after each of `idx` (B, T), which follow what `cache` holds.

        Raises UserError where cache and idx together are longer than block_size.
        """
        T, start = idx.size(1), cache.length if cache else 0
        where = cache.positions(T) if cache else slice(T)
        if start + T > self.config.block_size:
            raise UserError(
                f"a context of {start + T} tokens is longer than block_size {self.config.block_size}: "
                f"crop it to its newest tokens"
            )
        x = self.dropout(in_compute_format(self._embed(idx, where)))  # (B, T, C)
        turn = None
        if self.config.position == "rope":
            turn = (self.cos[where], self.sin[where])  # each (T, D/2)
            if not isinstance(where, slice):
                turn = (turn[0][:, None], turn[1][:, None])  # each (B, 1, T, D/2)
        masks = (self._see_own_document(idx, cache),) if self.config.mask_documents else ()
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, cache.layers[layer] if cache else None, *masks)
        if cache:
            cache.advance(T)
        return self.lm_head(self.final_norm(x))  # (B, T, V)

    def _embed(self, idx: Tensor, where: slice | Tensor) -> Tensor:
        x = self.token_embedding(idx)  # (B, T, C)
        if self.config.position == "learned":
            return x + self.position_embedding.weight[where]
        if self.config.position == "sinusoidal":
            return x + self.sinusoids[where]
        return x

    def _see_own_document(self, idx: Tensor, cache: Cache | None) -> Tensor:
        """Which keys each position may see, (B, 1, T, S): those of its own document, up to itself.

        The end-of-document token belongs to the document that it opens: it is what the first token is predicted from.
        """
        opens = self.config.document_token
        assert opens is not None
        documents = idx.eq(opens).cumsum(1)  # (B, T), numbered
        if cache and cache.documents is not None:
            before = cache.documents  # (B, S - T)
            documents = torch.cat([before, before[:, -1:] + documents], dim=1)  # (B, S)
        if cache:
            cache.documents = documents
        T, S = idx.size(1), documents.size(1)
        same = documents[:, -T:, None] == documents[:, None, :]  # (B, T, S)
        return (same & causal_mask(T, S, idx.device))[:, None]

    @property
    def parameter_count(self) -> int:
        """Trained numbers; a tied weight counts once."""
        return sum(p.numel() for p in self.parameters())


@torch.no_grad()
def initialise(model: GPT, generator: torch.Generator | None = None) -> None:
    """Set every weight by `config.init`; what is drawn comes from `generator` alone.

    `zero` starts each block as the identity and the prediction as uniform, so that early gradients are those of a
    linear model; matrices are uniform with variance 1 / fan-in. `scaled` is GPT-2's: weights that write into the
    residual stream are smaller by sqrt(2 n_layer), the number of its summands.
    """
    config = model.config
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            if module.bias is not None:
                module.bias.zero_()
            if config.tie_embeddings and module is model.lm_head:
                continue
            into_stream = name.endswith(("attention.proj", "mlp.down"))
            if config.init == "zero" and (into_stream or module is model.lm_head):
                module.weight.zero_()
            elif config.init == "zero":
                bound = math.sqrt(3 / module.in_features)
                module.weight.uniform_(-bound, bound, generator=generator)
            else:
                shrink = math.sqrt(2 * config.n_layer) if config.init == "scaled" and into_stream else 1.0
                module.weight.normal_(0.0, 0.02 / shrink, generator=generator)
        elif isinstance(module, nn.Embedding):
            # Tied and zero: the embedding is the output layer too, so it starts small for uniform predictions.
            spread = 0.3 if config.init == "zero" and not config.tie_embeddings else 0.02
            module.weight.normal_(0.0, spread, generator=generator)
