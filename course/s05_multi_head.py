# %% [markdown]
# # 5. Several conversations at once: multi-head attention
#
# - **New here:** `MultiHead` (heads of section 4 in a list) and `BatchedMultiHead`, the same in fewer and larger
#   products, which all later sections use.
# - **From before:** `run_experiment`, `evaluate`, `Result` (1), `causal_mask` (2), `LearnedPositions`,
#   `PositionedModel` (3), `Head`, `attention_weights`, `draw_matrices` (4).
# - **In the lecture:** [01:21:59] several heads, [01:46:22] the batched form.
# - **In the paper:** section 3.2.2.
# - **Takes** about 20 seconds on a laptop.
# - **Expect** a validation loss of about 2.27 after 5,000 steps.
#
# A head's weights sum to 1: what it gives to one token it takes from the others. To hear the last vowel *and*
# whether a line has just begun, it would have to listen half to each, and would hear a blend of both. So let there
# be several heads, each narrower: H of them of size D = C / H, for the same price as one of size C. Each asks
# its own question; what they hear is put side by side, and one more linear layer, the *projection*, mixes it.
#
# **The idea in a sentence:** several narrow heads, so that one place can listen to several others for different
# reasons.
#
# $$\mathrm{MultiHead}(x) = \mathrm{Concat}(\mathrm{head}_1, \ldots, \mathrm{head}_H)\, W^O$$
#
# **By hand:** two tokens have the values 0 and 10. One head wants their mean, another only the second. Two heads
# say $(5, 10)$, and whoever reads that knows both. One head with the weights in between, $(1/4, 3/4)$, says $7.5$,
# and from that neither can be had back.


# %%
import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, evaluate, run_experiment
from course.s02_averaging import causal_mask
from course.s03_positions import LearnedPositions, PositionedModel
from course.s04_self_attention import Head, attention_weights, draw_matrices, example_sequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "several heads in parallel"


# %%
class MultiHead(nn.Module):
    """Heads in parallel, concatenated and projected: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(n_embd, n_embd // n_head) for _ in range(n_head))
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.cat([head(x) for head in self.heads], dim=-1)  # H times (B, T, D) -> (B, T, C)
        return self.proj(out)  # (B, T, C)


# %% [markdown]
# ## The same, batched
#
# A loop over heads is clear and wasteful: H small products where one large one would do, and computers like large
# ones. The queries of all heads are one linear layer of C to C, whose output is *regarded* as H pieces of D; then H
# becomes a dimension beside the batch, and `attention_weights`, which only looks at the last two dimensions, works
# as it is.


# %%
class BatchedMultiHead(nn.Module):
    """All heads with one product each for q, k and v: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"{n_embd} channels cannot be divided among {n_head} heads; choose a multiple of {n_head}")
        self.n_head = n_head
        self.query = nn.Linear(n_embd, n_embd, bias=False)
        self.key = nn.Linear(n_embd, n_embd, bias=False)
        self.value = nn.Linear(n_embd, n_embd, bias=False)
        self.proj = nn.Linear(n_embd, n_embd)

    def split_heads(self, x: Tensor) -> Tensor:
        """Split the channels into heads: (B, T, C) -> (B, H, T, D)."""
        return x.unflatten(-1, (self.n_head, -1)).transpose(1, 2)  # (B, T, H, D) -> (B, H, T, D)

    def weights(self, x: Tensor) -> Tensor:
        """Return the attention weights of all heads: (B, T, C) -> (B, H, T, T)."""
        return attention_weights(self.split_heads(self.query(x)), self.split_heads(self.key(x)))

    def forward(self, x: Tensor) -> Tensor:
        out = self.weights(x) @ self.split_heads(self.value(x))  # (B, H, T, T) @ (B, H, T, D) -> (B, H, T, D)
        return self.proj(out.transpose(1, 2).flatten(2))  # (B, T, H, D) -> (B, T, C)


# %%
@torch.no_grad()
def batch_heads(looped: MultiHead) -> BatchedMultiHead:
    """Convert a list of heads to the batched form by stacking their matrices."""
    batched = BatchedMultiHead(looped.proj.in_features, len(looped.heads))
    for name in ("query", "key", "value"):
        matrices = [head.get_parameter(f"{name}.weight").data for head in looped.heads]  # H times (D, C)
        batched.get_parameter(f"{name}.weight").copy_(torch.cat(matrices))  # (C, C)
    batched.proj.load_state_dict(looped.proj.state_dict())
    return batched


@torch.no_grad()
def as_torch_attention(batched: BatchedMultiHead) -> nn.MultiheadAttention:
    """Convert to torch's own module, which keeps q, k and v in one matrix and has biases for them, here zero."""
    n_embd = batched.proj.in_features
    theirs = nn.MultiheadAttention(n_embd, batched.n_head, batch_first=True)
    theirs.in_proj_weight.copy_(torch.cat([batched.query.weight, batched.key.weight, batched.value.weight]))  # (3 C, C)
    theirs.in_proj_bias.zero_()
    theirs.out_proj.load_state_dict(batched.proj.state_dict())
    return theirs


