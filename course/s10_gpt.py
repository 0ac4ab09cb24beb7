# %% [markdown]
# # 10. The whole decoder: a GPT
#
# - **New here:** `GPT`, which is everything before, put together and scaled up.
# - **From before:** `run_experiment`, `generate`, `CharTokenizer`, `Result`, `Setting` (1), `LearnedPositions`,
#   `PositionedModel` (3), `LayerNorm`, `PreNormBlock` (8), `DropoutMultiHead`, `DropoutFeedForward` (9).
# - **In the lecture:** [01:37:49] scaling up, [01:42:39] encoder, decoder, both, [01:46:22] nanoGPT.
# - **In the paper:** the right half of figure 1 without its middle sub-layer (there is no other sequence to ask),
#   and table 3 for the sizes.
# - **Takes:** with a CUDA GPU the full size is trained (the lecture: about 15 minutes on an A100), to about
#   1.48 by the lecture's measure. Without one, a narrower model of the same depth is trained in about two minutes.
# - **Expect** then a validation loss of about 1.98 after 1,000 steps.
#
# Nearly nothing new is needed. Tokens and positions are added (2, 3); six blocks in turn talk (4, 5), think (6), add
# (7), read normalised (8) and drop out (9); a last norm and a linear layer give the logits. Only one small thing is
# new: how the weights start.
#
# A *decoder* is such a stack with the mask: it writes. An *encoder* has no mask and only reads; the paper's
# translator has both, and a middle sub-layer by which the decoder asks the encoder. There is nobody to ask here.
#
# | | full size, as in the lecture | on a CPU |
# |---|---|---|
# | layers, heads | 6, 6 | 6, 6 |
# | channels C, head size D | 384, 64 | 96, 16 |
# | block | 256 | 64 |
# | batch | 64 | 16 |
# | dropout | 0.2 | 0 (it is far from memorizing) |
# | learning rate, steps | 3e-4, 5,000 | 1e-3, 1,000 |
# | parameters, for 65 characters | 10,788,929 | 688,193 |


# %%
import math
from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course.console import Report, finish, quiet, run, show
from course.s01_bigram import CharTokenizer, Result, Setting, generate, run_experiment
from course.s03_positions import LearnedPositions, PositionedModel
from course.s08_layer_norm import LayerNorm, PreNormBlock
from course.s09_dropout import DropoutFeedForward, DropoutMultiHead

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "the whole decoder, six layers deep"


# %%
class GPT(PositionedModel):
    """A decoder of pre-norm blocks: token ids (B, T) -> next-token logits (B, T, V), for T up to `block_size`.

    Parameters, with i from 0 to n_layer - 1; linear weights are (out, in), as in torch:

        token_embedding.weight (V, C)              position_embedding.table.weight (block_size, C)
        body.blocks.i.norm_attention.weight, .bias (C)
        body.blocks.i.attention.query.weight, .key.weight, .value.weight (C, C), without bias
        body.blocks.i.attention.proj.weight (C, C), .bias (C)
        body.blocks.i.norm_feed_forward.weight, .bias (C)
        body.blocks.i.feed_forward.expand.weight (4 C, C), .bias (4 C)
        body.blocks.i.feed_forward.contract.weight (C, 4 C), .bias (C)
        body.final_norm.weight, .bias (C)
        lm_head.weight (V, C), .bias (V)
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        block_size: int = 256,
        n_layer: int = 6,
        n_head: int = 6,
        n_embd: int = 384,
        dropout: float = 0.2,
    ) -> None:
        blocks = nn.Sequential(
            *(
                PreNormBlock(DropoutMultiHead(n_embd, n_head, dropout), DropoutFeedForward(n_embd, dropout), n_embd)
                for _ in range(n_layer)
            )
        )
        body = nn.Sequential(OrderedDict(blocks=blocks, final_norm=LayerNorm(n_embd)))
        super().__init__(vocab_size, n_embd, body, LearnedPositions(block_size, n_embd))
        self.apply(init_weights)


def init_weights(module: nn.Module) -> None:
    """Set weights to a standard deviation of 0.02 and biases to zero, as in the lecture's repository."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


# %% [markdown]
# ## Where the ten million are
#
# Count with pencil and paper, for C = 384 and V = 65:
#
# - tokens $65 \cdot 384 = 24{,}960$ and positions $256 \cdot 384 = 98{,}304$;
# - each block: q, k, v $3 \cdot 384^2$, projection $384^2 + 384$, feed-forward $8 \cdot 384^2 + 5 \cdot 384$, two
#   norms $4 \cdot 384$: together $12 \cdot 384^2 + 10 \cdot 384 = 1{,}773{,}312$; six of them, $10{,}639{,}872$;
# - last norm $768$; head $65 \cdot 384 + 65 = 25{,}025$.
#
# Nearly all of it is in the blocks, and two thirds of each block in its feed-forward network.


# %%
def show_parameters(vocab_size: int = 65, n_layer: int = 6, n_embd: int = 384, block_size: int = 256) -> None:
    """Compare the count above, part by part, with the model."""
    model = GPT(vocab_size, n_layer=n_layer, n_embd=n_embd, block_size=block_size)
    by_hand = {
        "token_embedding": vocab_size * n_embd,
        "body.blocks": n_layer * (12 * n_embd**2 + 10 * n_embd),
        "body.final_norm": 2 * n_embd,
        "lm_head": n_embd * vocab_size + vocab_size,
        "position_embedding": block_size * n_embd,
    }
    for name, count in by_hand.items():
        assert count == sum(p.numel() for p in model.get_submodule(name).parameters())
        print(f"{name:<20}{count:12,}")
    total = sum(p.numel() for p in model.parameters())
    assert total == sum(by_hand.values()) == 10_788_929
    print(f"{'total':<20}{total:12,}")


