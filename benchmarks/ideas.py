"""Ideas that are not in the library, each added to a training from outside; `benchmarks.tried` measures them.

An idea that does not pay leaves no trace in the library. Each has its source, a function that changes a training before
its first step, and an entry in `IDEAS`. Whether it is `in_qwen3` says whether the trained model is still a Qwen3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from nanogpt.data.batches import TokenIds
from nanogpt.errors import UserError
from nanogpt.model.dropout import seed_dropout
from nanogpt.model.gpt import Attention, FeedForward, causal_mask
from nanogpt.model.loss import cross_entropy
from nanogpt.optim import muon
from nanogpt.parallel.devices import autocast
from nanogpt.random_streams import stream
from nanogpt.training.trainer import Trainer, TrainStep

Forward = Callable[..., Tensor]
Loss = Callable[[Forward, int, Sequence[int]], Tensor]
"""`TrainStep.loss`: the mean loss of some samples of a step, by a function from ids (B, T) to logits (B, T, V)."""
Update = Callable[[int, float], Tensor]
"""`TrainStep.__call__`: one update, by its number and the learning rate."""


@dataclass(frozen=True)
class Idea:
    """Something that might help, and what changes to try it."""

    name: str
    """its name in tables"""
    in_qwen3: bool
    """whether a model trained with it is still exactly a Qwen3"""
    settings: dict[str, Any] = field(default_factory=dict)
    """settings that differ from the base's"""
    change: Callable[[Trainer], None] | None = None
    """what is done to the training before its first step"""


def wrap_loss(train_step: TrainStep, around: Callable[[Loss, Forward, int, Sequence[int]], Tensor]) -> None:
    """Compute the loss by `around`, which gets the present function and its arguments."""
    train_step.loss = partial(around, train_step.loss)  # type: ignore[method-assign]


def wrap_update(train_step: TrainStep, around: Callable[[Update, int, float], Tensor]) -> None:
    """Make updates by `around`, which gets the present function and its arguments."""
    kind = type(train_step)

    def call(self: TrainStep, step: int, lr: float) -> Tensor:
        return around(partial(kind.__call__, self), step, lr)

    train_step.__class__ = type("WrappedStep", (kind,), {"__call__": call})  # calls look up the class, not the object


def learn_like(train_step: TrainStep, known: Tensor, new: Sequence[Tensor]) -> None:
    """Give new weights to the optimizer of a known one, with the same settings."""
    for optimizer in train_step.optimizers:
        for group in list(optimizer.param_groups):
            if any(p is known for p in group["params"]):
                optimizer.add_param_group(group | {"params": list(new)})


