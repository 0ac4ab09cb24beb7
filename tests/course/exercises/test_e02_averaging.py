"""Answers to the exercises of section 2: what is wrong is caught by its check, what is right passes."""

import pytest

MEAN, WEIGHTS = "running_mean", "masked_weights"


def mean(*lines: str) -> str:
    return "def running_mean(x):\n    B, T, C = x.shape\n" + "".join(f"    {line}\n" for line in lines)


def weights(*lines: str) -> str:
    return (
        "def masked_weights(scores):\n    T = scores.shape[-1]\n    future = torch.ones(T, T).triu(1).bool()\n"
        + "".join(f"    {line}\n" for line in lines)
    )


WRONG = {
    "the mean without the dimension": (
        MEAN,
        "the shape, for any B, T and C",
        "(B, C)",
        mean("return x.mean(1)"),
    ),
    "a fixed length": (
        MEAN,
        "the shape, for any B, T and C",
        "different sizes",
        mean("return x.cumsum(1) / torch.arange(1, 8)[:, None]"),
    ),
    "the mean of all": (
        MEAN,
        "the future stays hidden",
        "Position 5 changed when only position 6",
        mean("return x.mean(1, keepdim=True).expand(B, T, C)"),
    ),
    "the past from the end": (
        MEAN,
        "the future stays hidden",
        "comes after it",
        mean("return x.flip(1).cumsum(1).flip(1) / T"),
    ),
    "one too far": (
        MEAN,
        "the future stays hidden",
        "Stop at the position itself",
        mean("return torch.stack([x[:, : t + 2].mean(1) for t in range(T)], 1)"),
    ),
    "never divided": (MEAN, "the right numbers", "never divides", mean("return x.cumsum(1)")),
    "divided by T": (MEAN, "the right numbers", "divides by T everywhere", mean("return x.cumsum(1) / T")),
    "divided by one too few": (
        MEAN,
        "the right numbers",
        "one too few",
        mean("return x.cumsum(1) / torch.arange(T).clamp(min=1)[:, None]"),
    ),
    "itself left out": (
        MEAN,
        "the right numbers",
        "leaves itself out",
        mean("return (x.cumsum(1) - x) / torch.arange(T).clamp(min=1)[:, None]"),
    ),
    "along the batch": (
        MEAN,
        "the right numbers",
        "pieces of the batch",
        mean("return x.cumsum(0) / torch.arange(1, T + 1)[:, None]"),
    ),
    "along the channels": (
        MEAN,
        "the right numbers",
        "over the channels",
        mean("return x.cumsum(2) / torch.arange(1, T + 1)[:, None]"),
    ),
    "the input": (MEAN, "the right numbers", "returns its input", mean("return x")),
    "one position by T - 1": (
        MEAN,
        "a piece of one position",
        "position 0, channel",
        mean("return x.cumsum(1) / torch.arange(1, T + 1)[:, None] if T > 1 else x * 0"),
    ),
    "in place": (
        MEAN,
        "the input is left alone",
        "in place of `x += ...`",
        mean("for t in range(1, T):", "    x[:, t] += x[:, t - 1]", "return x / torch.arange(1, T + 1)[:, None]"),
    ),
    "cut off": (
        MEAN,
        "gradients pass through",
        "No gradient passes",
        mean("return torch.tensor(x.tolist()).cumsum(1) / torch.arange(1, T + 1)[:, None]"),
    ),
    "one row only": (
        WEIGHTS,
        "the shape, with a batch and without",
        "(T, T)",
        weights("return scores.masked_fill(future, -torch.inf).softmax(-1)[..., -1, :]"),
    ),
    "down the columns": (
        WEIGHTS,
        "each row sums to 1",
        "The columns sum to 1",
        weights("return scores.masked_fill(future, -torch.inf).softmax(-2)"),
    ),
    "mask after softmax": (
        WEIGHTS,
        "each row sums to 1",
        "The mask comes after the softmax",
        weights("return scores.softmax(-1).masked_fill(future, 0.0)"),
    ),
    "no softmax": (
        WEIGHTS,
        "each row sums to 1",
        "the softmax is missing",
        weights("return scores.masked_fill(future, 0.0)"),
    ),
    "powers not divided": (
        WEIGHTS,
        "each row sums to 1",
        "should share out 1",
        weights("return scores.exp().masked_fill(future, 0.0)"),
    ),
    "the diagonal masked": (
        WEIGHTS,
        "each row sums to 1",
        "Row 0 is all NaN",
        weights("return scores.masked_fill(torch.ones(T, T).triu().bool(), -torch.inf).softmax(-1)"),
    ),
    "everything masked": (
        WEIGHTS,
        "each row sums to 1",
        "from end to end",
        weights("return scores.masked_fill(torch.ones(T, T).bool(), -torch.inf).softmax(-1)"),
    ),
    "no mask": (WEIGHTS, "the future stays hidden", "there is no mask", weights("return scores.softmax(-1)")),
    "zeros for -inf": (
        WEIGHTS,
        "the future stays hidden",
        "e^0 = 1 still gets a share",
        weights("return scores.masked_fill(future, 0.0).softmax(-1)"),
    ),
    "one too far, weights": (
        WEIGHTS,
        "the future stays hidden",
        "by one. The diagonal is the last",
        weights("return scores.masked_fill(torch.ones(T, T).triu(2).bool(), -torch.inf).softmax(-1)"),
    ),
    "upside down": (
        WEIGHTS,
        "the future stays hidden",
        "the wrong way round",
        weights("return scores.masked_fill(torch.ones(T, T).tril(-1).bool(), -torch.inf).softmax(-1)"),
    ),
    "the diagonal masked with a large number": (
        WEIGHTS,
        "the future stays hidden",
        "hides the diagonal",
        weights("return scores.masked_fill(torch.ones(T, T).triu().bool(), -1e9).softmax(-1)"),
    ),
    "a window": (
        WEIGHTS,
        "the future stays hidden",
        "does not listen to position",
        weights("old = torch.ones(T, T).tril(-3).bool()", "return scores.masked_fill(future | old, -1e9).softmax(-1)"),
    ),
    "alike": (
        WEIGHTS,
        "the right numbers",
        "shares out alike",
        weights("return (scores * 0).masked_fill(future, -torch.inf).softmax(-1)"),
    ),
    "turned": (
        WEIGHTS,
        "the right numbers",
        "The sign of the scores",
        weights("return (-scores).masked_fill(future, -torch.inf).softmax(-1)"),
    ),
    "masked in place": (
        WEIGHTS,
        "the input is left alone",
        "`masked_fill` in place of `masked_fill_`",
        weights("return scores.masked_fill_(future, -torch.inf).softmax(-1)"),
    ),
    "without gradient": (
        WEIGHTS,
        "gradients pass through",
        "torch.no_grad()",
        weights("with torch.no_grad():", "    return scores.masked_fill(future, -torch.inf).softmax(-1)"),
    ),
}

