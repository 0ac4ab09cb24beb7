# %% [markdown]
# # 7. Depth that trains: residual connections
#
# - **New here:** `Block` (talk, think, and each time *add*), and `PlainBlock`, the same without adding, to see what
#   depth does then; `gradient_norms`.
# - **From before:** `run_experiment`, `cross_entropy`, `Result` (1), `LearnedPositions`, `PositionedModel` (3),
#   `BatchedMultiHead` (5), `FeedForward` (6).
# - **In the lecture:** [01:26:48] residual connections.
# - **In the paper:** section 3.1 (the arrows around each sub-layer in figure 1); the idea is from He et al. 2015.
# - **Takes** about 70 seconds on a laptop, half of them for the stack without.
# - **Expect** a validation loss of about 2.09 after 5,000 steps with residual connections, and about 2.3 without.
#
# If one pair of talking and thinking helps, three should help more. Stacked plainly, they do not. The gradient that
# reaches the first layer has been multiplied by every layer above it (the chain rule of section 1), here each time by
# less than 1, and by then there is little of it left; what the tokens *were* has likewise been stirred three times
# before it reaches the logits.
#
# The remedy is a plus sign. **The idea in a sentence:** a layer no longer replaces its input, it adds to it. With
# *sub-layer* for either part of a block, the attention or the feed-forward network:
#
# $$x \leftarrow x + \mathrm{Sublayer}(x)$$
#
# Now there is a road on which nothing is multiplied, from the embeddings to the logits and for the gradient all the
# way back: the *residual stream*, from which every layer reads and to which it adds.
#
# **By hand:** let each of ten layers multiply by 0.1. Plainly stacked, the gradient of the first is $0.1^9 =
# 0.000000001$ of the last one's. With the plus sign each layer is $x + 0.1 x$, and the factor $1.1^9 = 2.36$.


# %%
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, cross_entropy, run_experiment
from course.s03_positions import LearnedPositions, PositionedModel
from course.s05_multi_head import BatchedMultiHead
from course.s06_feed_forward import FeedForward

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "add instead of replace; three blocks"


# %%
class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)  # (B, T, C)
        return x + self.feed_forward(x)  # (B, T, C)


class PlainBlock(Block):
    """The same without residual connections: (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.feed_forward(self.attention(x))  # (B, T, C)


def stack(block: type[Block], n_layer: int, n_embd: int, n_head: int) -> nn.Sequential:
    """Build a body of `n_layer` blocks: (B, T, C) -> (B, T, C)."""
    return nn.Sequential(*(block(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd)) for _ in range(n_layer)))


# %% [markdown]
# ## What reaches the bottom
#
# Twelve blocks, untrained; one batch; one `backward`. How large is the gradient of each block's weights? (Its *norm*,
# the root of its sum of squares; not to be confused with the norms of section 8, which are layers.) Without the plus
# signs it shrinks by a constant factor with each block down: on the logarithmic scale of the picture, a straight line
# into nothing. The lowest blocks are then left as they were drawn, and what they do to the tokens is noise.


# %%
def gradient_norms(
    make_body: Callable[[], nn.Sequential], vocab_size: int = 65, n_embd: int = 32, block_size: int = 8
) -> list[float]:
    """Return the gradient norm of each part of an untrained body, from the lowest up, on a batch of random tokens."""
    torch.manual_seed(0)
    model = PositionedModel(vocab_size, n_embd, make_body(), LearnedPositions(block_size, n_embd))
    idx = torch.randint(vocab_size, (32, block_size + 1))  # (B, T + 1)
    cross_entropy(model(idx[:, :-1]), idx[:, 1:]).backward()
    blocks = model.body.children()
    return [
        torch.cat([p.grad.flatten() for p in block.parameters() if p.grad is not None]).norm().item()
        for block in blocks
    ]


def compare_gradients(n_layer: int = 12, n_embd: int = 32, n_head: int = 4) -> dict[str, list[float]]:
    """Return the gradient norms by depth, with residual connections and without."""
    return {
        "with residual connections": gradient_norms(lambda: stack(Block, n_layer, n_embd, n_head)),
        "without": gradient_norms(lambda: stack(PlainBlock, n_layer, n_embd, n_head)),
    }


def draw_gradients() -> "Figure":
    """Print and draw the gradient norms by depth."""
    norms = compare_gradients()
    print("block   " + "   ".join(f"{name:>25}" for name in norms))
    for depth, row in enumerate(zip(*norms.values()), start=1):
        print(f"{depth:5}   " + "   ".join(f"{norm:25.2e}" for norm in row))
    with_residual, without = norms.values()
    assert max(with_residual) < 30 * min(with_residual)  # every block gets a gradient
    assert without[0] < 1e-4 * without[-1]  # the lowest hardly does
    return draw_by_depth(norms, "gradient norm of the block's weights", "Untrained blocks, one batch")


def draw_by_depth(curves: dict[str, list[float]], ylabel: str, title: str, *, yscale: str = "log") -> "Figure":
    """Draw numbers by depth; marker, line style and colour distinguish the curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    styles: Sequence[tuple[str, str, str]] = (("o", "-", "#00204d"), ("s", "--", "#7c7b78"), ("^", ":", "#b3a369"))
    for (name, numbers), (marker, line, colour) in zip(curves.items(), styles):
        axes.plot(range(1, len(numbers) + 1), numbers, marker=marker, linestyle=line, color=colour, label=name)
    axes.set(xlabel="block, from the tokens up", ylabel=ylabel, title=title, yscale=yscale)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    show(draw_gradients)


# %%
def main(
    steps: int = 5000,
    seed: int = 1337,
    text: str | None = None,
    report: Report = quiet,
    *,
    n_embd: int = 32,
    n_head: int = 4,
    n_layer: int = 3,
) -> Result:
    """Train three blocks without residual connections, then with them, as later sections do."""

    def train_stack(block: type[Block], label: str) -> Result:
        return run_experiment(
            lambda vocab_size: PositionedModel(
                vocab_size, n_embd, stack(block, n_layer, n_embd, n_head), LearnedPositions(8, n_embd)
            ),
            label=label,
            steps=steps,
            seed=seed,
            text=text,
            report=report,
        )

    plain = train_stack(PlainBlock, f"{n_layer} blocks, no residual")
    return replace(train_stack(Block, f"{n_layer} blocks, residual"), others=(plain,))


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## What we have
#
# Same weights, same number of operations, two plus signs: the plain stack of three is *worse* than the single pair of
# section 6 (about 2.29 against 2.20), and the one with residual connections gains more than 0.1, the largest step
# since several heads. More of the sample's words are real words.
#
# The picture of the stream has lasted: you will read of attention heads that *write to* it, of directions in it that
# mean something, and of models edited by adding to it. What it has not got is a fixed size: every layer adds its
# share, and nothing brings the sum back, so that what a layer reads may grow with depth. The next section sees to
# what the layers *read*.
#
# **Try it**
# 1. Train with `n_layer=1` and `n_layer=6`. *Expect* about 2.16, already below section 6, and a gain beyond three
#    that shrinks.
# 2. Multiply what is added by 0.1. *Expect* a slower start and much the same end.
# 3. Keep the plus around attention and take it from the feed-forward network. *Expect* about 2.14, between the two:
#    half a road is better than none.

# %%
if __name__ == "__main__":
    finish(result)