@torch.no_grad()
def show_three_forms(batch_size: int = 3, length: int = 7, n_embd: int = 20, n_head: int = 5) -> None:
    """Check that the list of heads, the batched form and `torch.nn.MultiheadAttention` agree."""
    torch.manual_seed(0)
    x = torch.randn(batch_size, length, n_embd)
    looped = MultiHead(n_embd, n_head)
    batched = batch_heads(looped)
    theirs = as_torch_attention(batched)
    ours = looped(x)  # (B, T, C)
    others = {"batched": batched(x), "torch's": theirs(x, x, x, attn_mask=~causal_mask(length))[0]}
    for name, out in others.items():
        difference = (out - ours).abs().max().item()
        print(f"{n_head} heads in a list and {name}: largest difference {difference:.1e}")
        assert difference < 1e-5


# %%
if __name__ == "__main__":
    show(show_three_forms)


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
    """Train four heads of size 8 where section 4 had one of size 32."""
    return run_experiment(
        lambda vocab_size: PositionedModel(
            vocab_size, n_embd, BatchedMultiHead(n_embd, n_head), LearnedPositions(8, n_embd)
        ),
        label=f"{n_head} heads",
        steps=steps,
        seed=seed,
        text=text,
        report=report,
    )


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## Has each head learned something different?
#
# Nobody told them to differ. They start from different random numbers, and where one already serves, another gains
# nothing by doing the same. Look at the trained heads on the same eight characters.


# %%
@torch.no_grad()
def draw_heads(result: Result) -> "Figure":
    """Draw what each trained head attends to in the same sequence."""
    idx = example_sequence(result)  # (1, T)
    model = result.model
    weights = model.body.weights(model.embed(idx))[0]  # (H, T, T)
    characters = list(result.tokenizer.decode(idx[0].tolist()))
    return draw_matrices(weights, characters, [f"head {h + 1}" for h in range(len(weights))])


# %%
if __name__ == "__main__":
    show(draw_heads, result)

# %% [markdown]
# Pictures of one piece of text can deceive. So three numbers for each head, over many pieces: how far back it looks,
# in the mean; the *entropy* of its weights, $-\sum w \ln w$, which is 0 for a head that picks one token and $\ln t$
# for one that listens to $t$ tokens alike; and the only question that counts in the end, what the loss becomes when
# the head is switched off. A head that listened to everybody alike would have, in the mean over the eight places, an
# entropy of 1.33, and look back by 1.75.


# %%
def switch_off_head(model: nn.Module, head: int) -> nn.Module:
    """Return a copy of the model in which a head's rows of the value matrix are zero."""
    copied = copy.deepcopy(model)
    attention: Any = copied.get_submodule("body")
    D = attention.proj.in_features // attention.n_head
    with torch.no_grad():
        attention.value.weight[head * D : (head + 1) * D] = 0.0
    return copied


@torch.no_grad()
def measure_heads(result: Result, block_size: int = 8, count: int = 1024) -> dict[str, list[float]]:
    """Return each head's mean distance back, mean entropy, loss without it, and difference from the nearest head.

    The difference of two heads is the share of a row's weight that would have to move to turn one row into the other,
    averaged over all rows of `count` sequences.
    """
    model, data = result.model, result.validation
    count = min(count, len(data) // block_size)
    sequences = data[: count * block_size].view(count, block_size)  # (N, T)
    weights = model.body.weights(model.embed(sequences))  # (N, H, T, T)
    positions = torch.arange(block_size)
    back = (positions[:, None] - positions).clamp(min=0)  # (T, T): the distance back to each position
    heads = range(weights.shape[1])
    differences = [
        min([(weights[:, h] - weights[:, o]).abs().sum(-1).mean().item() / 2 for o in heads if o != h], default=0.0)
        for h in heads
    ]
    return {
        "distance": (weights * back).sum(-1).mean((0, 2)).tolist(),  # (N, H, T) -> (H,)
        "entropy": torch.special.entr(weights).sum(-1).mean((0, 2)).tolist(),  # entr is -w ln w, and 0 for w = 0
        "loss": [evaluate(switch_off_head(model, h), data, block_size) for h in heads],
        "difference": differences,
    }


def compare_heads(result: Result) -> None:
    """Print the measures of each head."""
    measured = measure_heads(result)
    print(f"loss with all heads: {result.after.val:.4f}")
    print("head   looks back by   entropy   loss without it   differs from the most similar other by")
    for h, (distance, entropy, loss, difference) in enumerate(zip(*measured.values()), start=1):
        print(f"{h:4}   {distance:13.2f}   {entropy:7.2f}   {loss:15.4f}   {difference:.0%} of its weight")


# %%
if __name__ == "__main__":
    show(compare_heads, result)

# %% [markdown]
# ## What we have
#
# The same number of weights as one wide head (the projection aside), better used. In today's models heads are
# what costs most memory while writing, because the keys and values of all past tokens must be kept for each; so
# several heads share theirs (grouped queries).
#
# **Try it**
# 1. Train 1, 2, 8 and 16 heads. *Expect* 2.40, 2.31, 2.25 and 2.25, where 4 gave 2.27: the first steps gain most,
#    and heads of size 2 can hardly ask a question.
# 2. Take the projection out of `BatchedMultiHead.forward`. *Expect* hardly a change here, where `lm_head` can mix
#    the heads just as well; from section 7 on, where the next layer's input is a sum, it is needed.
# 3. Switch off two heads at once. *Expect* a loss that need not be the sum of the two losses: heads cover for each
#    other.

# %%
if __name__ == "__main__":
    finish(result)
