# %% [markdown]
# # 8. One size for what each layer reads: layer normalisation
#
# - **New here:** `LayerNorm`, `PostNormBlock` (the paper: normalise after adding) and `PreNormBlock` (GPT-2, the
#   lecture: normalise what each sub-layer reads), which goes on.
# - **From before:** `run_experiment`, `Result` (1), `LearnedPositions`, `PositionedModel` (3), `BatchedMultiHead`
#   (5), `FeedForward` (6), `Block`, `stack`, `gradient_norms`, `draw_by_depth` (7).
# - **In the lecture:** [01:32:51] layernorm.
# - **In the paper:** section 3.1, LayerNorm(x + Sublayer(x)); Ba et al. 2016; for the change of place, Radford et
#   al. 2019 (GPT-2) and Xiong et al. 2020.
# - **Takes** about 80 seconds on a laptop, for two models.
# - **Expect** a validation loss of about 2.07 for both after 5,000 steps.
#
# Every block adds to the residual stream, so its size changes from block to block, and a layer that must serve inputs
# of many sizes has a harder task.
#
# **The idea in a sentence:** bring what each layer reads to one size. For each token by itself, over its C channels,
# subtract the mean and divide by the standard deviation; then give it back the freedom to be otherwise, by a gain $g$
# and a shift $b$ per channel, both learned.
#
# $$\mathrm{LayerNorm}(x) = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \cdot g + b$$
#
# $\mu$ is the mean of the C numbers and $\sigma^2$ their variance, the mean of the squared deviations; $\epsilon$,
# 0.00001, keeps a vector of equal numbers from being divided by 0.
#
# **By hand:** $x = (1, 2, 6)$ has the mean 3, the deviations $(-2, -1, 3)$, the variance $(4 + 1 + 9) / 3 = 4.667$
# and the standard deviation 2.160. Normalised: $(-0.926, -0.463, 1.389)$. Ten times $x$ gives the same.


# %%
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, run_experiment
from course.s03_positions import LearnedPositions, PositionedModel
from course.s05_multi_head import BatchedMultiHead
from course.s06_feed_forward import FeedForward
from course.s07_residual import Block, draw_by_depth, gradient_norms, stack

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "normalise what each layer reads"


# %%
class LayerNorm(nn.Module):
    """Mean 0 and variance 1 at each position, then gain and shift per channel: (..., C) -> (..., C)."""

    def __init__(self, n_embd: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        deviation = x - x.mean(dim=-1, keepdim=True)  # (..., C)
        variance = (deviation * deviation).mean(dim=-1, keepdim=True)  # (..., 1)
        return deviation * torch.rsqrt(variance + self.epsilon) * self.weight + self.bias  # (..., C)


@torch.no_grad()
def show_layer_norm(n_embd: int = 13) -> None:
    """Check the numbers above, that torch's layer agrees, and that each token is normalised by itself."""
    ours = LayerNorm(3)(torch.tensor([[1.0, 2.0, 6.0], [10.0, 20.0, 60.0]]))  # (2, C)
    assert torch.allclose(ours, torch.tensor([-0.926, -0.463, 1.389]).expand(2, 3), atol=1e-3)
    print("(1, 2, 6) and (10, 20, 60) both become", " ".join(f"{number:.3f}" for number in ours[0].tolist()))

    torch.manual_seed(0)
    x = 5 + 3 * torch.randn(2, 7, n_embd)
    norm, theirs = LayerNorm(n_embd), nn.LayerNorm(n_embd)
    norm.weight.uniform_(0.5, 2.0)
    norm.bias.uniform_(-1.0, 1.0)
    theirs.load_state_dict(norm.state_dict())
    difference = (norm(x) - theirs(x)).abs().max().item()
    assert difference < 1e-5
    print(f"the same as torch.nn.LayerNorm: largest difference {difference:.1e}")
    assert torch.allclose(norm(x)[1, 3], norm(x[1, 3]), atol=1e-6)  # no other token has an effect


# %%
if __name__ == "__main__":
    show(show_layer_norm)

# %% [markdown]
# ## After or before?
#
# The paper normalises *after* adding: `norm(x + sublayer(x))`. Whatever leaves a block has size 1, but the free road
# of section 7 now leads through a normalisation at every step. GPT-2 moved it: `x + sublayer(norm(x))`. Each
# sub-layer reads a normalised copy, and the stream itself is left alone from end to end; it may grow, so one last
# norm stands before the logits. In this form deep models train even without *warm-up*, the slow rise of the learning
# rate at the beginning that the paper needed; most still have a short one.


# %%
class PostNormBlock(Block):
    """Add, then normalise, as in the paper: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, n_embd: int) -> None:
        super().__init__(attention, feed_forward)
        self.norm_attention = LayerNorm(n_embd)
        self.norm_feed_forward = LayerNorm(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_attention(x + self.attention(x))  # (B, T, C)
        return self.norm_feed_forward(x + self.feed_forward(x))  # (B, T, C)


class PreNormBlock(PostNormBlock):
    """Each part reads a normalised copy of the stream and adds to it, as in GPT-2: (B, T, C) -> (B, T, C)."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))  # (B, T, C)
        return x + self.feed_forward(self.norm_feed_forward(x))  # (B, T, C)


def stack_with_norms(block: type[PostNormBlock], n_layer: int, n_embd: int, n_head: int) -> nn.Sequential:
    """Build a body of `n_layer` blocks, with a last norm after pre-norm blocks: (B, T, C) -> (B, T, C)."""
    blocks = [block(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd), n_embd) for _ in range(n_layer)]
    return nn.Sequential(*blocks, *([LayerNorm(n_embd)] if block is PreNormBlock else []))


