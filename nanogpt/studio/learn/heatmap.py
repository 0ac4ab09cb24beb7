"""Attention and lens as HTML, with the same in words."""

from collections.abc import Sequence
from html import escape

from nanogpt.studio.learn.history import Reading

WORTH_TELLING = 0.02


def draw_attention(tokens: Sequence[str], weights: Sequence[Sequence[float]], label: str) -> str:
    """Who looks at whom: a square for each pair, the stronger its colour the more, and a sentence on the last token."""
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
    told = escape(f"{label}. {tell_attention(tokens, weights)}")
    return (
        f'<div role="img" aria-label="{told}"><svg class="attention" viewBox="-0.6 0 {T + 2.4} {T + 1.3}" '
        f'aria-hidden="true">{cells}{rows}{columns}</svg></div>'
    )


def tell_attention(tokens: Sequence[str], weights: Sequence[Sequence[float]], most: int = 4) -> str:
    """What the last token looks at, in words.

    >>> tell_attention(["t", "h", "e"], [[1, 0, 0], [0.5, 0.5, 0], [0.7, 0.3, 0.0]])
    'The last token, e, looks at t (1st, 70 %), h (2nd, 30 %).'
    """
    last = weights[-1]
    places = sorted(range(len(last)), key=lambda place: -last[place])[:most]
    seen = [f"{tokens[one]} ({ordinal(one + 1)}, {last[one]:.0%})" for one in places if last[one] >= WORTH_TELLING]
    return f"The last token, {tokens[-1]}, looks at {', '.join(seen).replace('%', ' %')}."


def ordinal(number: int) -> str:
    """A place, as it is said.

    >>> [ordinal(one) for one in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    end = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{end}"


def attention_table(tokens: Sequence[str], weights: Sequence[Sequence[float]]) -> str:
    """What each token looks at most, as a table."""
    rows = ""
    for place, token in enumerate(tokens):
        row = weights[place]
        first = sorted(range(place + 1), key=lambda one: -row[one])[:3]
        seen = ", ".join(f"{tokens[one]} ({ordinal(one + 1)}) {100 * row[one]:.0f} %" for one in first)
        rows += f'<tr><th scope="row">{ordinal(place + 1)}: {escape(token)}</th><td>{escape(seen)}</td></tr>'
    head = '<tr><th scope="col">Token</th><th scope="col">Looks most at</th></tr>'
    return f'<table class="numbers"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def lens_table(readings: Sequence[Reading]) -> str:
    """What each layer would say next; a bar lies behind each token, as long as it is likely."""
    count = max(len(one.tokens) for one in readings)
    head = "".join(f'<th scope="col">{ordinal(number + 1)}</th>' for number in range(count))
    rows = ""
    for one in readings:
        name = "embeddings" if one.layer == 0 else f"block {one.layer}"
        cells = "".join(
            f'<td><span class="likely" style="--share:{share:.3f}"><b>{escape(token)}</b> {100 * share:.0f} %</span>'
            "</td>"
            for token, share in one.tokens
        )
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>'
    head = f'<tr><th scope="col">After</th>{head}</tr>'
    return f'<table class="numbers lens"><thead>{head}</thead><tbody>{rows}</tbody></table>'
