# %% [markdown]
# # 4. Choosing whom to listen to: self-attention
#
# - **New here:** `attention_weights` and `Head`, one head of causal scaled dot-product self-attention;
#   `draw_matrices`.
# - **From before:** `run_experiment`, `generate`, `Result`, `character_label` (1), `causal_mask`, `mean_by_softmax`,
#   `draw_weights` (2), `LearnedPositions`, `PositionedModel` (3).
# - **In the lecture:** [01:02:00] self-attention, [01:11:38] to [01:16:56] six notes on it, [01:19:11] putting it
#   into the network.
# - **In the paper:** section 3.2.1, equation 1; section 4 and table 1 for cost and path length.
# - **Takes** about 20 seconds on a laptop.
# - **Expect** a validation loss of about 2.40 after 5,000 steps: the first model that beats the table of pairs.
#
# The mean listens to everyone alike. But a vowel wants to know the consonant before it, and the end of a word how
# the word began: the weights should depend on who asks and who is there.
#
# **The idea in a sentence:** let each token choose, by its query and the others' keys, whom to take a value from.
#
# For that every token does three things, each by its own linear layer:
#
# - ask a question, the **query** $q$: "what am I looking for?"
# - put up a sign, the **key** $k$: "what am I?"
# - have something to say, the **value** $v$: "what you get if you listen to me".
#
# The score of a pair is the product of question and sign. From there all is as in section 2: mask, softmax,
# weighted sum.
#
# $$\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}} + \mathrm{mask}\right) V$$
#
# Row $t$ of $Q$, $K$ and $V$ is the query, key and value of place $t$; $d_k$, D in the code, is their length, the
# *head size*; the mask is 0 where $s \le t$ and $-\infty$ elsewhere. For one place it says $y_t = \sum_{s \le t}
# w_{ts} v_s$, where the weights $w_{ts}$ are the softmax, over $s$, of $q_t \cdot k_s / \sqrt{d_k}$.
#
# In the code, `@` multiplies the last two dimensions and takes those before them as a batch; `transpose(-2, -1)`
# swaps the last two, whatever stands before them.


# %%
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import Result, character_label, generate, run_experiment
from course.s02_averaging import causal_mask, draw_weights, mean_by_softmax
from course.s03_positions import LearnedPositions, PositionedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "one head of self-attention"


# %%
def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """Return how much each position attends to itself and those before it: (..., T, D) twice -> (..., T, T)."""
    T, D = q.shape[-2:]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)  # (..., T, D) @ (..., D, T) -> (..., T, T)
    scores = scores.masked_fill(~causal_mask(T, q.device), -torch.inf)  # (..., T, T)
    return scores.softmax(dim=-1)  # (..., T, T), each row sums to 1