# %%
if __name__ == "__main__":
    show(show_parameters)

# %% [markdown]
# ## Training
#
# With small weights the untrained model gives every character nearly the same probability, so its loss starts
# within a tenth of $\ln V$; sections 2 to 8 started up to half a nat above.


# %%
def main(
    steps: int | None = None,
    seed: int = 1337,
    text: str | None = None,
    report: Report = quiet,
    *,
    full: bool | None = None,
) -> Result:
    """Train the decoder at full size if there is a CUDA GPU (or `full` is true), else the narrow one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    full = device == "cuda" if full is None else full
    if full:
        setting, sizes = Setting(batch_size=64, block_size=256, learning_rate=3e-4), {"n_embd": 384, "dropout": 0.2}
    else:
        setting, sizes = Setting(batch_size=16, block_size=64, learning_rate=1e-3), {"n_embd": 96, "dropout": 0.0}
    if steps is None:
        steps = 5000 if full else 1000
    return run_experiment(
        lambda vocab_size: GPT(vocab_size, block_size=setting.block_size, **sizes),  # type: ignore[arg-type]
        label="GPT, full size" if full else "GPT, narrow (CPU)",
        steps=steps,
        seed=seed,
        text=text,
        report=report,
        setting=setting,
        evaluate_every=max(1, steps // 4),
        device=device,
    )


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# The losses on the way, from what knowing nothing costs, $\ln V$, downwards. Most of the fall comes in the first
# quarter.


# %%
def draw_losses(result: Result) -> "Figure":
    """Draw training and validation loss by step, and ln V, the loss of equal probabilities, as a dotted line."""
    from matplotlib.figure import Figure

    steps, train, val = zip(*result.curve)
    nothing = math.log(result.tokenizer.vocab_size)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(nothing, color="#b3a369", linestyle=":", label=f"knowing nothing: {nothing:.2f}")
    axes.plot(steps, val, color="#00204d", marker="o", label=f"validation: {val[-1]:.2f} at the end")
    axes.plot(steps, train, color="#7c7b78", marker="s", linestyle="--", label=f"training: {train[-1]:.2f} at the end")
    axes.set(xlabel="step", ylabel="loss (nats per character)", title=f"{result.label}: its losses", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


# %%
if __name__ == "__main__":
    show(draw_losses, result)

# %% [markdown]
# ## The next token, and the next
#
# This is all that a GPT does: it takes a sequence and gives the probabilities of the next token; one is drawn,
# appended, and the longer sequence goes in again. Once the sequence is longer than the block, only its end is read.


# %%
@torch.no_grad()
def show_next_tokens(result: Result, count: int = 8, block_size: int = 64) -> None:
    """Print the three likeliest next characters and the one that was drawn, `count` times."""
    tokenizer, device = result.tokenizer, result.validation.device
    idx: Tensor = result.validation[None, :block_size]  # (1, T), not in the training part
    print(f"after {tokenizer.decode(idx[0, -30:].tolist())!r}")
    for _ in range(count):
        idx = generate(result.model, idx, 1, block_size, seed=idx.shape[1])  # (1, T) -> (1, T + 1)
        logits = result.model(idx[:, -block_size - 1 : -1])[0, -1]  # (V,): the drawn token's logits
        probabilities, ids = logits.softmax(-1).topk(min(3, tokenizer.vocab_size))  # (3,), (3,)
        likeliest = "  ".join(f"{quoted(tokenizer, int(i)):>4} {p:4.0%}" for p, i in zip(probabilities.tolist(), ids))
        print(f"  likeliest: {likeliest}   drawn: {quoted(tokenizer, int(idx[0, -1]))}")
    assert idx.shape == (1, min(block_size, len(result.validation)) + count)
    assert idx.device == device


def quoted(tokenizer: CharTokenizer, token: int) -> str:
    """Return a character as Python writes it, so that spaces and newlines are visible."""
    return repr(tokenizer.decode([token]))


# %%
if __name__ == "__main__":
    show(show_next_tokens, result)

# %% [markdown]
# ## What we have, and what is missing
#
# Trained on a large part of the internet instead of one book, sixteen thousand times larger, with pieces of words in
# place of characters, this is in outline GPT-3; the code would be recognisably the same. What lies between it and an
# assistant that answers is more training: on dialogues, and on what people preferred [01:48:53].
#
# What lies between this file and a tool is in the library beside this course, `nanogpt`: the same model (its preset
# `lecture` gives the same logits for the same weights), and then faster, resumable, with better parts.
#
# **Try it**
# 1. `main(full=True)` on a GPU, then again with `"dropout": 0.0` in the `sizes` of `main`. *Expect* the training loss
#    to fall far below 1 without dropout, and the validation loss to turn around at about 1.5: section 9 again, at full
#    size.
# 2. Let the trained model write with `block_size=8` in `generate`. *Expect* text like section 8's: words hold
#    together, lines and speakers do not. It knows more than it is now shown.
# 3. Train on a text of your own: `python -m course.s10_gpt --text my_book.txt`. *Expect* a loss of the same order for
#    prose of a million characters, and a higher one for less text; across texts and languages the numbers cannot be
#    compared.

# %%
if __name__ == "__main__":
    finish(result)