def shorten_sequences(trainer: Trainer, stages: Sequence[tuple[float, int]] = ((0.2, 4), (0.4, 2))) -> None:
    """Train on short sequences first: until a share of the run, windows are cut into pieces (share, pieces).

    Li, Zhang and He 2022, "The stability-efficiency dilemma: investigating sequence length warmup for training GPT
    models". A step has the same tokens; a piece begins without what was before it.
    """
    size, train_step = trainer.model.config.block_size, trainer.train_step
    for _, pieces in stages:
        if size % pieces:
            raise UserError(
                f"block_size {size} cannot be cut into {pieces} equal pieces: choose a multiple of {pieces}"
            )

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        pieces = next((pieces for end, pieces in stages if step / trainer.plan.total_steps < end), 1)

        def in_pieces(ids: Tensor) -> Tensor:
            # Each piece is a sample for dropout, whose keys are those of samples.
            keys = [sample * pieces + piece for sample in samples for piece in range(pieces)]
            seed_dropout(trainer.model, train_step.config.seed, step, keys)
            logits = forward(ids.reshape(-1, ids.size(1) // pieces))  # (B * pieces, T / pieces, V)
            return logits.view(*ids.shape, -1)  # (B, T, V)

        return before(forward if pieces == 1 else in_pieces, step, samples)

    wrap_loss(train_step, loss)


class ValueEmbeddings(nn.Module):
    """An embedding of zeros and a gain of one for each layer: an untrained model is as without them."""

    def __init__(self, vocab_size: int, channels: int, layers: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(vocab_size, channels) for _ in range(layers))
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(1)) for _ in range(layers))
        self.ids: Tensor | None = None
        """what the model is reading (B, T)"""
        for table in self.tables:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]

    def read(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Keep the ids, before the token embedding."""
        self.ids = inputs[0]

    def add(self, layer: int, projected: Tensor) -> Tensor:
        """Add a layer's embeddings to the values, the last channels of (B, T, (H + 2K) D)."""
        value = self.gains[layer] * self.tables[layer](self.ids)  # (B, T, KD)
        projected[..., -value.size(-1) :] += value.to(projected.dtype)
        return projected


def embed_values(trainer: Trainer) -> None:
    """Add an embedding of the token, times a learned gain, to the values of each layer.

    Jordan et al. 2024, KellerJordan/modded-nanogpt, after Zhou et al. 2024, "Value residual learning".
    """
    model, train_step = trainer.model, trainer.train_step
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    added = ValueEmbeddings(model.config.vocab_size, layers[0].n_kv_head * layers[0].head_size, len(layers))
    model.value_embeddings = added.to(train_step.device)
    model.token_embedding.register_forward_pre_hook(added.read)
    for number, layer in enumerate(layers):
        layer.qkv.register_forward_hook(lambda module, inputs, y, number=number: added.add(number, y))
    learn_like(train_step, model.token_embedding.weight, list(added.tables.parameters()))
    learn_like(train_step, next(model.final_norm.parameters()), list(added.gains))


def average_weights(trainer: Trainer, share: float | None = None, decay: float = 0.0) -> None:
    """End with an exponential moving average of the weights, with a memory of `share` of the run, or with `decay`.

    Polyak and Juditsky 1992; Izmailov et al. 2018; in place of a falling learning rate Hägele et al. 2024, "Scaling
    laws and compute-optimal training beyond fixed training durations".
    """
    steps = trainer.plan.total_steps
    if share is not None:
        decay = max(0.0, 1 - 1 / (share * steps))
    weights: list[Tensor] = [p for p in trainer.model.parameters() if p.requires_grad]
    averages: list[Tensor] = []

    def update(before: Update, step: int, lr: float) -> Tensor:
        found = before(step, lr)
        with torch.no_grad():
            if not averages:  # without the first weights, which are random
                averages.extend(p.clone() for p in weights)
            torch._foreach_lerp_(averages, weights, 1 - decay)
            if step == steps - 1:
                torch._foreach_copy_(weights, averages)
        return found

    wrap_update(trainer.train_step, update)


def cap_logits(trainer: Trainer, cap: float) -> None:
    """Bound logits by c tanh(x / c), in training and in evaluation (Gemma 2: Riviere et al. 2024). Not in Qwen3."""
    trainer.model.lm_head.register_forward_hook(lambda module, inputs, x: cap * torch.tanh(x / cap))


def add_z_loss(trainer: Trainer, weight: float = 1e-4) -> None:
    """Add weight times the mean of (log sum exp logits)^2 to the loss (PaLM: Chowdhery et al. 2022, section 5)."""

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        seen: list[Tensor] = []

        def keep(ids: Tensor) -> Tensor:
            seen.append(forward(ids))
            return seen[-1]

        found = before(keep, step, samples)
        return found + weight * seen[-1].float().logsumexp(-1).square().mean()

    wrap_loss(trainer.train_step, loss)


def predict_two_tokens(trainer: Trainer, weight: float = 0.3) -> None:
    """Add the loss of a second head on the token after the next, with a weight that falls linearly to zero.

    Multi-token prediction (Gloeckle et al. 2024, "Better & faster large language models via multi-token prediction",
    where each head has its own layer; here it is an output layer alone). The head is dropped after the run.
    """
    model, train_step = trainer.model, trainer.train_step
    head = nn.Linear(model.config.n_embd, model.config.vocab_size, bias=False, device=train_step.device)
    nn.init.zeros_(head.weight)
    model.second_head = head
    learn_like(train_step, model.lm_head.weight, [head.weight])
    states: list[Tensor] = []

    def keep_state(module: nn.Module, inputs: tuple[Tensor, ...], x: Tensor) -> None:
        states[:] = [x] if x.requires_grad else []

    model.final_norm.register_forward_hook(keep_state)

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        read: list[Tensor] = []

        def keep_ids(ids: Tensor) -> Tensor:
            read[:] = [ids]
            return forward(ids)

        found = before(keep_ids, step, samples)
        share = weight * (1 - step / trainer.plan.total_steps)
        if share <= 0:
            return found
        with autocast(train_step.device, train_step.precision):
            logits = head(states[0][:, :-2])  # (B, T - 2, V): the last two have no such token in their window
            return found + share * cross_entropy(logits, read[0][:, 2:])

    wrap_loss(train_step, loss)


def slide_windows(trainer: Trainer, share: int) -> None:
    """Let the layers 0, 2, 4 … see only the newest block_size / share tokens. The model then takes no cache.

    Child et al. 2019; Gemma 2, Riviere et al. 2024. The window is a mask, which saves no time, as a kernel would.
    """
    config = trainer.model.config
    if config.mask_documents:
        raise UserError("mask_documents needs its own mask: leave one of the two out")
    width = max(1, config.block_size // share)

    def before(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, rotation, cache, *_ = inputs
        if cache is not None:
            raise UserError("a model with sliding windows generates no text here")
        return x, rotation, cache, window_mask(x.size(1), width, x.device).expand(x.size(0), 1, -1, -1)

    for block in trainer.model.blocks[::2]:
        block.register_forward_pre_hook(before)


def window_mask(T: int, width: int, device: torch.device) -> Tensor:
    """Return the keys that each position sees, (T, T): itself and those before it, `width` in all.

    >>> window_mask(3, 2, torch.device("cpu")).int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    return causal_mask(T, T, device).triu(1 - width)


UNSEEN = 0.1
"""Added to the count of every pair, so that none is impossible."""


def log_pairs(ids: TokenIds, vocab_size: int) -> Tensor:
    """Return the logarithms of the shares of the tokens after each token: (V, V), a row for each first token."""
    pairs = np.asarray(ids[:-1], dtype=np.int64) * vocab_size + ids[1:]
    counts = np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size) + UNSEEN
    return torch.from_numpy(np.log(counts / counts.sum(1, keepdims=True)))


@torch.no_grad()
def start_from_pairs(trainer: Trainer) -> None:
    """Set embeddings and output layer so that the untrained model predicts by the counts of pairs of tokens.

    The first steps of a run learn that table. (Bengio et al. 2003 mix their model with counted trigrams.) It is exact
    with as many channels as tokens, else the nearest. Embeddings are the table's main directions, randomly rotated so
    that each channel has a share, at their usual size. UserError where blocks do not begin as the identity.
    """
    model, config = trainer.model, trainer.model.config
    if config.init != "zero" or config.tie_embeddings or config.norm_position != "pre" or config.position != "rope":
        raise UserError("a start from pairs needs init 'zero', untied embeddings, norms before and rope")
    embedding = model.token_embedding.weight
    table = log_pairs(trainer.data.train, config.vocab_size)
    table -= table.mean(1, keepdim=True)  # softmax ignores it
    rank = min(table.size(0), config.n_embd)
    main = torch.linalg.svd(table)[0][:, :rank]  # (V, rank), orthonormal columns
    generator = torch.Generator().manual_seed(stream(trainer.config.train.seed, "pair start"))
    noise = torch.randn(config.n_embd, rank, generator=generator, dtype=torch.float64)
    rows = main @ torch.linalg.qr(noise)[0].T  # (V, C)
    size = rows.square().mean(1, keepdim=True).sqrt()  # (V, 1): 0 for a token that no token followed
    drawn = embedding.double().cpu()
    embedding.copy_(torch.where(size > 1e-9, rows * (drawn.std() / size), drawn))
    normed = model.final_norm(embedding).double().cpu()  # (V, C)
    model.lm_head.weight.copy_((torch.linalg.pinv(normed) @ table).T)  # (V, C)


def square_activations(trainer: Trainer) -> None:
    """Square the inputs of the feed-forward networks' second matrices: ReLU squared (So et al. 2021, "Primer")."""
    for module in trainer.model.modules():
        if isinstance(module, FeedForward):
            module.down.register_forward_pre_hook(lambda module, inputs: (inputs[0].square(),))


def raise_momentum(trainer: Trainer, first: float = 0.85, last: float = 0.95, steps: int = 300) -> None:
    """Let Muon's momentum rise linearly over the first steps (KellerJordan/modded-nanogpt)."""

    def update(before: Update, step: int, lr: float) -> Tensor:
        for optimizer in trainer.train_step.optimizers:
            for group in optimizer.param_groups:
                if "peak_momentum" in group:
                    group["peak_momentum"] = first + (last - first) * min(1.0, step / steps)
        return before(step, lr)

    wrap_update(trainer.train_step, update)


def limit_iterations(trainer: Trainer, iterations: int) -> None:
    """Orthogonalise Muon's updates in this many iterations: cheaper, and less exactly (Jordan et al. 2024)."""
    fewer = partial(muon.orthogonalise, iterations=iterations)

    def update(before: Update, step: int, lr: float) -> Tensor:
        with mock.patch.object(muon, "orthogonalise", fewer):
            return before(step, lr)

    wrap_update(trainer.train_step, update)


def replace_tokens(trainer: Trainer, share: float) -> None:
    """Replace this share of the input tokens by tokens drawn from the text, other ones at each step; no targets.

    Unigram noising (Xie et al. 2017, "Data noising as smoothing in neural network language models"), against
    memorizing a short text.
    """
    train_step, text = trainer.train_step, trainer.data.train

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        def noisy(ids: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(stream(train_step.config.seed, "noise", step, samples[0]))
            places = torch.randint(len(text), ids.shape, generator=generator)
            others = torch.from_numpy(text[places.numpy().ravel()].astype("int64")).view(ids.shape).to(ids.device)
            replaced = (torch.rand(ids.shape, generator=generator) < share).to(ids.device)
            return forward(torch.where(replaced, others, ids))

        return before(noisy, step, samples)

    wrap_loss(train_step, loss)


ADAMW = {
    **{"optimizer": "adamw", "learning_rate": 3e-3, "embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0},
    **{"beta1": 0.9, "beta2": 0.99},
}
"""AdamW (Loshchilov and Hutter 2019) for everything, with the learning rate that the preset names for it."""
_HALVES = partial(shorten_sequences, stages=((0.3, 2),))
_TENTH = partial(average_weights, share=0.1)

# The settings: tied embeddings (Press and Wolf 2017), grouped queries (Ainslie et al. 2023), dropout (Srivastava et al.
# 2014), GELU (Hendrycks and Gimpel 2016) for SwiGLU (Shazeer 2020).
_ALL = (
    Idea("sequence-length warm-up", True, {}, shorten_sequences),
    Idea("sequence-length warm-up, halves alone", True, {}, _HALVES),
    Idea("value embeddings", False, {}, embed_values),
    Idea("average of weights, of 2 % of the run", True, {}, partial(average_weights, share=0.02)),
    Idea("average of weights, of 5 % of the run", True, {}, partial(average_weights, share=0.05)),
    Idea("average of weights, of 10 %, rate down to a third", True, {"final_lr": 0.33}, _TENTH),
    Idea("soft cap of logits at 30", False, {}, partial(cap_logits, cap=30.0)),
    Idea("soft cap of logits at 15", False, {}, partial(cap_logits, cap=15.0)),
    Idea("z-loss", True, {}, add_z_loss),
    Idea("multi-token prediction", True, {}, predict_two_tokens),
    Idea("sliding windows, half the block", False, {}, partial(slide_windows, share=2)),
    Idea("sliding windows, a quarter of the block", False, {}, partial(slide_windows, share=4)),
    Idea("start from counted pairs", True, {}, start_from_pairs),
    Idea("GELU for SwiGLU", False, {"activation": "gelu"}),
    Idea("ReLU squared for SwiGLU", False, {"activation": "relu"}, square_activations),
    Idea("momentum from 0.85 to 0.95", True, {}, raise_momentum),
    Idea("momentum 0.9", True, {"momentum": 0.9}),
    Idea("three Newton-Schulz iterations", True, {}, partial(limit_iterations, iterations=3)),
    Idea("four Newton-Schulz iterations", True, {}, partial(limit_iterations, iterations=4)),
    Idea("5 % noise in what is read", True, {}, partial(replace_tokens, share=0.05)),
    Idea("10 % noise in what is read", True, {}, partial(replace_tokens, share=0.1)),
    Idea("tied embeddings", True, {"tie_embeddings": True}),
    Idea("two heads of keys and values", True, {"n_kv_head": 2}),
    Idea("one head of keys and values", True, {"n_kv_head": 1}),
    Idea("AdamW for everything", True, ADAMW, None),
    Idea("no weight decay", True, {"weight_decay": 0.0}),
    Idea("weight decay 0.3", True, {"weight_decay": 0.3}),
    Idea("no dropout", True, {"dropout": 0.0}),
    Idea("dropout 0.1", True, {"dropout": 0.1}),
    Idea("dropout 0.2", True, {"dropout": 0.2}),
)
IDEAS = {idea.name: idea for idea in _ALL}