class Head(nn.Module):
    """One head of causal self-attention: (B, T, C) -> (B, T, D)."""

    def __init__(self, n_embd: int, head_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """Return the attention weights: (B, T, C) -> (B, T, T)."""
        return attention_weights(self.query(x), self.key(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x) @ self.value(x)  # (B, T, T) @ (B, T, D) -> (B, T, D)


# %% [markdown]
# ## By hand
#
# Three tokens, D = 2, and the queries, keys and values already computed:
#
# | | query | key | value |
# |---|---|---|---|
# | 1 | (1, 0) | (1, 0) | (10, 0) |
# | 2 | (0, 1) | (0, 2) | (0, 10) |
# | 3 | (1, 1) | (1, 1) | (5, 5) |
#
# The second token asks (0, 1). The first one's key gives the product 0, its own gives 2; the third is in the future
# and not asked. Divided by $\sqrt 2$ that is $0$ and $1.414$; the powers are $1$ and $4.113$; the weights $0.196$
# and $0.804$. It hears $0.196 \cdot (10, 0) + 0.804 \cdot (0, 10) = (1.96, 8.04)$.
#
# The third asks (1, 1): products $1, 2, 2$; divided, $0.707, 1.414, 1.414$; powers $2.028, 4.113, 4.113$; weights
# $0.198, 0.401, 0.401$; it hears $(3.98, 6.02)$. The first can only listen to itself: $(10, 0)$.
#
# And if all queries are zero, all scores are zero, and the head is the running mean of section 2.


# %%
def show_by_hand() -> None:
    """Compute the example above, and show that zero queries give the running mean."""
    q = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (T, D)
    k = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    v = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    weights = attention_weights(q, k)  # (T, T)
    out = weights @ v  # (T, D)
    for t in range(3):
        print(f"token {t + 1}: weights {rounded(weights[t])}, output {rounded(out[t])}")
    expected = torch.tensor([[10.0, 0.0], [1.96, 8.04], [3.98, 6.02]])
    assert torch.allclose(out, expected, atol=5e-3)

    torch.manual_seed(0)
    head, x = Head(n_embd=6, head_size=5), torch.randn(2, 7, 6)
    nn.init.zeros_(head.query.weight)
    assert torch.allclose(head(x), mean_by_softmax(head.value(x)), atol=1e-6)
    print("with queries of zero, the head gives the running mean of its values")


def rounded(numbers: Tensor) -> str:
    """Format numbers with three digits."""
    return " ".join(f"{number:.3f}" for number in numbers.tolist())


# %%
if __name__ == "__main__":
    show(show_by_hand)

# %% [markdown]
# ## Why divide by $\sqrt{d_k}$?
#
# If the D numbers of a query and of a key are independent, with mean 0 and variance 1, then each of the D products
# has variance 1, and their sum has variance D: for D = 64, scores of size 8. That is large, and the softmax of large
# numbers is nearly a choice of one: the place listens to a single other, chosen by chance before anything is learned.
# Worse, a softmax that has made its choice hardly reacts to its scores any more (its derivative is $p(1 - p)$, nearly
# 0 at both ends), so it learns slowly to unmake it. Division by $\sqrt D$ brings the variance back to 1.


# %%
def show_the_scale(length: int = 8, n_pairs: int = 2000) -> None:
    """Print the scores' variance, the largest weight and the softmax's derivative, without and with the scale."""
    print("  D   variance of scores    largest weight     derivative, mean of p(1 - p)")
    print("       plain    scaled     plain   scaled     plain   scaled")
    for D in (4, 16, 64, 256):
        generator = torch.Generator().manual_seed(0)
        q = torch.randn(n_pairs, 1, D, generator=generator)  # (N, 1, D): one query
        k = torch.randn(n_pairs, length, D, generator=generator)  # (N, T, D)
        plain = (q @ k.transpose(1, 2)).squeeze(1)  # (N, T)
        scaled = plain / math.sqrt(D)
        cells = []
        for statistic in (
            lambda scores: scores.var().item(),
            lambda scores: scores.softmax(-1).max(-1).values.mean().item(),
            lambda scores: (scores.softmax(-1) * (1 - scores.softmax(-1))).mean().item(),
        ):
            cells += [statistic(plain), statistic(scaled)]
        print(
            f"{D:3}   {cells[0]:7.1f}   {cells[1]:7.2f}   {cells[2]:7.2f}  {cells[3]:7.2f}   "
            f"{cells[4]:7.3f}  {cells[5]:7.3f}"
        )
        assert abs(cells[0] / D - 1) < 0.1
        assert abs(cells[1] - 1) < 0.1
    assert cells[2] > 0.9  # D = 256, plain: one position takes all
    assert cells[3] < 0.5  # scaled: several share
    assert cells[5] > 5 * cells[4]


# %%
if __name__ == "__main__":
    show(show_the_scale)

# %% [markdown]
# ## The future stays hidden
#
# While it trains, the model predicts at all T places at once. If a place could see what comes after it, it would
# see its own answer. The mask forbids it, and we can check from outside: change a token, and no logits before it
# may move.


# %%
def show_causality(vocab_size: int = 11, block_size: int = 8, n_embd: int = 32) -> None:
    """Change one token at a time: the logits before it stay, those from it on change."""
    torch.manual_seed(0)
    model = PositionedModel(vocab_size, n_embd, Head(n_embd, n_embd), LearnedPositions(block_size, n_embd))
    idx = torch.randint(vocab_size, (1, block_size))  # (1, T)
    logits = model(idx)[0]  # (T, V)
    print("changed position -> positions whose logits changed")
    for changed in range(block_size):
        other = idx.clone()
        other[0, changed] = (idx[0, changed] + 1) % vocab_size
        moved = (model(other)[0] - logits).abs().amax(dim=-1) > 1e-6  # (T,)
        print(f"{changed + 1:>16} -> {' '.join(str(t + 1) if moved[t] else '.' for t in range(block_size))}")
        assert moved.tolist() == [t >= changed for t in range(block_size)]


# %%
if __name__ == "__main__":
    with torch.no_grad():
        show(show_causality)

# %% [markdown]
# ## Any length, at once, and where it ends
#
# Before Transformers, most language models were recurrent: one state, updated token by token. To carry something over a
# hundred tokens, it had to survive a hundred updates, and the updates had to be done one after another. A head has
# none of that. The same three matrices serve for one token or eight, all places are computed at once, and between
# any two of them there is a single step. Per layer, for T tokens of C channels (table 1 of the paper):
#
# | | multiplications of the mixing | steps one after another | longest path |
# |---|---|---|---|
# | recurrent layer | T · C² | T | T |
# | self-attention | T² · C | 1 | 1 |
#
# (As in the paper's table, constant factors are left out, and so are the layers that make q, k and v, of T · C²
# each.) The price is in the first column: every pair of tokens costs. While T is below C the mixing is cheap; for
# long texts it is expensive, and the block sets a limit. Beyond `block_size` tokens this model has no position
# vectors, and `generate` crops the context: what was further back is forgotten at once and completely.


# %%
def show_every_length(vocab_size: int = 11, block_size: int = 8, n_embd: int = 32) -> None:
    """Apply the same weights to every length up to the block, and past it."""
    torch.manual_seed(0)
    model = PositionedModel(vocab_size, n_embd, Head(n_embd, n_embd), LearnedPositions(block_size, n_embd))
    idx = torch.randint(vocab_size, (1, block_size + 1))  # (1, T + 1)
    whole = model(idx[:, :block_size])  # (1, T, V)
    for length in range(1, block_size + 1):
        assert torch.allclose(model(idx[:, :length]), whole[:, :length], atol=1e-5)
    print(f"lengths 1 to {block_size}, alone or as the beginning of {block_size} tokens: the same logits")
    try:
        model(idx)
        raise AssertionError("a sequence longer than the block should be refused")
    except ValueError as error:
        print(f"length {block_size + 1}: {error}")
    other = idx.clone()
    other[0, 0] = (idx[0, 0] + 1) % vocab_size
    written, rewritten = (generate(model, start, 20, block_size)[0, -20:] for start in (idx, other))
    assert torch.equal(written, rewritten)
    print(f"a change of the token {block_size + 1} back does not change what is generated next")


def compare_with_recurrence(lengths: Sequence[int] = (8, 64, 512), n_embd: int = 32) -> None:
    """Print how much the first token affects the last position, and the cost, of a recurrent layer and a head."""
    torch.manual_seed(0)
    layers = {"recurrent": recurrent_layer(n_embd), "attention": Head(n_embd, n_embd)}
    print("layer           T   path   mult. of the mixing   influence of the first token      ms")
    influence = {}
    for T in lengths:
        x = torch.randn(1, T, n_embd, requires_grad=True)  # (1, T, C)
        for name, layer in layers.items():
            start = time.perf_counter()
            out = layer(x)  # (1, T, C)
            milliseconds = 1000 * (time.perf_counter() - start)
            (gradient,) = torch.autograd.grad(out[0, -1].sum(), x)  # (1, T, C)
            influence[name, T] = gradient[0, 0].norm().item()
            path, multiplications = (T - 1, T * n_embd**2) if name == "recurrent" else (1, T**2 * n_embd)
            print(f"{name:<11}{T:6}{path:7}{multiplications:22,}{influence[name, T]:31.1e}{milliseconds:8.2f}")
    first, last = min(lengths), max(lengths)
    assert influence["recurrent", last] < 1e-6 * influence["recurrent", first]  # each step of the path costs a factor
    assert influence["attention", last] > 1e-2 * influence["attention", first] * first / last  # only divided among T


def recurrent_layer(n_embd: int) -> nn.Module:
    """Build a layer that computes torch's tanh(W x_t + U h_(t-1)) for each t: (B, T, C) -> (B, T, C)."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(n_embd, n_embd)

        def forward(self, x: Tensor) -> Tensor:
            states = [self.cell(x[:, 0])]  # (B, C)
            for t in range(1, x.shape[1]):
                states.append(self.cell(x[:, t], states[-1]))  # (B, C), one after another
            return torch.stack(states, dim=1)  # (B, T, C)

    return Recurrent()


# %%
if __name__ == "__main__":
    with torch.no_grad():
        show(show_every_length)

# %%
if __name__ == "__main__":
    show(compare_with_recurrence)

# %% [markdown]
# ## In the network
#
# The head takes the place of the mean as the body of the model, and is as wide as the embeddings.


# %%
def main(
    steps: int = 5000, seed: int = 1337, text: str | None = None, report: Report = quiet, *, n_embd: int = 32
) -> Result:
    """Train one head of self-attention."""
    return run_experiment(
        lambda vocab_size: PositionedModel(vocab_size, n_embd, Head(n_embd, n_embd), LearnedPositions(8, n_embd)),
        label="one head",
        steps=steps,
        seed=seed,
        text=text,
        report=report,
    )


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## Who listens to whom
#
# The weights are a T × T matrix, and a matrix is a picture: each row is a place that asks, each column one that is
# asked; the upper right is the future, which nobody sees. Rows sum to 1. In most rows the weight lies on the last
# characters: after all, they tell most about the next.


# %%
def draw_matrices(weights: Tensor, characters: Sequence[str], titles: Sequence[str]) -> "Figure":
    """Draw attention matrices (N, T, T) next to each other, with the characters along both axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 2.9 * len(weights), 3.6), layout="constrained")
    for axes, matrix, title in zip(figure.subplots(1, len(weights), squeeze=False)[0], weights, titles):
        image = draw_weights(axes, matrix, [character_label(character) for character in characters])
        axes.set_title(title, fontsize=10)
    figure.axes[0].set_ylabel("position")
    figure.colorbar(image, ax=figure.axes, label="weight", shrink=0.8)
    return figure


