"""Exercises of section 10: counting parameters, generating text, and the whole decoder."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.attention import FUTURE_VISIBLE
from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    build,
    causality_fault,
    module_fault,
    parameter_count,
    past_fault,
    shape_fault,
    unused_parameter_fault,
)
from course.s01_bigram import cross_entropy
from course.s10_gpt import GPT

V, BLOCK, LAYERS, HEADS, C = 11, 7, 3, 3, 15
SIZES = {"vocab_size": V, "block_size": BLOCK, "n_layer": LAYERS, "n_head": HEADS, "n_embd": C}

Count = Callable[[int, int, int, int], Any]
Generate = Callable[[nn.Module, Tensor, int, int, int], Tensor]


def _weights_in(V: int, T: int, L: int, C: int) -> dict[str, int]:
    """Return the parameter counts of the decoder's parts."""
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


def _count_number(count_weights: Count) -> str | None:
    out = count_weights(65, 256, 6, 384)
    if isinstance(out, float) and out.is_integer():
        return None
    return None if isinstance(out, int) else f"{out!r} is not a whole number."


def _count_value(count_weights: Count) -> str | None:
    settings = ((65, 256, 6, 384), (11, 7, 2, 15), (101, 32, 5, 48))
    given = [count_weights(*setting) - sum(_weights_in(*setting).values()) for setting in settings]
    if given == [0, 0, 0]:
        return None
    parts = [_weights_in(*setting) for setting in settings]
    known = {f"It leaves out {name}.": [-one[name] for one in parts] for name in parts[0]}
    known |= {
        "It counts a single block: multiply by n_layer.": [-(L - 1) * (12 * C * C + 10 * C) for _, _, L, C in settings],
        "It gives queries, keys and values a bias: here they have none.": [3 * L * C for _, _, L, C in settings],
        "The head has a bias, too: one number per character.": [-V for V, _, _, _ in settings],
        "The projection has a bias, too: C numbers per block.": [-L * C for _, _, L, C in settings],
        "The two layers of the feed-forward network have biases, too: 4 C and C per block.": [
            -5 * L * C for _, _, L, C in settings
        ],
        "A norm has a gain and a shift, 2 C numbers: one of the two is left out.": [
            -(2 * L + 1) * C for _, _, L, C in settings
        ],
        "There are two norms in each block: one is left out.": [-2 * L * C for _, _, L, C in settings],
        "The head does not share the token table: it has its own weights and bias.": [
            -V * C - V for V, _, _, C in settings
        ],
        "The hidden layer of the feed-forward network is four times as wide: 8 C², not 2 C².": [
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


class SuccessorModel(nn.Module):
    """A model that records its calls; its last position predicts i + 1 after i, the others 0: (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int = V) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.seen: list[Tensor] = []
        self.training_modes: list[bool] = []
        self.gradient_modes: list[bool] = []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, idx: Tensor) -> Tensor:
        self.seen.append(idx.clone())
        self.training_modes.append(self.training)
        self.gradient_modes.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        predicted = torch.zeros_like(idx)
        predicted[:, -1] = (idx[:, -1] + 1) % self.vocab_size
        return 60.0 * nn.functional.one_hot(predicted, self.vocab_size) + self.weight


class FixedDistribution(nn.Module):
    """A model with the same three probabilities everywhere and positive logits: (B, T) -> (B, T, 3)."""

    probabilities = torch.tensor([0.7, 0.2, 0.1])

    def forward(self, idx: Tensor) -> Tensor:
        return (self.probabilities.log() + 5).expand(*idx.shape, 3)


def _prompt(length: int = 4) -> Tensor:
    return torch.tensor([[1], [5]]) + torch.arange(length)


def _generate_shape(generate: Generate) -> str | None:
    out = generate(SuccessorModel(), _prompt(), 3, BLOCK, 1)
    if isinstance(out, Tensor) and tuple(out.shape) == (2, 3):
        return "It returns only the new tokens: return the prompt before them, too."
    return shape_fault(out, "B L", {"B": 2, "L": 7})


def _generate_prompt(generate: Generate) -> str | None:
    start = _prompt()
    out = generate(SuccessorModel(), start.clone(), 3, BLOCK, 1)
    if torch.equal(out[:, :4], start):
        return None
    return f"The prompt {start[0].tolist()} has become {out[0, :4].tolist()}: append after it, along dimension 1."


def _generate_crops(generate: Generate) -> str | None:
    model = SuccessorModel()
    start = _prompt(BLOCK + 3) % V
    generate(model, start, 4, BLOCK, 1)
    lengths = {one.shape[1] for one in model.seen}
    if max(lengths) > BLOCK:
        return (
            f"With a block of {BLOCK} the model got {max(lengths)} tokens, more than it has positions for. Give it the "
            "last block_size of them, `idx[:, -block_size:]`."
        )
    if min(lengths) < BLOCK:
        return f"With a block of {BLOCK} and a longer sequence, it got {min(lengths)} tokens: give it a whole block."
    if not torch.equal(model.seen[0], start[:, -BLOCK:]):
        return "The model got the beginning of the sequence: once that is longer than the block, give it the end."
    return None


def _generate_last(generate: Generate) -> str | None:
    start = _prompt()
    out = generate(SuccessorModel(), start, 3, BLOCK, 1)
    right = (start[:, -1:] + torch.arange(1, 4)) % V
    if torch.equal(out[:, 4:], right):
        return None
    return (
        f"The model predicts {right[0].tolist()} with certainty, and {out[0, 4:].tolist()} were generated. Only the "
        "logits of the last position, `[:, -1]`, predict the next token."
    )


def _shares(generate: Generate) -> Tensor:
    """Return the share of each of three tokens among 4,000 draws."""
    drawn = generate(FixedDistribution(), torch.zeros(4000, 1, dtype=torch.long), 1, BLOCK, 1)[:, -1]
    return torch.bincount(drawn, minlength=3) / 4000


def _generate_draws(generate: Generate) -> str | None:
    found, p = _shares(generate), FixedDistribution.probabilities
    if (found - p).abs().max() < 0.03:
        return None
    text = ", ".join(f"{share:.0%}" for share in found.tolist())
    drawn = f"Three tokens with probabilities 70%, 20% and 10% were drawn in {text} of the cases: "
    if found.max() == 1:
        return (
            drawn + "it always takes the likeliest, or draws once for all sequences. Draw for each sequence: "
            "`torch.multinomial`."
        )
    logits = p.log() + 5
    known = {
        "the logits were used as probabilities; take a softmax first.": logits / logits.sum(),
        "the softmax was taken twice.": p.softmax(0),
        "all tokens were equally likely.": torch.full((3,), 1 / 3),
        "the logits were multiplied by 2, a temperature of 1/2: do not scale them.": (logits * 2).softmax(0),
        "the logits were divided by 2, a temperature of 2: do not scale them.": (logits / 2).softmax(0),
    }
    for sentence, wrong in known.items():
        if (found - wrong).abs().max() < 0.03:
            return drawn + sentence
    return drawn + "draw with the softmax of the last position's logits."


def _generate_seed(generate: Generate) -> str | None:
    start = torch.zeros(2, 1, dtype=torch.long)
    first, again, other = (generate(FixedDistribution(), start, 40, BLOCK, seed) for seed in (1, 1, 2))
    if not torch.equal(first, again):
        return "The same seed gave two different texts: draw from `torch.Generator().manual_seed(seed)`."
    if torch.equal(first, other):
        return "Two seeds gave the same text: draw from `torch.Generator().manual_seed(seed)`."
    if (first[:, 1:] == first[:, 1:2]).all():
        return "The same token is drawn at every step: create the generator once, before the loop."
    return None


def _generate_modes(generate: Generate) -> str | None:
    model = SuccessorModel()
    generate(model, _prompt(), 3, BLOCK, 1)
    if any(model.training_modes):
        return "Dropout would be on during generation: call `model.eval()` first."
    if any(model.gradient_modes):
        return "It kept what gradients would need: put `@torch.no_grad()` above the function."
    return None


# GPT


def _decoder(gpt: Callable[..., nn.Module], **changes: int) -> nn.Module:
    return build(gpt, **{**SIZES, **changes})


def _tokens(length: int = BLOCK) -> Tensor:
    return torch.randint(V, (2, length))


def _gpt_shape(gpt: Callable[..., nn.Module]) -> str | None:
    for length in (BLOCK, 5):
        if fault := shape_fault(_decoder(gpt)(_tokens(length)), "B T V", {"B": 2, "T": length, "V": V}):
            return fault
    return None


def _gpt_parameters(gpt: Callable[..., nn.Module]) -> str | None:
    count = parameter_count(gpt(**SIZES))
    parts = _weights_in(V, BLOCK, LAYERS, C)
    total, block = sum(parts.values()), 12 * C * C + 10 * C
    gap = count - total
    biases = (0, 3 * C), (0, -C), (0, -C, -4 * C, -5 * C)  # of q, k and v, of the projection, of the network
    free = sorted({LAYERS * sum(some) + head for some in itertools.product(*biases) for head in (0, -V)}, key=abs)
    if gap in free:
        return None
    known = {
        -LAYERS * block: "Its blocks are not found: in a Python list they are never trained. Use `nn.Sequential` or "
        "`nn.ModuleList`.",
        (1 - LAYERS)
        * block: f"It has one block for n_layer = {LAYERS}: `[Block(...)] * n_layer` repeats the same one.",
        -2 * C: "The last norm is missing, between the blocks and the head.",
        -BLOCK * C: "The positions are missing, or not trained: one vector per position of the block.",
        -V * C: "The head shares its weights with the token table, or one of them is missing: here each has its own.",
    }
    listed = ", ".join(f"{number} ({name})" for name, number in parts.items())
    return next(
        (known[gap - one] for one in free if gap - one in known),
        f"It has {count} parameters, and should have {total}: {listed}.",
    )


def _gpt_logits(gpt: Callable[..., nn.Module]) -> str | None:
    sums = _decoder(gpt)(_tokens()).exp().sum(-1), _decoder(gpt)(_tokens()).sum(-1)
    if torch.allclose(sums[1], torch.ones_like(sums[1]), atol=1e-3):
        return "It returns probabilities: return the logits; the loss takes the softmax."
    if torch.allclose(sums[0], torch.ones_like(sums[0]), atol=1e-3):
        return "It returns log-probabilities: return the logits; the loss takes the softmax."
    return None


def _gpt_future(gpt: Callable[..., nn.Module]) -> str | None:
    return causality_fault(_decoder(gpt), torch.randint(V, (1, BLOCK)), FUTURE_VISIBLE)


def _gpt_past(gpt: Callable[..., nn.Module]) -> str | None:
    model, idx = _decoder(gpt), torch.tensor([[1, 2, 3, 4, 5]])
    if fault := past_fault(model, idx, "no position attends to another. Is there attention in each block?"):
        return fault
    swapped, model = torch.tensor([[2, 1, 3, 4, 5]]), _decoder(gpt, n_layer=1)  # several blocks notice anyway
    with torch.no_grad():
        change = (model(idx)[0, -1] - model(swapped)[0, -1]).abs().max().item()
    if change > 1e-4:
        return None
    return "Swapping the first two tokens does not change the last position: add the positions to the tokens."


@torch.no_grad()
def _gpt_stream(gpt: Callable[..., nn.Module]) -> str | None:
    """Check that the embeddings reach the last norm: if they are very large, they should dominate the stream."""
    model, large = _decoder(gpt), 1e5
    tables = [p for p in model.parameters() if p.numel() in (V * C, BLOCK * C)]
    if len(tables) != 3:  # tokens, positions and the head, of the tokens' shape; stored otherwise, they are not found
        return None
    for table in tables:
        table.mul_(large)
    idx = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 5]])
    one, other = model(idx)[:, -1]
    if one.abs().max() > 100 * large:
        return "The input of the head is not normalised: the last norm comes between the blocks and the head."
    if (one - other).abs().max() < 0.01 * one.abs().max():
        return None
    return (
        "The stream does not reach the last norm from the embeddings. A block only adds to it, twice, the output of a "
        "part that reads a normalised copy: `x + part(norm(x))`."
    )


def _gpt_start(gpt: Callable[..., nn.Module]) -> str | None:
    model = gpt(**{**SIZES, "vocab_size": 65}).eval()
    idx, targets = torch.randint(65, (2, 64, BLOCK))
    with torch.no_grad():
        loss = cross_entropy(model(idx), targets).item()
    if abs(loss - math.log(65)) < 0.12:
        return None
    return (
        f"Untrained and with 65 characters, its loss is {loss:.2f}, and equal probabilities cost ln 65 = "
        f"{math.log(65):.2f}: it is sure of nonsense. Initialise linear layers and embeddings with a deviation of 0.02."
    )


def _large_head_loss() -> Outcome:
    model = GPT(65, block_size=64, n_embd=96, dropout=0.0)
    nn.init.normal_(model.lm_head.weight, std=0.2)
    idx, targets = torch.randint(65, (2, 32, 64))
    with torch.no_grad():
        loss = cross_entropy(model(idx), targets).item()
    return Outcome(
        loss,
        f"It starts at {loss:.2f}. A logit is a sum of 96 products of size 0.2, and so of size 0.2 · √96 = 1.96; as in "
        "section 1 the excess is half its square, and 4.17 + 1.92 = 6.09. The loss is a little less, because 65 "
        "characters miss most of the rare large e^z.",
    )


EXERCISES = (
    Exercise(
        name="count_weights",
        task="Count with pencil and paper, and write a formula: how many parameters does the decoder of this section "
        "have, for any vocabulary, block, depth and width?",
        heading="Where the ten million are",
        checks=(Check("a whole number", _count_number), Check("the right number", _count_value)),
    ),
    Exercise(
        name="generate",
        task="Generate text: ask a model for the next token, draw with its probabilities, append, and ask again. Never "
        "give the model more than block_size tokens. The seed decides what is drawn.",
        heading="The next token, and the next",
        checks=(
            Check("the shape", _generate_shape),
            Check("the prompt is kept", _generate_prompt),
            Check("a block at most", _generate_crops),
            Check("the last position predicts", _generate_last),
            Check("drawn with the probabilities", _generate_draws),
            Check("the seed decides", _generate_seed),
            Check("no dropout, no gradients", _generate_modes),
        ),
    ),
    Exercise(
        name="GPT",
        task="Put the decoder together: tokens plus positions, pre-norm blocks of attention and feed-forward network, "
        "a last norm, and a head with its own weights. Initialise linear layers and embeddings with a standard "
        "deviation of 0.02 (`init_weights` of section 10 does), so that untrained it knows nothing. You may import "
        "everything from the sections before.",
        heading="# 10. The whole decoder: a GPT",
        checks=(
            Check("a module", lambda gpt: module_fault(gpt, **SIZES)),
            Check("the shape", _gpt_shape),
            Check("every part is there", _gpt_parameters),
            Check("logits", _gpt_logits),
            Check("the future stays hidden", _gpt_future),
            Check("the past is used, in its order", _gpt_past),
            Check("a stream from end to end", _gpt_stream),
            Check("untrained, it knows nothing", _gpt_start),
            Check("every layer learns", lambda gpt: unused_parameter_fault(_decoder(gpt), _tokens())),
        ),
    ),
    prediction_exercise(
        name="LOSS_WHEN_TEN_TIMES_AS_LARGE",
        task="The decoder starts with weights of size 0.02, and over 65 characters with a loss of about ln 65 = 4.17. "
        "Let the weights of its head, and no others, have size 0.2. The head reads 96 channels, which the last norm "
        "has brought to size 1. What is its first loss, in nats, to within 0.5? (How large is a sum of 96 such "
        "products? Section 1 shows what logits of that size cost.)",
        heading="Training",
        within=0.5,
        experiment=_large_head_loss,
    ),
)
