"""Exercises of section 10: counting weights, writing, and the whole decoder."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.attention import LETS_IN
from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import count_of, future_fault, made, module_fault, past_fault, shape_fault, unused_fault
from course.exercises.writing import BLOCK, GENERATE_CHECKS, V
from course.s01_bigram import cross_entropy
from course.s10_gpt import GPT

LAYERS, HEADS, C = 3, 3, 15
SIZES = {"vocab_size": V, "block_size": BLOCK, "n_layer": LAYERS, "n_head": HEADS, "n_embd": C}

Count = Callable[[int, int, int, int], Any]


def weights_in(V: int, T: int, L: int, C: int) -> dict[str, int]:
    """The parts of the decoder of section 10, by their numbers."""
    return {
        "tokens": V * C,
        "positions": T * C,
        "queries, keys and values": 3 * L * C * C,
        "projections": L * (C * C + C),
        "feed-forward networks": L * (8 * C * C + 5 * C),
        "norms of the blocks": L * 4 * C,
        "the last norm": 2 * C,
        "the head": C * V + V,
    }


def count_number(count_weights: Count) -> str | None:
    out = count_weights(65, 256, 6, 384)
    if isinstance(out, float) and out.is_integer():
        return None
    return None if isinstance(out, int) else f"{out!r} is no whole number."


def count_value(count_weights: Count) -> str | None:
    settings = ((65, 256, 6, 384), (11, 7, 2, 15), (101, 32, 5, 48))
    given = [count_weights(*setting) - sum(weights_in(*setting).values()) for setting in settings]
    if given == [0, 0, 0]:
        return None
    parts = [weights_in(*setting) for setting in settings]
    known = {f"This leaves out {name}.": [-one[name] for one in parts] for name in parts[0]}
    known |= {
        "This counts a single block: multiply by n_layer.": [
            -(L - 1) * (12 * C * C + 10 * C) for _, _, L, C in settings
        ],
        "This gives queries, keys and values a bias: here they have none.": [3 * L * C for _, _, L, C in settings],
        "The head has a bias too: one number for each character.": [-V for V, _, _, _ in settings],
        "The projection has a bias too: C numbers in each block.": [-L * C for _, _, L, C in settings],
        "The two layers of the feed-forward network have biases too: 4 C and C in each block.": [
            -5 * L * C for _, _, L, C in settings
        ],
        "A norm has a gain and a shift, 2 C numbers: one of the two is left out.": [
            -(2 * L + 1) * C for _, _, L, C in settings
        ],
        "There are two norms in each block: one is left out.": [-2 * L * C for _, _, L, C in settings],
        "This counts the head as the token table once more: it has weights of its own.": [
            -V * C - V for V, _, _, C in settings
        ],
        "The feed-forward network is four times as wide inside: 8 C² and not 2 C².": [
            -L * (6 * C * C + 3 * C) for _, _, L, C in settings
        ],
    }
    for sentence, gaps in known.items():
        if given == gaps:
            return sentence
    setting, gap = settings[1], given[1]
    return (
        f"For V, block, layers and C of {', '.join(map(str, setting))} it gives {abs(gap):g} too "
        f"{'many' if gap > 0 else 'few'}: the parts have "
        f"{', '.join(f'{number} ({name})' for name, number in parts[1].items())}."
    )


# GPT


def decoder(gpt: Callable[..., nn.Module], **changes: int) -> nn.Module:
    return made(gpt, **{**SIZES, **changes})


def tokens(length: int = BLOCK) -> Tensor:
    return torch.randint(V, (2, length))


def gpt_module(gpt: Any) -> str | None:
    return module_fault(gpt, **SIZES)


def gpt_shape(gpt: Callable[..., nn.Module]) -> str | None:
    for length in (BLOCK, 5):
        if fault := shape_fault(decoder(gpt)(tokens(length)), "B T V", {"B": 2, "T": length, "V": V}):
            return fault
    return None


def gpt_parameters(gpt: Callable[..., nn.Module]) -> str | None:
    count = count_of(gpt(**SIZES))
    parts = weights_in(V, BLOCK, LAYERS, C)
    total, block = sum(parts.values()), 12 * C * C + 10 * C
    gap = count - total
    biases = (0, 3 * C), (0, -C), (0, -C, -4 * C, -5 * C)  # of q, k and v, projection and network: there or not
    free = sorted({LAYERS * sum(some) + head for some in itertools.product(*biases) for head in (0, -V)}, key=abs)
    if gap in free:
        return None
    known = {
        -LAYERS * block: "Its blocks are not found: in a Python list they are never trained. Take `nn.Sequential` or "
        "`nn.ModuleList`.",
        -(LAYERS - 1)
        * block: f"There is one block in it, for n_layer = {LAYERS}: `[Block(...)] * n_layer` is the same one "
        "over and over.",
        -2 * C: "The last norm is missing, between the blocks and the head.",
        -BLOCK * C: "The positions are missing, or not trained: one vector for each place of the block.",
        -V * C: "The head shares its weights with the token table, or one of them is missing: here each has its own.",
    }
    listed = ", ".join(f"{number} ({name})" for name, number in parts.items())
    return next(
        (known[gap - one] for one in free if gap - one in known),
        f"It has {count} numbers to learn, and should have {total}: {listed}.",
    )


def gpt_logits(gpt: Callable[..., nn.Module]) -> str | None:
    sums = decoder(gpt)(tokens()).exp().sum(-1), decoder(gpt)(tokens()).sum(-1)
    if torch.allclose(sums[1], torch.ones_like(sums[1]), atol=1e-3):
        return "It returns probabilities: return the logits, and leave the softmax to the loss."
    if torch.allclose(sums[0], torch.ones_like(sums[0]), atol=1e-3):
        return "It returns logarithms of probabilities: return the logits, and leave the softmax to the loss."
    return None


def gpt_future(gpt: Callable[..., nn.Module]) -> str | None:
    return future_fault(decoder(gpt), torch.randint(V, (1, BLOCK)), LETS_IN)


def gpt_past(gpt: Callable[..., nn.Module]) -> str | None:
    model, idx = decoder(gpt), torch.tensor([[1, 2, 3, 4, 5]])
    if fault := past_fault(model, idx, "no position hears another. Is there attention in each block?"):
        return fault
    swapped, model = torch.tensor([[2, 1, 3, 4, 5]]), decoder(gpt, n_layer=1)  # several blocks notice anyway
    with torch.no_grad():
        change = (model(idx)[0, -1] - model(swapped)[0, -1]).abs().max().item()
    if change > 1e-4:
        return None
    return "The first two tokens changed places, and the last position did not notice: add the positions to the tokens."


@torch.no_grad()
def gpt_stream(gpt: Callable[..., nn.Module]) -> str | None:
    """Whether what tokens and positions say reaches the last norm: if it is very large, what is added is nothing."""
    model, large = decoder(gpt), 1e5
    tables = [p for p in model.parameters() if p.numel() in (V * C, BLOCK * C)]
    if len(tables) != 3:  # tokens, positions, and the head, which looks like tokens; kept otherwise, they are not found
        return None
    for table in tables:
        table.mul_(large)
    idx = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 5]])
    one, other = model(idx)[:, -1]
    if one.abs().max() > 100 * large:
        return "What the head reads is not normalised: the last norm stands between the blocks and the head."
    if (one - other).abs().max() < 0.01 * one.abs().max():
        return None
    return (
        "The stream does not pass from the embeddings to the last norm. A block leaves it alone and only adds to it, "
        "twice, what a part says that has read a normalised copy: `x + part(norm(x))`."
    )


def gpt_start(gpt: Callable[..., nn.Module]) -> str | None:
    model = gpt(**{**SIZES, "vocab_size": 65}).eval()
    idx, targets = torch.randint(65, (2, 64, BLOCK))
    with torch.no_grad():
        loss = cross_entropy(model(idx), targets).item()
    if abs(loss - math.log(65)) < 0.12:
        return None
    return (
        f"Untrained and with 65 characters, its loss is {loss:.2f}, where knowing nothing costs ln 65 = "
        f"{math.log(65):.2f}: it is sure of nonsense. Start the weights of linear layers and embeddings at size 0.02."
    )


def gpt_uses_all(gpt: Callable[..., nn.Module]) -> str | None:
    return unused_fault(decoder(gpt), tokens())


def sure_at_the_start() -> Effect:
    model = GPT(65, block_size=64, n_embd=96, dropout=0.0)
    nn.init.normal_(model.lm_head.weight, std=0.2)
    idx, targets = torch.randint(65, (2, 32, 64))
    with torch.no_grad():
        loss = cross_entropy(model(idx), targets).item()
    return Effect(
        loss,
        f"It starts at {loss:.2f}. A logit is a sum of 96 products of size 0.2, and so of size 0.2 · √96 = 1.96; as in "
        "section 1 the excess is half its square, and 4.17 + 1.92 = 6.09. With only 65 characters the mean of e^z "
        "misses most of its rare large values, so that the loss lies a little below that.",
    )


EXERCISES = (
    Exercise(
        name="count_weights",
        task="Count with pencil and paper, and write it as a formula: how many numbers does the decoder of this "
        "section learn, for any vocabulary, block, depth and width?",
        look="Where the ten million are",
        stub='''
def count_weights(vocab_size: int, block_size: int, n_layer: int, n_embd: int) -> int:
    """How many numbers a GPT of these sizes learns."""
    raise NotImplementedError
''',
        checks=(Check("a whole number", count_number), Check("the right number", count_value)),
    ),
    Exercise(
        name="generate",
        task="Let a model write: ask it for the next token, draw by its probabilities, append, and ask again. No model "
        "is to be given more than block_size tokens. The seed chooses what is drawn.",
        look="The next token, and the next",
        stub='''
def generate(model: nn.Module, idx: Tensor, new_tokens: int, block_size: int, seed: int) -> Tensor:
    """Continue the sequences `idx`: (B, T) -> (B, T + new_tokens)."""
    raise NotImplementedError
''',
        checks=GENERATE_CHECKS,
    ),
    Exercise(
        name="GPT",
        task="Put the decoder together: tokens plus positions, pre-norm blocks of attention and feed-forward network, "
        "a last norm, and a head with weights of its own. Let linear weights and embeddings start at size 0.02 "
        "(`start_small` of section 10 is yours to import), so that untrained it knows nothing. All parts of the "
        "sections before are yours to import too.",
        look="# 10. The whole decoder: a GPT",
        stub='''
class GPT(nn.Module):
    """A decoder of pre-norm blocks: token ids (B, T) -> logits (B, T, V), for T up to `block_size`."""

    def __init__(self, vocab_size: int, *, block_size: int, n_layer: int, n_head: int, n_embd: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, idx: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", gpt_module),
            Check("the shape", gpt_shape),
            Check("every part is there", gpt_parameters),
            Check("logits", gpt_logits),
            Check("the future stays hidden", gpt_future),
            Check("the past is heard, in its order", gpt_past),
            Check("a stream from end to end", gpt_stream),
            Check("untrained, it knows nothing", gpt_start),
            Check("every layer learns", gpt_uses_all),
        ),
    ),
    break_it(
        name="LOSS_WHEN_TEN_TIMES_AS_LARGE",
        task="The decoder starts with weights of size 0.02, and over 65 characters with a loss of about ln 65 = 4.17. "
        "Let those of its head, and of nothing else, be of size 0.2. The head reads 96 channels, which the last norm "
        "has brought to size 1. What is its first loss, in nats? Half a nat off is near enough. (How large is a sum of "
        "96 such products? Then section 1 tells what logits of that size cost.)",
        look="Training",
        within=0.5,
        experiment=sure_at_the_start,
    ),
)
