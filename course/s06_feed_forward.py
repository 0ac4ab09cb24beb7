# %% [markdown]
# # 6. Think after talking: the feed-forward network
#
# - **New here:** `FeedForward`, the position-wise network.
# - **From before:** `run_experiment`, `Result` (1), `LearnedPositions`, `PositionedModel` (3), `BatchedMultiHead`
#   (5).
# - **In the lecture:** [01:24:25] feed-forward layers.
# - **In the paper:** section 3.3, equation 2.
# - **Takes** about 25 seconds on a laptop.
# - **Expect** a validation loss of about 2.19 after 5,000 steps.
#
# Attention moves information between places, but it computes little with it: what a head hears is a weighted *sum*,
# and straight from there the logits are read off. Nobody has had time to think. So each place gets a small network
# (the same one for all places) to work on what it heard.
#
# **The idea in a sentence:** after listening, let each place compute on its own.
#
# $$\mathrm{FFN}(x) = \max(0,\, x W_1 + b_1)\, W_2 + b_2$$
#
# It widens C channels to 4 C, bends them with *ReLU* (negative numbers become 0), and narrows them again. Without
# the bend, two linear layers in a row would be no more than one.
#
# **By hand:** no linear layer computes $|x|$: it would have to turn round at 0. Two bent channels can. Let $W_1 =
# (1, -1)$ and $W_2 = (1, 1)$, no biases. For $x = 3$: $(3, -3)$, bent $(3, 0)$, sum 3. For $x = -2$: $(-2, 2)$,
# bent $(0, 2)$, sum 2.


# %%
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, run_experiment
from course.s03_positions import LearnedPositions, PositionedModel
from course.s05_multi_head import BatchedMultiHead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "a network at each position"


# %%
class FeedForward(nn.Module):
    """Linear layer to 4 C, ReLU, linear layer back, at each position by itself: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.expand = nn.Linear(n_embd, 4 * n_embd)
        self.contract = nn.Linear(4 * n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(x).relu()  # (B, T, 4 C)
        return self.contract(hidden)  # (B, T, C)


# %% [markdown]
# The example by hand as a picture: each bent channel is flat on one side of 0 and rises on the other, and so their sum
# can turn round.


# %%
def draw_two_relus() -> "Figure":
    """Draw relu(x), relu(-x) and their sum, which is |x|."""
    from matplotlib.figure import Figure

    x = torch.linspace(-3, 3, 25)
    right, left = x.relu(), (-x).relu()
    assert torch.equal(right + left, x.abs())
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(x, right, color="#00204d", marker="o", markevery=4, label="relu(x)")
    axes.plot(x, left, color="#7c7b78", marker="s", markevery=4, linestyle="--", label="relu(-x)")
    axes.plot(x, right + left, color="#b3a369", linewidth=9, alpha=0.6, zorder=1, label="their sum, |x|")
    axes.set(xlabel="x", ylabel="output", title="Two ReLUs add up to |x|, which no linear layer can compute")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    show(draw_two_relus)

# %% [markdown]
# ## Each place for itself
#
# *Position-wise* means: the places do not see each other here. Change the vector at one place, and only that
# place's output changes; shuffle the places, and the outputs are shuffled alike. All talking is done by attention.
#
# Most of a model's weights are in these networks: $8 C^2 + 5 C$, against $4 C^2 + C$ for the attention before them.
# If a model knows that Paris is in France, experiments suggest that it is mostly here that it does (Meng et al. 2022).


# %%
@torch.no_grad()
def show_position_wise(length: int = 7, n_embd: int = 12) -> None:
    """Check the absolute value by hand, that positions are independent, and the parameter counts."""
    absolute = FeedForward(1)
    for parameter, numbers in zip(
        absolute.parameters(), ([[1.0], [-1.0], [0.0], [0.0]], [0.0] * 4, [[1.0, 1.0, 0.0, 0.0]], [0.0])
    ):
        parameter.copy_(torch.tensor(numbers))
    points = torch.tensor([3.0, -2.0])
    assert torch.equal(absolute(points[None, :, None]).flatten(), points.abs())
    print("two ReLU channels compute |x|: 3 -> 3, -2 -> 2")

    torch.manual_seed(0)
    network, x = FeedForward(n_embd), torch.randn(1, length, n_embd)
    out = network(x)  # (1, T, C)
    for changed in range(length):
        other = x.clone()
        other[0, changed] += 1.0
        moved = (network(other) - out)[0].abs().amax(-1) > 1e-6  # (T,)
        assert moved.tolist() == [t == changed for t in range(length)]
    order = torch.randperm(length)
    assert torch.allclose(network(x[:, order]), out[:, order], atol=1e-6)
    print("a change at one position changes only its own output; shuffled positions give shuffled outputs")

    counts = [sum(p.numel() for p in part.parameters()) for part in (BatchedMultiHead(32, 4), FeedForward(32))]
    assert counts == [4 * 32**2 + 32, 8 * 32**2 + 5 * 32]
    print(f"parameters at C = 32: attention {counts[0]:,}, feed-forward {counts[1]:,}")


# %%
if __name__ == "__main__":
    show(show_position_wise)


# %%
def main(
    steps: int = 5000,
    seed: int = 1337,
    text: str | None = None,
    report: Report = quiet,
    *,
    n_embd: int = 32,
    n_head: int = 4,
) -> Result:
    """Train four heads followed by the feed-forward network."""
    return run_experiment(
        lambda vocab_size: PositionedModel(
            vocab_size,
            n_embd,
            nn.Sequential(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd)),
            LearnedPositions(8, n_embd),
        ),
        label="heads, then feed-forward",
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
# Talk, then think: this pair is the unit of which every Transformer is built. Today's models differ in the bend
# (GELU in GPT-2; SwiGLU, which lets one half of the hidden channels gate the other, in most since), hardly in the
# idea.
#
# **Try it**
# 1. Remove `.relu()`. *Expect* the loss of section 5 again, about 2.28: two linear layers in a row are one.
# 2. Make it 1× and 16× wide. *Expect* less gain, and a little more; 4× is a habit that has held up.
# 3. Put a second pair of heads and network after the first. *Expect* about 2.22: nothing gained (seeds alone move it by
#    0.03). The next section says why.

# %%
if __name__ == "__main__":
    finish(result)