# %%
@torch.no_grad()
def stream_sizes(body: nn.Sequential, n_embd: int, block_size: int = 8) -> list[float]:
    """Return the root mean square of the stream after each block, for random embeddings."""
    x, sizes = torch.randn(32, block_size, n_embd), []  # (B, T, C)
    for block in body:
        x = block(x)  # (B, T, C)
        if isinstance(block, Block):
            sizes.append(x.square().mean().sqrt().item())
    return sizes


def show_depth(n_layer: int = 12, n_embd: int = 32, n_head: int = 4) -> "Figure":
    """Print and draw the size of the stream and of the gradients by depth: no norm, post-norm, pre-norm."""

    def build_bodies() -> dict[str, nn.Sequential]:
        torch.manual_seed(0)
        return {
            "no norm": stack(Block, n_layer, n_embd, n_head),
            "post-norm": stack_with_norms(PostNormBlock, n_layer, n_embd, n_head),
            "pre-norm": stack_with_norms(PreNormBlock, n_layer, n_embd, n_head),
        }

    sizes = {name: stream_sizes(body, n_embd) for name, body in build_bodies().items()}
    norms = {name: gradient_norms(lambda name=name: build_bodies()[name])[:n_layer] for name in sizes}  # type: ignore[misc]
    print("              size of the stream after     gradient norm of")
    print(f"              block 1     block {n_layer}     block 1     block {n_layer}")
    for name in sizes:
        print(f"{name:<12}{sizes[name][0]:9.2f}{sizes[name][-1]:13.2f}{norms[name][0]:12.3f}{norms[name][-1]:13.3f}")
    assert all(abs(size - 1) < 0.01 for size in sizes["post-norm"])
    assert sizes["pre-norm"][-1] > sizes["pre-norm"][0]  # it grows; the last norm undoes that
    return draw_by_depth(
        sizes, "size of the stream (root mean square)", "Untrained blocks: the output of each", yscale="linear"
    )


# %%
if __name__ == "__main__":
    show(show_depth)


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
    """Train three post-norm blocks, then three pre-norm blocks, as later sections use."""

    def train_stack(block: type[PostNormBlock], label: str) -> Result:
        return run_experiment(
            lambda vocab_size: PositionedModel(
                vocab_size, n_embd, stack_with_norms(block, n_layer, n_embd, n_head), LearnedPositions(8, n_embd)
            ),
            label=label,
            steps=steps,
            seed=seed,
            text=text,
            report=report,
        )

    post = train_stack(PostNormBlock, "post-norm (paper)")
    return replace(train_stack(PreNormBlock, "pre-norm (GPT-2)"), others=(post,))


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## What we have
#
# At three blocks the two places of the norm end within a hundredth or two of each other, a little below what
# section 7 reached without one. The norm earns its keep with depth: it is what lets models of dozens of blocks
# train by a plain recipe.
#
# Today's models keep the GPT-2 place and mostly drop the mean, the shift, or both (RMSNorm): dividing by the size
# is what matters.
#
# **Try it**
# 1. Leave out the subtraction of the mean. *Expect* no difference that you can tell from chance.
# 2. Train both with `n_layer=12` for 1,500 steps. *Expect* 2.15 to 2.16 for both, a difference that another seed can
#    turn round: at this width even twelve post-norm blocks train. The trouble begins with wider and deeper ones.
# 3. Take the last norm away from the pre-norm stack. *Expect* about 2.09, hardly better than section 7: `lm_head`
#    reads the stream too, and the stream alone was left to grow.

# %%
if __name__ == "__main__":
    finish(result)
