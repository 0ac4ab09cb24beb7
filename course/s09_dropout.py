# %% [markdown]
# # 9. Memorization, and what helps against it: dropout
#
# - **New here:** `Dropout`, and the two parts of a block that use it, `DropoutMultiHead` and `DropoutFeedForward`;
#   a model of middle size.
# - **From before:** `run_experiment`, `Result`, `Setting` (1), `LearnedPositions`, `PositionedModel` (3),
#   `BatchedMultiHead` (5), `FeedForward` (6), `LayerNorm`, `PreNormBlock` (8).
# - **In the lecture:** [01:37:49] scaling up, dropout.
# - **In the paper:** section 5.4; Srivastava et al. 2014.
# - **Takes** about two minutes on a laptop.
# - **Expect** a validation loss of about 2.00 after 1,500 steps on the whole text; and on 10,000 characters one that
#   turns around near 2.3 without dropout, and does not with it.
#
# So far training and validation losses have stayed close: a toy model cannot remember a million characters. Enlarge
# the model, or shrink the text, and it can: it sees the same text again and again and begins to memorize it.
# The training loss goes on falling, the validation loss turns around and *rises*. That is overfitting, and it is
# the reason for the validation part.
#
# **The idea in a sentence:** leave numbers out at random while training, so that none is relied on. In each training
# step, each number *that passes through* (not a weight) is set to zero with probability $p$, and no channel can count
# on any particular other one being there: that makes memorizing hard. What remains is multiplied by $1/(1-p)$:
# the mean stays what it was, and so nothing has to be changed when dropout is off, in evaluation and in use.
#
# **By hand:** $x = (1, 2, 3, 4)$, $p = 1/2$. If the first and the third are kept, $(2, 0, 6, 0)$ comes out; if the
# other two, $(0, 4, 0, 8)$. The mean of the two is $x$.


# %%
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, Setting, run_experiment
from course.s03_positions import LearnedPositions, PositionedModel
from course.s05_multi_head import BatchedMultiHead
from course.s06_feed_forward import FeedForward
from course.s08_layer_norm import LayerNorm, PreNormBlock
from nanogpt.text.corpus import load_corpus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "dropout, and a larger model"


# %%
class Dropout(nn.Module):
    """In training, each number becomes 0 with probability p, else 1 / (1 - p) times itself; any shape."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout {p} is not a probability below 1; give a number from 0 up to, not including, 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand_like(x) >= self.p  # the shape of x
        return x * kept / (1 - self.p)


def show_dropout(p: float = 0.2, count: int = 100_000) -> None:
    """Compare the share of zeros, the mean and the scale with torch's dropout; in evaluation, nothing changes."""
    torch.manual_seed(0)
    ours, theirs, x = Dropout(p), nn.Dropout(p), torch.ones(count)
    for name, module in (("ours", ours), ("torch's", theirs)):
        out = module(x)  # (count,)
        zeros = (out == 0).float().mean().item()
        print(f"{name:<8} of {count:,} ones {zeros:.1%} became 0, the others {out.max():.2f}; mean {out.mean():.3f}")
        assert abs(zeros - p) < 0.01
        assert torch.allclose(out[out != 0], torch.tensor(1 / (1 - p)))
        assert abs(out.mean().item() - 1) < 0.01
    assert torch.equal(ours.eval()(x), x)
    print("in evaluation, the output is the input")


# %%
if __name__ == "__main__":
    show(show_dropout)

# %% [markdown]
# ## Where it goes
#
# As in the lecture: on the attention weights (a place now and then does not hear a token it listens to), and on
# what each part adds to the stream. Both parts are those of sections 5 and 6 with one thing overridden.
#
# Before measuring or writing, call `model.eval()`: it sets `training` to false in every part. `evaluate` and
# `generate` of section 1 do so, and `train` calls `model.train()` again at each step.


# %%
class DropoutMultiHead(BatchedMultiHead):
    """Several heads with dropout on their weights and their output: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__(n_embd, n_head)
        self.dropout = Dropout(dropout)

    def weights(self, x: Tensor) -> Tensor:
        return self.dropout(super().weights(x))  # (B, H, T, T)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(super().forward(x))  # (B, T, C)


class DropoutFeedForward(FeedForward):
    """The network of section 6 with dropout on its output: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, dropout: float) -> None:
        super().__init__(n_embd)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(super().forward(x))  # (B, T, C)


