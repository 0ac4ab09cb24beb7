"""Exercises of section 10: counting weights, writing, and the whole decoder."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.attention import LETS_IN
from course.exercises.base import Check, Exercise
from course.exercises.probe import count_of, future_fault, module_fault, past_fault, shape_fault, unused_fault
from course.s01_bigram import cross_entropy

V, BLOCK, LAYERS, HEADS, C = 11, 7, 2, 3, 15
SIZES = {"vocab_size": V, "block_size": BLOCK, "n_layer": LAYERS, "n_head": HEADS, "n_embd": C}

Count = Callable[[int, int, int, int], Any]
Generate = Callable[[nn.Module, Tensor, int, int, int], Tensor]


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


# generate


class Chain(nn.Module):
    """Sure that after i comes i + 1, but only at the last position; elsewhere it is sure of 0: (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int = V) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.seen: list[Tensor] = []
        self.training_then: list[bool] = []
        self.gradients_then: list[bool] = []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, idx: Tensor) -> Tensor:
        self.seen.append(idx.clone())
        self.training_then.append(self.training)
        self.gradients_then.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        sure = torch.zeros_like(idx)
        sure[:, -1] = (idx[:, -1] + 1) % self.vocab_size
        return 60.0 * nn.functional.one_hot(sure, self.vocab_size) + self.weight


class Loaded(nn.Module):
    """Always the same three probabilities, its logits all above 0: (B, T) -> (B, T, 3)."""

    probabilities = torch.tensor([0.7, 0.2, 0.1])

    def forward(self, idx: Tensor) -> Tensor:
        return (self.probabilities.log() + 5).expand(*idx.shape, 3)


def prompt(length: int = 4) -> Tensor:
    return torch.tensor([[1], [5]]) + torch.arange(length)


def generate_shape(generate: Generate) -> str | None:
    out = generate(Chain(), prompt(), 3, BLOCK, 1)
    if isinstance(out, Tensor) and tuple(out.shape) == (2, 3):
        return "It returns the new tokens alone: the prompt belongs in front of them."
    return shape_fault(out, "B L", {"B": 2, "L": 7})


def generate_prompt(generate: Generate) -> str | None:
    start = prompt()
    out = generate(Chain(), start.clone(), 3, BLOCK, 1)
    if torch.equal(out[:, :4], start):
        return None
    return f"The prompt {start[0].tolist()} has become {out[0, :4].tolist()}: append after it, along dimension 1."


def generate_crops(generate: Generate) -> str | None:
    model = Chain()
    start = prompt(BLOCK + 3) % V
    generate(model, start, 4, BLOCK, 1)
    lengths = {one.shape[1] for one in model.seen}
    if max(lengths) > BLOCK:
        return (
            f"With a block of {BLOCK} the model was given {max(lengths)} tokens: it has no positions for so many. Give "
            "it the last block_size of them, `idx[:, -block_size:]`."
        )
    if min(lengths) < BLOCK:
        return (
            f"With a block of {BLOCK} and enough behind it, the model was given {min(lengths)} tokens: give it a "
            "whole block."
        )
    if not torch.equal(model.seen[0], start[:, -BLOCK:]):
        return "The model was given the beginning of the sequence: once it is longer than the block, the end counts."
    return None


def generate_last(generate: Generate) -> str | None:
    start = prompt()
    out = generate(Chain(), start, 3, BLOCK, 1)
    right = (start[:, -1:] + torch.arange(1, 4)) % V
    if torch.equal(out[:, 4:], right):
        return None
    return (
        f"The model is sure that {right[0].tolist()} follow, and {out[0, 4:].tolist()} were written. Only the logits "
        "of the last position, `[:, -1]`, speak of the next token."
    )


def shares(generate: Generate) -> Tensor:
    """How often each of three tokens is drawn, in 4,000 sequences."""
    drawn = generate(Loaded(), torch.zeros(4000, 1, dtype=torch.long), 1, BLOCK, 1)[:, -1]
    return torch.bincount(drawn, minlength=3) / 4000


def generate_draws(generate: Generate) -> str | None:
    found, p = shares(generate), Loaded.probabilities
    if (found - p).abs().max() < 0.03:
        return None
    text = ", ".join(f"{share:.0%}" for share in found.tolist())
    told = f"Of three tokens with the probabilities 70%, 20% and 10% it drew {text}: "
    if found.max() == 1:
        return (
            told + "it always takes the likeliest, or draws once for all. Draw for each sequence by itself: "
            "`torch.multinomial`."
        )
    logits = p.log() + 5
    known = {
        "the logits were taken for probabilities; a softmax must come first.": logits / logits.sum(),
        "the softmax was taken twice.": p.softmax(0),
        "all were taken for equally likely.": torch.full((3,), 1 / 3),
        "the logits were multiplied by 2 on the way, a temperature of 1/2: leave them as they are.": (
            logits * 2
        ).softmax(0),
        "the logits were divided by 2 on the way, a temperature of 2: leave them as they are.": (logits / 2).softmax(0),
    }
    for sentence, wrong in known.items():
        if (found - wrong).abs().max() < 0.03:
            return told + sentence
    return told + "draw by the softmax of the last position's logits."