RIGHT = {
    "loop": (
        MEAN,
        mean(
            "out = torch.empty_like(x)",
            "for b in range(B):",
            "    for t in range(T):",
            "        out[b, t] = x[b, : t + 1].sum(0) / (t + 1)",
            "return out",
        ),
    ),
    "cumsum": (MEAN, mean("return x.cumsum(1) / torch.arange(1, T + 1).view(1, T, 1)")),
    "matrix": (MEAN, mean("w = torch.ones(T, T).tril()", "return (w / w.sum(1, keepdim=True)) @ x")),
    "einsum": (
        MEAN,
        mean(
            "w = torch.tril(torch.ones(T, T)) / torch.arange(1, T + 1)[:, None]",
            "return torch.einsum('ts,bsc->btc', w, x)",
        ),
    ),
    "softmax": (
        MEAN,
        mean(
            "s = torch.zeros(T, T).masked_fill(torch.ones(T, T).tril() == 0, float('-inf'))", "return s.softmax(1) @ x"
        ),
    ),
    "running": (
        MEAN,
        mean(
            "m = [x[:, 0]]",
            "for t in range(1, T):",
            "    m.append(m[-1] + (x[:, t] - m[-1]) / (t + 1))",
            "return torch.stack(m, 1)",
        ),
    ),
    "torch's own attention": (
        MEAN,
        mean("q = torch.zeros(B, T, 1)", "return F.scaled_dot_product_attention(q, q, x, is_causal=True)"),
    ),
    "a large negative number": (WEIGHTS, weights("return scores.masked_fill(future, -1e9).softmax(-1)")),
    "added": (WEIGHTS, weights("return (scores + torch.zeros(T, T).masked_fill(future, -torch.inf)).softmax(-1)")),
    "where": (WEIGHTS, weights("return torch.where(future, torch.tensor(-torch.inf), scores).softmax(-1)")),
    "powers": (
        WEIGHTS,
        weights("p = scores.exp() * ~future", "return p / p.sum(-1, keepdim=True)"),
    ),
    "row by row": (
        WEIGHTS,
        weights(
            "rows = [F.pad(scores[..., t, : t + 1].softmax(-1), (0, T - 1 - t)) for t in range(T)]",
            "return torch.stack(rows, -2)",
        ),
    ),
    "after softmax, and divided again": (
        WEIGHTS,
        weights("w = scores.softmax(-1) * ~future", "return w / w.sum(-1, keepdim=True)"),
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s02", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s02", *RIGHT[variant])