def example_sequence(result: Result, length: int = 8) -> Tensor:
    """Return a sequence of the validation part, as token ids (1, T)."""
    start = min(1000, len(result.validation) - length)
    return result.validation[None, start : start + length]


@torch.no_grad()
def draw_attention(result: Result) -> "Figure":
    """Draw the trained head's weights on eight characters of the validation part."""
    idx = example_sequence(result)  # (1, T)
    characters = list(result.tokenizer.decode(idx[0].tolist()))
    model = result.model
    weights = model.body.weights(model.embed(idx))  # (1, T, T)
    assert torch.allclose(weights.sum(dim=-1), torch.ones(1, len(characters)), atol=1e-5)
    assert weights.triu(1).abs().max() == 0  # nothing from the future
    print("          " + " ".join(f"{c!r:>5}" for c in characters))
    for character, row in zip(characters, weights[0].tolist()):
        print(f"{character!r:>8}  " + " ".join(f"{weight:5.2f}" if weight else "    ." for weight in row))
    return draw_matrices(weights, characters, ["one head of self-attention, trained"])


# %%
if __name__ == "__main__":
    show(draw_attention, result)

# %% [markdown]
# ## What we have
#
# The first model that hears more than one character and is better for it. Its one head, however, must serve all
# purposes at once: one set of weights per place, for vowels and for line ends and for the beginning of names.
#
# This head is *self*-attention, because queries, keys and values come from the same sequence; in the paper's
# translator, the decoder's queries also ask the encoder's keys. Without the mask it would be an encoder's head.
# Nearly all of today's language models are built of masked ones, as here.
#
# **Try it**
# 1. Leave out the division by $\sqrt D$ and train. *Expect* about 2.41: with D = 32 and one layer the harm is
#    small; in a deep model with large heads it is not.
# 2. Leave out the mask and train. *Expect* both losses near 0.4, far below the 1.48 that even section 10's ten million
#    weights reach honestly, and a sample of one letter over and over: it has learned to look up its answer in the next
#    place, and when it writes there is no next place.
# 3. Leave out the positions (add zeros). *Expect* about 2.45: more than half of the gain over the table of pairs is
#    lost by a choosy listener that does not know who spoke last.

# %%
if __name__ == "__main__":
    finish(result)