def generate_seed(generate: Generate) -> str | None:
    start = torch.zeros(2, 1, dtype=torch.long)
    first, again, other = (generate(Loaded(), start, 40, BLOCK, seed) for seed in (1, 1, 2))
    if not torch.equal(first, again):
        return "The same seed wrote two different texts: draw from `torch.Generator().manual_seed(seed)`."
    if torch.equal(first, other):
        return "Two seeds wrote the same text: draw from `torch.Generator().manual_seed(seed)`."
    if (first[:, 1:] == first[:, 1:2]).all():
        return "The same token is drawn again and again: make the generator once, before the loop."
    return None


def generate_quiet(generate: Generate) -> str | None:
    model = Chain()
    generate(model, prompt(), 3, BLOCK, 1)
    if any(model.training_then):
        return "Dropout would be on while it writes: call `model.eval()` first."
    if any(model.gradients_then):
        return "All that a gradient would need was kept while it wrote: put `@torch.no_grad()` above the function."
    return None


# GPT


def made(gpt: Callable[..., nn.Module]) -> nn.Module:
    return gpt(**SIZES).eval()


def tokens(length: int = BLOCK) -> Tensor:
    return torch.randint(V, (2, length))


def gpt_module(gpt: Any) -> str | None:
    return module_fault(gpt, **SIZES)


def gpt_shape(gpt: Callable[..., nn.Module]) -> str | None:
    for length in (BLOCK, 5):
        if fault := shape_fault(made(gpt)(tokens(length)), "B T V", {"B": 2, "T": length, "V": V}):
            return fault
    return None


def gpt_parameters(gpt: Callable[..., nn.Module]) -> str | None:
    count = count_of(made(gpt))
    parts = weights_in(V, BLOCK, LAYERS, C)
    total, block = sum(parts.values()), 12 * C * C + 10 * C
    gap = count - total
    if gap in {qkv + head for qkv in (0, 3 * C * LAYERS) for head in (0, -V)}:  # biases or none
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
    return known.get(gap, f"It has {count} numbers to learn, and should have {total}: {listed}.")


def gpt_logits(gpt: Callable[..., nn.Module]) -> str | None:
    sums = made(gpt)(tokens()).exp().sum(-1), made(gpt)(tokens()).sum(-1)
    if torch.allclose(sums[1], torch.ones_like(sums[1]), atol=1e-3):
        return "It returns probabilities: return the logits, and leave the softmax to the loss."
    if torch.allclose(sums[0], torch.ones_like(sums[0]), atol=1e-3):
        return "It returns logarithms of probabilities: return the logits, and leave the softmax to the loss."
    return None


def gpt_future(gpt: Callable[..., nn.Module]) -> str | None:
    return future_fault(made(gpt), torch.randint(V, (1, BLOCK)), LETS_IN)


def gpt_past(gpt: Callable[..., nn.Module]) -> str | None:
    model, idx = made(gpt), torch.tensor([[1, 2, 3, 4, 5]])
    if fault := past_fault(model, idx, "no position hears another. Is there attention in each block?"):
        return fault
    swapped, model = (
        torch.tensor([[2, 1, 3, 4, 5]]),
        gpt(**{**SIZES, "n_layer": 1}).eval(),
    )  # several blocks notice anyway
    with torch.no_grad():
        change = (model(idx)[0, -1] - model(swapped)[0, -1]).abs().max().item()
    if change > 1e-6:
        return None
    return "The first two tokens changed places, and the last position did not notice: add the positions to the tokens."


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
    return unused_fault(gpt(**SIZES), tokens())


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
        checks=(
            Check("the shape", generate_shape),
            Check("the prompt stays", generate_prompt),
            Check("a block at most", generate_crops),
            Check("the last position speaks", generate_last),
            Check("drawn by the probabilities", generate_draws),
            Check("the seed chooses", generate_seed),
            Check("no dropout, no gradients", generate_quiet),
        ),
    ),
    Exercise(
        name="GPT",
        task="Put the decoder together: tokens plus positions, blocks of attention and feed-forward network, a last "
        "norm, and a head. All parts of the sections before are yours to import.",
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
            Check("untrained, it knows nothing", gpt_start),
            Check("every layer learns", gpt_uses_all),
        ),
    ),
)
