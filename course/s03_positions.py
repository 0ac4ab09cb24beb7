# %% [markdown]
# # 3. Where a token stands: position encodings
#
# - **New here:** `LearnedPositions`, `SinusoidalPositions`, and `PositionedModel`, which adds either to the token
#   embeddings.
# - **From before:** `run_experiment`, `Result` (1), `LanguageModel`, `Averaging`, `causal_mask`, `mean_by_softmax`
#   (2).
# - **In the lecture:** [01:00:18] positional encoding.
# - **In the paper:** section 3.5, with the sinusoids' equations.
# - **Takes** about 15 seconds on a laptop.
# - **Expect** a validation loss of about 2.82, as in section 2: positions are of no use to a plain mean, and this
#   section shows why. They begin to pay in the next section.
#
# The mean of the past does not depend on the order of the past. Neither does any other sum in which each token's
# share depends only on what the token *is*: `dog bites man` and `man bites dog` go in as the same set. The remedy
# is almost too simple.
#
# **The idea in a sentence:** give each place its own vector and add it to the token's, so that the same letter
# looks different in a different place.


# %%
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, run_experiment
from course.s02_averaging import Averaging, LanguageModel, causal_mask, mean_by_softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "position added to the token"

# %% [markdown]
# ## Two kinds of position vectors
#
# **Learned:** a table with one row for each place, trained like every other parameter. GPT-2 and the lecture do
# this. It has `block_size` rows, so the model has no idea of any place beyond.
#
# **Sinusoidal:** the paper computes the rows instead, from waves of different lengths. Channels come in pairs; pair
# $i$ of place $t$ holds
#
# $$PE_{t,2i} = \sin(t \,/\, 10000^{2i/C}), \qquad PE_{t,2i+1} = \cos(t \,/\, 10000^{2i/C})$$
#
# The first pair turns by one radian from place to place, the last hardly at all: like the hands of a clock, the
# fast ones tell near places apart and the slow ones far ones. **By hand**, for C = 4, the frequencies are $1$ and
# $1/100$:
#
# | $t$ | $\sin t$ | $\cos t$ | $\sin t/100$ | $\cos t/100$ |
# |---|---|---|---|---|
# | 0 | 0 | 1 | 0 | 1 |
# | 1 | 0.8415 | 0.5403 | 0.0100 | 1.0000 |
# | 2 | 0.9093 | −0.4161 | 0.0200 | 0.9998 |
#
# Why waves? By $\cos a \cos b + \sin a \sin b = \cos(a - b)$, the scalar product of two rows depends only on how far
# apart they are: "three back" looks the same everywhere. (Section 4 multiplies rows that learned matrices have
# changed. There it no longer holds exactly, but it is easy for the matrices to use.)


# %%
class LearnedPositions(nn.Module):
    """A trained vector per position: length T -> (T, C)."""

    def __init__(self, block_size: int, n_embd: int) -> None:
        super().__init__()
        self.table = nn.Embedding(block_size, n_embd)

    def forward(self, length: int) -> Tensor:
        if length > self.table.num_embeddings:
            raise ValueError(f"{length} tokens, but positions for {self.table.num_embeddings}; crop the context")
        return self.table.weight[:length]  # (T, C)


class SinusoidalPositions(nn.Module):
    """The paper's sinusoids, nothing trained: length T -> (T, C)."""

    frequencies: Tensor

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        exponents = torch.arange(0, n_embd, 2) / n_embd  # (C / 2,)
        self.register_buffer("frequencies", 10_000.0**-exponents, persistent=False)  # (C / 2,)

    def forward(self, length: int) -> Tensor:
        positions = torch.arange(length, device=self.frequencies.device)  # (T,)
        angles = positions[:, None] * self.frequencies  # (T, C / 2)
        pairs = torch.stack([angles.sin(), angles.cos()], dim=-1)  # (T, C / 2, 2)
        return pairs.flatten(1)  # (T, C): sin, cos, sin, cos, ...


