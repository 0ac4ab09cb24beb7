# %% [markdown]
# # 2. Looking back: the mean of the past
#
# - **New here:** four functions for one mean (`mean_by_loop`, `mean_by_matrix`, `mean_by_softmax`,
#   `mean_by_cumsum`) with `causal_mask`, `Averaging`, and `LanguageModel`, the frame that holds every model to the
#   end of the course.
# - **From before:** `run_experiment`, `Result` (1).
# - **In the lecture:** [00:42:13] loops, [00:47:11] the trick, [00:51:54] matrix product, [00:54:42] softmax.
# - **In the paper:** the mask of section 3.2.3, and section 3.4 for the frame's two ends.
# - **Takes** about 10 seconds on a laptop.
# - **Expect** a validation loss of about 2.83 after 5,000 steps: *worse* than the table of pairs. That is the
#   lesson.
#
# The bigram model knows one character. To know more, each place must take in something from the places before it.
# The simplest thing to take is the mean. It is a poor way of listening, but it is exactly the machinery of
# attention, with every weight equal; and there is a trick to computing it that all of deep learning's speed rests
# on.
#
# **The idea in a sentence:** give each place the mean of all places up to it, by one product with a triangular
# matrix.


# %%
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, run_experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "the mean of the past"

# %% [markdown]
# ## Four ways to one mean
#
# For each piece of a batch and each place $t$, average the vectors from the first to the $t$-th, itself included:
#
# $$\bar x_t = \frac{1}{t} \sum_{s \le t} x_s$$
#
# **By hand**, for three places of two channels. (On paper places are counted from 1, as here; in the code, and in
# section 3's formula, from 0. What is called a *place* here, others call a *position*.)
#
# | $t$ | $x_t$ | mean so far |
# |---|---|---|
# | 1 | (1, 3) | (1, 3) |
# | 2 | (5, 1) | (3, 2) |
# | 3 | (3, 5) | (3, 3) |
#
# The **loop** says just that. It is slow: two loops in Python, and B·T tiny sums.
#
# The **matrix product** says it in one go. Row $t$ of a lower-triangular matrix holds $1/t$ up to column $t$ and 0
# after it; the product of that matrix with $x$ is all the means at once:
#
# $$\begin{pmatrix} 1 & 0 & 0 \\ 1/2 & 1/2 & 0 \\ 1/3 & 1/3 & 1/3 \end{pmatrix}
# \begin{pmatrix} 1 & 3 \\ 5 & 1 \\ 3 & 5 \end{pmatrix} =
# \begin{pmatrix} 1 & 3 \\ 3 & 2 \\ 3 & 3 \end{pmatrix}$$
#
# The **masked softmax** makes the same matrix from *scores*. Let every score be 0 where looking is allowed and
# $-\infty$ where it is not: $e^0 = 1$, $e^{-\infty} = 0$, and softmax divides by the sum. Why bother? Because
# scores need not be 0. In section 4 they will depend on what stands in the two places, and nothing else will
# change.
#
# The **cumulative sum** is the cheapest: add up, divide by the count. It needs no T × T matrix, but it cannot be
# generalised to unequal weights. (Cheap ways of looking back are a subject of research to this day.)
#
# In the code, `tril()` keeps what is on the diagonal and below it, `~` turns true and false round, `masked_fill(m,
# v)` puts `v` where `m` is true, and `dim=-1` means along the last dimension. In `(T, T) @ (B, T, C)` the first has
# no B: torch takes the same matrix for every piece (*broadcasting*).


