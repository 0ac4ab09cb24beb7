"""The decoder: token ids in, logits of the next token out.

One class for the lecture's model, GPT-2 and the modern block (Qwen3's); `ModelConfig` selects the parts. Sampling,
mixed precision and compilation are applied from outside.

Shapes: B batch, T time, S time of keys and values (T plus what a cache holds), C channels (n_embd), H heads, K key and
value heads, D channels of a head, F channels inside the feed-forward network, V vocabulary.
"""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.config import RUN_FORMAT, ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.kv_cache import KVCache, LayerCache
from nanogpt.model.norm import RMSNorm

Rotation = tuple[Tensor, Tensor]
"""Cosines of rotary positions, and sines, negative in the first half, each (T, D)"""


def make_norm(config: ModelConfig) -> nn.Module:
    """Return a normalisation layer over the channels."""
    if config.norm == "rms":
        return RMSNorm(config.n_embd, eps=config.norm_eps)
    return nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.bias)


def make_dropout(p: float) -> nn.Module:
    """Return a dropout layer, or none where p is 0."""
    if not p:
        return nn.Identity()
    from nanogpt.model.dropout import Dropout

    return Dropout(p)


def sinusoids(length: int, n_embd: int) -> Tensor:
    """Return the paper's position encodings (Vaswani et al. 2017, section 3.5), sines and cosines in turn."""
    rates = 10_000.0 ** (-torch.arange(0, n_embd, 2) / n_embd)  # (ceil(C/2),)
    angles = torch.arange(length)[:, None] * rates  # (length, ceil(C/2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :n_embd]  # (length, C)


def rotations(length: int, head_size: int, theta: float, run_format: int = RUN_FORMAT) -> Rotation:
    """Return the rotations of `length` positions, at one rate for each pair of channels, each table (length, D)."""
    exponents = torch.arange(0, head_size, 2) / head_size  # (D/2,)
    rates = theta**-exponents if run_format == 1 else 1 / theta**exponents  # the latter has Transformers' bits
    angles = torch.arange(length)[:, None] * rates  # (length, D/2)
    return angles.cos().repeat(1, 2), torch.cat([-angles.sin(), angles.sin()], -1)  # each (length, D)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate channel pairs (i, i + D/2) by their position's angle, (B, H, T, D) (Su et al. 2021, section 3.2.2).

    Pairs the two halves of the channels, as Qwen and Llama do; the paper pairs neighbours.
    """
    cos, sin = (table.to(x.dtype) for table in rotation)  # otherwise mixed precision would return float32
    # Two products of whole rows: taking rows apart and joining them takes 50 % longer.
    return x * cos + x.roll(x.size(-1) // 2, -1) * sin  # (B, H, T, D)


class Attention(nn.Module):
    """Causal multi-head scaled dot-product self-attention (Vaswani et al. 2017, section 3.2): (B, T, C) -> (B, T, C).

    One product computes all projections; its rows are the queries, then the keys, then the values.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_head, self.n_kv_head, self.head_size = config.n_head, config.kv_heads, config.head_channels
        rows = (self.n_head + 2 * self.n_kv_head) * self.head_size
        self.qkv = nn.Linear(config.n_embd, rows, bias=config.qkv_bias)
        self.proj = nn.Linear(self.n_head * self.head_size, config.n_embd, bias=config.bias)
        self.q_norm = RMSNorm(self.head_size, eps=config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_size, eps=config.norm_eps) if config.qk_norm else nn.Identity()
        self.dropout = make_dropout(config.dropout if config.attention_dropout is None else config.attention_dropout)

    def forward(
        self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None, mask: Tensor | None = None
    ) -> Tensor:
        """Return attention's output, (B, T, C) -> (B, T, C); arguments as for `Block.forward`."""
        B, T, _ = x.shape
        heads = self.qkv(x).view(B, T, -1, self.head_size).transpose(1, 2)  # (B, H + 2K, T, D)
        q, k, v = heads.split([self.n_head, self.n_kv_head, self.n_kv_head], dim=1)  # (B, H, T, D), 2 x (B, K, T, D)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.append(k, v)  # each (B, K, S, D)
        if self.n_kv_head < self.n_head:
            # On a CPU enable_gqa does the same; repeated here, every torch and device takes one path.
            k, v = (t.repeat_interleave(self.n_head // self.n_kv_head, dim=1) for t in (k, v))  # each (B, H, S, D)
        y = self.attend(q, k, v, mask)  # (B, H, T, D)
        return self.proj(y.transpose(1, 2).reshape(B, T, -1))  # (B, T, C)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return softmax(q k' / sqrt(D)) v, where each position sees itself and those before it, (B, H, T, D).

        `k` and `v` are (B, H, S, D), and the queries are the last T of these S positions. `mask`, (B, 1, T, S), says
        which keys each query sees, where that is not all up to its own position.
        """
        T, S = q.size(2), k.size(2)
        if mask is None and 1 < T < S:  # the earlier positions are in a cache
            mask = causal_mask(T, S, q.device)
        dropout = self.training and not isinstance(self.dropout, nn.Identity)
        learns_in_bfloat16 = q.dtype == torch.bfloat16 and q.requires_grad and torch.is_grad_enabled()
        if T == S and (dropout or (learns_in_bfloat16 and q.device.type == "cpu")):  # torch's is slow there
            from nanogpt.model.attention import blockwise_attention

            return blockwise_attention(q, k, v, mask, self.dropout if dropout else None)  # type: ignore[arg-type]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and T == S)


def causal_mask(T: int, S: int, device: torch.device) -> Tensor:
    """Return which of S keys each of the last T positions sees, (T, S): itself and those before it.

    torch's `is_causal` aligns the first query with the first key; with a cache the last ones belong together.
    """
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


class FeedForward(nn.Module):
    """Position-wise network (Vaswani et al. 2017, section 3.3; swiglu: Shazeer 2020): (B, T, C) -> (B, T, C).

    With swiglu `up` computes gate and values in one product; its first rows are the gate's.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = nn.Linear(config.n_embd, config.hidden * (2 if self.activation == "swiglu" else 1), config.bias)
        self.down = nn.Linear(config.hidden, config.n_embd, config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's output, (B, T, C) -> (B, T, C)."""
        return self.down(self.activate(self.up(x)))  # (B, T, C)

    def activate(self, x: Tensor) -> Tensor:
        """Apply the non-linearity: (..., F), or with swiglu (..., 2F), to (..., F)."""
        if self.activation == "swiglu":
            gate, value = x.chunk(2, dim=-1)  # each (..., F)
            return F.silu(gate.contiguous()) * value  # the copy is cheap, and silu is slow on half rows
        if self.activation == "relu":
            return F.relu(x)
        return F.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")


class Block(nn.Module):
    """A Transformer block: attention, then the feed-forward network, each with a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm_position == "pre"
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config)
        self.mlp = FeedForward(config)
        self.dropout = make_dropout(config.dropout)

    def forward(
        self, x: Tensor, rotation: Rotation | None = None, cache: LayerCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return the new residual stream, (B, T, C) -> (B, T, C).

        `rotation` holds cosines and sines of rotary positions, `cache` this layer's earlier keys and values, `mask`,
        (B, 1, T, S), which keys each position sees, where that is not all up to itself.
        """
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.attention_norm(x), rotation, cache, mask))
            return x + self.dropout(self.mlp(self.mlp_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, rotation, cache, mask)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))


