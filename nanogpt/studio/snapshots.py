"""What a checkpoint does with a prompt: its text, attention and logit lens, and the HTML that shows them.

Shapes: L layers, H heads, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from nanogpt.errors import UserError
from nanogpt.explain.predictions import visible_text
from nanogpt.explain.residual_stream import logit_lens_at
from nanogpt.explain.trace import trace_text
from nanogpt.studio.registry import RunRegistry

MAX_SHOWN = 20
"""Tokens of the prompt whose attention is shown, the newest."""
MAX_TOKENS = 300
LENS_CHOICES = 3
MIN_SHARE = 0.02
"""Attention below this is left out of the description."""


@dataclass(frozen=True, kw_only=True)
class SnapshotQuery:
    """What every checkpoint is asked."""

    prompt: str = ""
    tokens: int = 120
    temperature: float = 0.0
    """0 takes the likeliest token, so that every change between checkpoints was learned"""
    seed: int = 1337


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The answers of the checkpoint of a step."""

    step: int
    model: str
    """hash of the weights"""
    prompt: str
    text: str
    """continuation of the prompt"""
    tokens: tuple[str, ...]
    """tokens of the prompt, (T,)"""
    attention: list[list[list[list[float]]]]
    """(L, H, T, T); each row sums to 1"""
    lens: list[list[tuple[str, float]]]
    """after the embeddings and each layer: the likeliest tokens after the prompt, with their probabilities"""
    skipped: int
    """tokens of the prompt before `tokens`"""

    def weights(self, layer: int, head: int | None) -> list[list[float]]:
        """Return the attention (T, T) of one head, or a layer's mean; numbers beyond the last mean the last."""
        heads = self.attention[min(layer, len(self.attention) - 1)]
        if head is not None:
            return heads[min(head, len(heads) - 1)]
        size = range(len(self.tokens))
        return [[sum(one[i][j] for one in heads) / len(heads) for j in size] for i in size]


def take_snapshot(registry: RunRegistry, name: str, step: int, query: SnapshotQuery) -> Snapshot:
    """Ask the checkpoint of a step; unknown characters are left out. Slow: not for the event loop.

    Raises UserError if the checkpoint is missing or damaged.
    """
    try:
        run = registry.open(name, checkpoint=step)
        lock = registry.lock_of(run)
    except (OSError, KeyError):  # a running training drops old checkpoints
        raise UserError(f"the weights of step {step:,} have just been dropped: choose another step") from None
    with lock:
        tokens = min(query.tokens, MAX_TOKENS)
        text = "".join(run.stream(query.prompt, "skip", tokens=tokens, temperature=query.temperature, seed=query.seed))
        found = trace_text(run, query.prompt, unknown="skip")
        likeliest = logit_lens_at(run.model, found, -1).softmax(-1).topk(min(LENS_CHOICES, run.tokenizer.vocab_size))
    first = max(0, len(found.ids) - MAX_SHOWN)
    return Snapshot(
        step=step,
        model=registry.hash_of(run),
        prompt=query.prompt,
        text=text,
        tokens=tuple(visible_text(run.tokenizer, token) for token in found.ids[first:]),
        attention=found.attention[:, :, first:, first:].tolist(),
        lens=[
            [(visible_text(run.tokenizer, token), share) for token, share in zip(ids, shares)]
            for ids, shares in zip(likeliest.indices.tolist(), likeliest.values.tolist())
        ],
        skipped=found.skipped + first,
    )


def draw_attention(tokens: Sequence[str], weights: Sequence[Sequence[float]], label: str) -> str:
    """Return attention (T, T) as HTML: a square for each pair of tokens, and a description for screen readers."""
    T = len(tokens)
    cells = "".join(
        f'<rect x="{column + 1.5}" y="{row}" width="1" height="1" style="--weight:{weights[row][column]:.2f}">'
        f"<title>{escape(tokens[row])} looks at {escape(tokens[column])}: {weights[row][column]:.2f}</title></rect>"
        for row in range(T)
        for column in range(row + 1)
    )
    rows = "".join(f'<text x="1" y="{row + 0.72}">{escape(tokens[row][:4])}</text>' for row in range(T))
    columns = "".join(
        f'<text x="{column + 2}" y="{T + 0.9}" class="below">{escape(tokens[column][:4])}</text>' for column in range(T)
    )
    described = escape(f"{label}. {describe_attention(tokens, weights)}")
    return (
        f'<div role="img" aria-label="{described}"><svg class="attention" viewBox="-0.6 0 {T + 2.4} {T + 1.3}" '
        f'aria-hidden="true">{cells}{rows}{columns}</svg></div>'
    )


def describe_attention(tokens: Sequence[str], weights: Sequence[Sequence[float]], most: int = 4) -> str:
    """Return in words what the last token attends to.

    >>> describe_attention(["t", "h", "e"], [[1, 0, 0], [0.5, 0.5, 0], [0.7, 0.3, 0.0]])
    'The last token, e, looks at t (1st, 70 %), h (2nd, 30 %).'
    """
    last = weights[-1]
    order = sorted(range(len(last)), key=lambda position: -last[position])[:most]
    seen = [f"{tokens[one]} ({ordinal(one + 1)}, {last[one]:.0%})" for one in order if last[one] >= MIN_SHARE]
    return f"The last token, {tokens[-1]}, looks at {', '.join(seen).replace('%', ' %')}."


def ordinal(number: int) -> str:
    """Return a number as an ordinal.

    >>> [ordinal(one) for one in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    end = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{end}"


def attention_table(tokens: Sequence[str], weights: Sequence[Sequence[float]]) -> str:
    """Return what each token attends to most, as an HTML table."""
    rows = ""
    for position, token in enumerate(tokens):
        row = weights[position]
        first = sorted(range(position + 1), key=lambda one: -row[one])[:3]
        seen = ", ".join(f"{tokens[one]} ({ordinal(one + 1)}) {100 * row[one]:.0f} %" for one in first)
        rows += f'<tr><th scope="row">{ordinal(position + 1)}: {escape(token)}</th><td>{escape(seen)}</td></tr>'
    head = '<tr><th scope="col">Token</th><th scope="col">Looks most at</th></tr>'
    return f'<table class="numbers"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def lens_table(lens: Sequence[Sequence[tuple[str, float]]]) -> str:
    """Return the logit lens as an HTML table, with a bar behind each token as long as it is likely."""
    head = "".join(f'<th scope="col">{ordinal(number + 1)}</th>' for number in range(max(map(len, lens))))
    rows = ""
    for layer, tokens in enumerate(lens):
        cells = "".join(
            f'<td><span class="likely" style="--share:{share:.3f}"><b>{escape(token)}</b> {100 * share:.0f} %</span>'
            "</td>"
            for token, share in tokens
        )
        rows += f'<tr><th scope="row">{f"layer {layer}" if layer else "embeddings"}</th>{cells}</tr>'
    head = f'<tr><th scope="col">After</th>{head}</tr>'
    return f'<table class="numbers lens"><thead>{head}</thead><tbody>{rows}</tbody></table>'
