"""What `generate` must do, whatever the model: looked at through two models that tell what they were asked."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course.exercises.base import Check
from course.exercises.probe import shape_fault

V, BLOCK = 11, 7

Generate = Callable[[nn.Module, Tensor, int, int, int], Tensor]


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


GENERATE_CHECKS = (
    Check("the shape", generate_shape),
    Check("the prompt stays", generate_prompt),
    Check("a block at most", generate_crops),
    Check("the last position speaks", generate_last),
    Check("drawn by the probabilities", generate_draws),
    Check("the seed chooses", generate_seed),
    Check("no dropout, no gradients", generate_quiet),
)