class GPT(nn.Module):
    """The model: token ids (B, T) to logits of each next token (B, T, V).

    `block` is the class of the blocks, and the place for one of your own: made from a `ModelConfig`, its `forward`
    takes what `Block.forward` takes. Subclass `Block` and override what differs.

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
            raise UserError("vocab_size is 0: give the number of tokens, a tokenizer's vocab_size")
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        elif config.position == "sinusoidal":
            self.register_buffer("sinusoids", sinusoids(config.block_size, config.n_embd), persistent=False)
        else:
            cos, sin = rotations(config.block_size, config.head_channels, config.rope_theta, config.format)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        self.dropout = make_dropout(config.dropout if config.embedding_dropout is None else config.embedding_dropout)
        self.blocks = nn.ModuleList(block(config) for _ in range(config.n_layer))
        # Post-norm blocks return a normalised stream; the paper has no further norm.
        self.final_norm = make_norm(config) if config.norm_position == "pre" else nn.Identity()
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=config.head_bias)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        init_weights(self, generator)

    def forward(self, idx: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return the logits of the token after each of `idx`, (B, T) -> (B, T, V).

        `cache` holds keys and values of the tokens before `idx`; those of `idx` are added. Raises UserError where they
        are longer than block_size together.
        """
        T, start = idx.size(1), cache.length if cache else 0
        if start + T > self.config.block_size:
            raise UserError(
                f"a context of {start + T} tokens is longer than block_size {self.config.block_size}: "
                f"crop it to its newest tokens"
            )
        positions = cache.positions(T) if cache else slice(T)
        x, kind = self.embed(idx, positions), idx.device.type
        if torch.is_autocast_enabled(kind):  # a residual stream in its format, which only CUDA's layer norms leave
            x = x.to(torch.get_autocast_dtype(kind))
        x = self.dropout(x)  # (B, T, C)
        rotation = self.rotation(positions)
        mask = cache.mask if cache else None
        if self.config.mask_documents:
            from nanogpt.model.documents import document_mask

            mask = document_mask(idx, self.config.document_token, cache)  # (B, 1, T, S)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, cache.layers[layer] if cache else None, mask)
        if cache:
            cache.advance(T)
        return self.lm_head(self.final_norm(x))  # (B, T, V)

    def embed(self, idx: Tensor, positions: slice | Tensor) -> Tensor:
        """Return token embeddings plus, where positions are added, theirs: (B, T) -> (B, T, C)."""
        x = self.token_embedding(idx)  # (B, T, C)
        if self.config.position == "rope":
            return x
        table = self.position_embedding.weight if self.config.position == "learned" else self.sinusoids
        return x + table[positions]

    def rotation(self, positions: slice | Tensor) -> Rotation | None:
        """Return the cosines and sines of some positions, each (T, D), or (B, 1, T, D) for (B, T); None without."""
        if self.config.position != "rope":
            return None
        cos, sin = self.cos[positions], self.sin[positions]
        return (cos, sin) if isinstance(positions, slice) else (cos[:, None], sin[:, None])

    @property
    def parameter_count(self) -> int:
        """Number of trained weights; a tied one counts once."""
        return sum(p.numel() for p in self.parameters())


@contextlib.contextmanager
def evaluation_mode(model: GPT) -> Iterator[None]:
    """Set the model to evaluation, and each module back to its mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def init_weights(model: GPT, generator: torch.Generator | None = None) -> None:
    """Draw the weights of all linear layers and embeddings by `config.init`, from `generator` alone.

    normal: N(0, 0.02). scaled (GPT-2): the same, and weights that write into the residual stream are smaller by
    sqrt(2 n_layer), the number of its summands. zero: matrices are uniform with variance 1 / fan-in; those that write
    into the stream, and an untied output layer, are zero, its embedding N(0, 0.3). Each block then starts as the
    identity and the prediction as uniform, or nearly so with tied weights.
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
            # A tied embedding is the output layer too: it starts small for uniform predictions.
            std = 0.3 if config.init == "zero" and not config.tie_embeddings else 0.02
            module.weight.normal_(0.0, std, generator=generator)