# %%
def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """Return which positions may see which: (T, T), true at [t, s] where s is not after t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()  # (T, T)


def mean_by_loop(x: Tensor) -> Tensor:
    """Return the mean of the past, position by position: (B, T, C) -> (B, T, C)."""
    means = torch.empty_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            means[b, t] = x[b, : t + 1].mean(dim=0)  # (t + 1, C) -> (C)
    return means


def mean_by_matrix(x: Tensor) -> Tensor:
    """Return the mean of the past as one matrix product: (B, T, C) -> (B, T, C)."""
    allowed = causal_mask(x.shape[1], x.device).to(x.dtype)  # (T, T)
    weights = allowed / allowed.sum(dim=1, keepdim=True)  # (T, T), each row sums to 1
    return weights @ x  # (T, T) @ (B, T, C) -> (B, T, C)


def mean_by_softmax(x: Tensor) -> Tensor:
    """Return the mean of the past, weighted by a softmax over equal scores: (B, T, C) -> (B, T, C)."""
    allowed = causal_mask(x.shape[1], x.device)  # (T, T)
    scores = torch.zeros(allowed.shape, dtype=x.dtype, device=x.device)  # (T, T)
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)  # (T, T), each row sums to 1
    return weights @ x  # (T, T) @ (B, T, C) -> (B, T, C)


def mean_by_cumsum(x: Tensor) -> Tensor:
    """Return the mean of the past as a cumulative sum divided by a count: (B, T, C) -> (B, T, C)."""
    counts = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]  # (T, 1)
    return x.cumsum(dim=1) / counts  # (B, T, C)


def compare_means(batch_size: int = 4, length: int = 256, n_embd: int = 32) -> None:
    """Check that the four agree, on the example by hand and on random numbers, and print their times."""
    example = torch.tensor([[[1.0, 3.0], [5.0, 1.0], [3.0, 5.0]]])  # (1, 3, 2)
    by_hand = torch.tensor([[[1.0, 3.0], [3.0, 2.0], [3.0, 3.0]]])
    x = torch.randn(batch_size, length, n_embd, generator=torch.Generator().manual_seed(0))
    expected = mean_by_loop(x)
    print(f"B {batch_size}, T {length}, C {n_embd}: the best of three calls")
    for mean in (mean_by_loop, mean_by_matrix, mean_by_softmax, mean_by_cumsum):
        assert torch.allclose(mean(example), by_hand, atol=1e-6)
        assert torch.allclose(mean(x), expected, atol=1e-5)
        print(f"  {mean.__name__:<16} {1000 * best_time(mean, x):8.3f} ms, same numbers")


def best_time(function: Callable[[Tensor], Tensor], x: Tensor, calls: int = 3) -> float:
    """Return the shortest time of a few calls: other programs lengthen the others."""
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        function(x)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


# %%
if __name__ == "__main__":
    show(compare_means)

# %% [markdown]
# The matrix itself is a picture: who listens from top to bottom, who is listened to from left to right, and white where
# nobody looks, the future. Section 4 will draw the same picture with weights that are no longer equal.


# %%
def draw_weights(axes: Any, weights: Tensor, labels: Sequence[str]) -> Any:
    """Draw attention weights (T, T) on matplotlib axes, the future white; returns the image."""
    future = ~causal_mask(len(weights))  # (T, T)
    image = axes.imshow(weights.masked_fill(future, torch.nan).numpy(), cmap="cividis", vmin=0, vmax=1)
    axes.set(xlabel="attends to", xticks=range(len(labels)), yticks=range(len(labels)))
    axes.set_xticklabels(labels)
    axes.set_yticklabels(labels)
    return image


def draw_means(length: int = 8) -> "Figure":
    """Draw the weights of the mean of the past: row t holds 1/t up to position t, the future is white."""
    from matplotlib.figure import Figure

    weights = mean_by_softmax(torch.eye(length)[None])[0]  # (T, T): of one-hot vectors the means are the weights
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    image = draw_weights(axes, weights, [str(t + 1) for t in range(length)])
    for t, s in causal_mask(length).nonzero().tolist():
        axes.text(s, t, f"1/{t + 1}", ha="center", va="center", fontsize=8, color="black" if t < 2 else "white")
    axes.set(ylabel="position", title="The mean of the past: equal weights")
    figure.colorbar(image, label="weight", shrink=0.8)
    return figure


# %%
if __name__ == "__main__":
    show(draw_means)

# %% [markdown]
# ## A frame for every model to come
#
# The bigram table mapped a token straight to V logits. From now on there is room in between. A token first becomes
# a vector of C = `n_embd` channels, its *embedding*: what the model knows about it. A *body* turns the T vectors of
# a piece into T vectors of the same size, and here the places may talk. A last linear layer, the *head* of the
# language model, reads V logits off each vector.
#
# A *linear layer*, `nn.Linear(n, m)`, multiplies a vector of n numbers by a learned matrix and adds a learned vector,
# the *bias* (unless `bias=False`): m numbers come out. It acts on the last dimension, at each place alike.
#
# Only the body changes from section to section, so it is an argument. Here it is the mean.


# %%
class LanguageModel(nn.Module):
    """Tokens to embeddings, through a body, to next-token logits: (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int, n_embd: int, body: nn.Module) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, n_embd)
        self.body = body
        self.lm_head = nn.Linear(n_embd, vocab_size)

    def embed(self, idx: Tensor) -> Tensor:
        """Return the token embeddings: (B, T) -> (B, T, C)."""
        return self.token_embedding(idx)

    def forward(self, idx: Tensor) -> Tensor:
        x = self.body(self.embed(idx))  # (B, T, C)
        return self.lm_head(x)  # (B, T, V)


class Averaging(nn.Module):
    """A body that gives every position the mean of its past: (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return mean_by_softmax(x)


# %%
def main(
    steps: int = 5000, seed: int = 1337, text: str | None = None, report: Report = quiet, *, n_embd: int = 32
) -> Result:
    """Train a language model whose body is the mean of the past."""
    return run_experiment(
        lambda vocab_size: LanguageModel(vocab_size, n_embd, Averaging()),
        label="mean of the past",
        steps=steps,
        seed=seed,
        text=text,
        report=report,
    )


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## What we have
#
# More is seen, and the loss is higher than the bigram's. In a mean of eight characters the last one, which tells
# most about the next, has a weight of 1/8 like the others, and nothing tells the model which it was. Looking back
# is not enough. Two things are missing: to know *where* a character stood (section 3), and to choose *whom* to
# listen to (section 4). Every attention layer of today's models is such a product with a triangular matrix; only
# the numbers in the matrix are computed from the text.
#
# **Try it**
# 1. Let each place keep itself: `return x + mean_by_softmax(x)`. *Expect* the bigram's loss, 2.49, and no better:
#    the last character is back, and the mean of the others hardly adds to it. (You have just invented the residual
#    connection of section 7.)
# 2. Replace the scores 0 by `-0.5 * (t - s)`, so that near places count more. *Expect* about 2.54: the weights are
#    better chosen, but it was you who chose them and not the model.
# 3. Time the four ways for T = 1,024. *Expect* four times the time for the loop, sixteen times for the two matrices
#    once they dominate, four times for the cumulative sum.

# %%
if __name__ == "__main__":
    finish(result)