def medium_model(
    vocab_size: int, dropout: float, *, block_size: int = 32, n_layer: int = 3, n_head: int = 4, n_embd: int = 64
) -> PositionedModel:
    """Build a model with dropout, twice the width and four times the context of the toy: (B, T) -> (B, T, V)."""
    blocks = [
        PreNormBlock(DropoutMultiHead(n_embd, n_head, dropout), DropoutFeedForward(n_embd, dropout), n_embd)
        for _ in range(n_layer)
    ]
    body = nn.Sequential(*blocks, LayerNorm(n_embd))
    return PositionedModel(vocab_size, n_embd, body, LearnedPositions(block_size, n_embd))


def medium_setting() -> Setting:
    """Return the setting of the medium model: longer sequences, smaller batches, a higher learning rate."""
    return Setting(batch_size=16, block_size=32, learning_rate=3e-3)


# %% [markdown]
# ## Overfitting, seen
#
# Take the first 10,000 characters alone: 9,000 to train on, which a thousand steps show to the model more than
# fifty times over. Its 160,000 weights are plenty to keep them. Train without dropout, and with a fifth left out.


# %%
def overfit(
    steps: int = 1000, seed: int = 1337, text: str | None = None, report: Report = quiet, *, characters: int = 10_000
) -> Result:
    """Train on the beginning of the text only, without dropout and then with it, evaluating ten times."""

    def train_on_excerpt(dropout: float) -> Result:
        return run_experiment(
            lambda vocab_size: medium_model(vocab_size, dropout),
            label=f"{characters:,} characters, dropout {dropout}",
            steps=steps,
            seed=seed,
            text=(load_corpus().text if text is None else text)[:characters],
            report=report,
            setting=medium_setting(),
            evaluate_every=max(1, steps // 10),
        )

    without = train_on_excerpt(0.0)
    return replace(train_on_excerpt(0.2), others=(without,))


def draw_overfitting(pair: Result) -> "Figure":
    """Draw training and validation losses by step, without dropout and with it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for one, colour, marker in ((pair.others[0], "#7c7b78", "s"), (pair, "#00204d", "o")):
        steps, train, val = zip(*one.curve)
        name = one.label.partition(", ")[2]
        axes.plot(steps, val, color=colour, marker=marker, label=f"validation, {name}")
        axes.plot(steps, train, color=colour, marker=marker, linestyle=":", fillstyle="none", label=f"training, {name}")
        best = min(one.curve, key=lambda losses: losses.val)
        print(
            f"{name}: validation best at step {best.step:,} with {best.val:.2f}, "
            f"at the end {one.after.val:.2f}; training at the end {one.after.train:.2f}"
        )
    axes.set(
        xlabel="step",
        ylabel="loss (nats per character)",
        title="Little text: training loss (dotted) and validation loss",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    pair = run(overfit)

# %%
if __name__ == "__main__":
    show(draw_overfitting, pair)

# %% [markdown]
# ## On the whole text
#
# The same model on all of it. In 1,500 steps it reads three quarters of a million characters: not every one even
# once. Nothing can be memorized at that pace, so here a little dropout is a price without a return; it is
# left in to have the whole of section 10 in small. The larger the model and the longer the training, the more it
# pays.


# %%
def main(
    steps: int = 1500, seed: int = 1337, text: str | None = None, report: Report = quiet, *, dropout: float = 0.1
) -> Result:
    """Train the medium model on the whole text."""
    return run_experiment(
        lambda vocab_size: medium_model(vocab_size, dropout),
        label="middle model",
        steps=steps,
        seed=seed,
        text=text,
        report=report,
        setting=medium_setting(),
        evaluate_every=max(1, steps // 4),
    )


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## What we have
#
# A cure for memorization, at the price of learning more slowly. Better cures are more text, and stopping when
# the validation loss turns: the largest models of today mostly read a text once or a few times, without dropout.
#
# **Try it**
# 1. `main(dropout=0.0)` and `main(dropout=0.4)`. *Expect* a little better, and clearly worse.
# 2. `overfit(characters=2_000)` and `overfit(characters=100_000)`. *Expect* the turn to come earlier and to be
#    steeper, and not to come at all.
# 3. Leave out the division by `1 - p`. *Expect* training to go nearly as before, and the validation loss to suffer:
#    in evaluation everything is suddenly larger than the next layer is used to.

# %%
if __name__ == "__main__":
    finish(result)