class PositionedModel(LanguageModel):
    """The language model of section 2 with positions added to the embeddings: (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int, n_embd: int, body: nn.Module, position_embedding: nn.Module) -> None:
        super().__init__(vocab_size, n_embd, body)
        self.position_embedding = position_embedding

    def embed(self, idx: Tensor) -> Tensor:
        return super().embed(idx) + self.position_embedding(idx.shape[1])  # (B, T, C) + (T, C) -> (B, T, C)


# %%
def show_sinusoids(n_embd: int = 32, length: int = 64) -> None:
    """Check the table by hand, and that products depend only on the distance."""
    by_hand = torch.tensor([[0, 1, 0, 1], [0.8415, 0.5403, 0.0100, 1.0], [0.9093, -0.4161, 0.0200, 0.9998]])
    assert torch.allclose(SinusoidalPositions(4)(3), by_hand, atol=1e-4)
    rows = SinusoidalPositions(n_embd)(length)  # (T, C)
    products = rows @ rows.T  # (T, T)
    for distance in (0, 1, 3, 10):
        along = products.diagonal(distance)  # (T - distance,)
        assert torch.allclose(along, along[0].expand_as(along), atol=1e-3)
        print(f"product of any two of {length} positions, {distance:2} apart: {along[0]:6.3f}")


def draw_sinusoids(n_embd: int = 32, length: int = 64) -> "Figure":
    """Draw the table: positions from top to bottom, channels from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(SinusoidalPositions(n_embd)(length).numpy(), cmap="cividis", aspect="auto", vmin=-1, vmax=1)
    axes.set(xlabel="channel", ylabel="position", title="Sinusoidal positions: fast waves left, slow waves right")
    figure.colorbar(image)
    return figure


# %%
if __name__ == "__main__":
    show(show_sinusoids)

# %%
if __name__ == "__main__":
    show(draw_sinusoids)

# %% [markdown]
# ## Without positions the past is a set
#
# Let each place listen more to those that resemble it: the scores, instead of 0, are the products of the
# embeddings, $x_t \cdot x_s$. (That is nearly section 4.) Then swap two tokens of the past and look at the last
# place. Without positions nothing changes, to the last digit that rounding leaves. With them it does.
#
# The plain mean, however, stays a set even with positions: the mean of sums is the sum of the means, $\overline{e +
# p} = \bar e + \bar p$, and $\bar p$ is the same whichever token stood where. This is why the loss of this section
# does not move.


# %%
def mean_by_similarity(x: Tensor) -> Tensor:
    """Return the mean of the past, weighted by similarity: (T, C) -> (T, C)."""
    scores = (x @ x.T) / x.shape[1]  # (T, T)
    return scores.masked_fill(~causal_mask(len(x)), -torch.inf).softmax(dim=-1) @ x  # (T, C)


def show_the_past_is_a_set(n_embd: int = 32) -> None:
    """Swap two tokens of the past, and print which means change at the last position."""
    torch.manual_seed(0)
    tokens = nn.Embedding(26, n_embd)
    before, after = (torch.tensor([ord(c) - ord("a") for c in word]) for word in ("dogman", "mogdan"))
    positions = {
        "no positions": torch.zeros(6, n_embd),
        "learned (untrained)": LearnedPositions(6, n_embd)(6),
        "sinusoidal": SinusoidalPositions(n_embd)(6),
    }
    print(f"{'change at the last position when':<40}{'weighted by':>12}")
    print(f"{'two earlier tokens are swapped':<30}{'plain mean':>10}{'similarity':>12}")
    for name, vectors in positions.items():
        x, swapped = tokens(before) + vectors, tokens(after) + vectors  # (T, C) each
        by_mean = (mean_by_softmax(x[None])[0, -1] - mean_by_softmax(swapped[None])[0, -1]).abs().max().item()
        by_similarity = (mean_by_similarity(x)[-1] - mean_by_similarity(swapped)[-1]).abs().max().item()
        print(f"{name:<28}{by_mean:12.6f}{by_similarity:12.6f}")
        assert by_mean < 1e-5  # a plain mean never changes
        assert (by_similarity > 1e-2) == (name != "no positions")


# %%
if __name__ == "__main__":
    with torch.no_grad():
        show(show_the_past_is_a_set)


# %%
def main(
    steps: int = 5000, seed: int = 1337, text: str | None = None, report: Report = quiet, *, n_embd: int = 32
) -> Result:
    """Train the mean of the past again, now with positions."""
    return run_experiment(
        lambda vocab_size: PositionedModel(vocab_size, n_embd, Averaging(), LearnedPositions(8, n_embd)),
        label="mean of the past, with positions",
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
# Every token now carries its place, and nobody asks for it yet. Today's models mostly do it otherwise: they turn the
# queries and keys of section 4 by an angle that grows with the place (RoPE). What two places say to each other then
# depends on where they stand through their distance alone, at every layer and exactly, where the sinusoids give this
# only before the learned matrices.
#
# **Try it**
# 1. Train with `SinusoidalPositions(n_embd)`. *Expect* the same loss within 0.02: a mean does not listen to those
#    either.
# 2. Give `SinusoidalPositions` the base 100 in place of 10,000 and draw it. *Expect* no slow waves any more: even the
#    slowest pair turns once in about 470 places, where it took 35,000. In the picture the channels on the right, nearly
#    constant before, now change from top to bottom.
# 3. Call `LearnedPositions(8, 32)(9)`. *Expect* an error, and think about what a model with a block of 8 should do
#    with a ninth character. (Section 1's `generate` has the answer.)

# %%
if __name__ == "__main__":
    finish(result)
