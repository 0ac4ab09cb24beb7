def mean(*lines: str) -> str:
    return "def running_mean(x):\n    B, T, C = x.shape\n" + "".join(f"    {line}\n" for line in lines)


def weights(*lines: str) -> str:
    return (
        "def masked_weights(scores):\n    T = scores.shape[-1]\n    future = torch.ones(T, T).triu(1).bool()\n"
        + "".join(f"    {line}\n" for line in lines)
    )


# fmt: off
WRONG = {
    ("running_mean", "the shape, for any B, T and C"): {
        "the mean without the dimension": ("(B, C)", mean("return x.mean(1)")),
        "a fixed length": ("different sizes", mean("return x.cumsum(1) / torch.arange(1, 8)[:, None]"))},
    ("running_mean", "the future stays hidden"): {
        "the mean of all": ("Position 5 changed when only position 6", mean("return x.mean(1, keepdim=True).expand(B, T, C)")),
        "the past from the end": ("what comes later", mean("return x.flip(1).cumsum(1).flip(1) / T")),
        "one too far": ("Stop at the position itself", mean("return torch.stack([x[:, : t + 2].mean(1) for t in range(T)], 1)"))},
    ("running_mean", "the right numbers"): {
        "never divided": ("never divides", mean("return x.cumsum(1)")),
        "divided by T": ("divides by T everywhere", mean("return x.cumsum(1) / T")),
        "divided by one too few": ("one too few", mean("return x.cumsum(1) / torch.arange(T).clamp(min=1)[:, None]")),
        "itself left out": ("leaves itself out", mean("return (x.cumsum(1) - x) / torch.arange(T).clamp(min=1)[:, None]")),
        "along the batch": ("sums over the batch", mean("return x.cumsum(0) / torch.arange(1, T + 1)[:, None]")),
        "along the channels": ("over the channels", mean("return x.cumsum(2) / torch.arange(1, T + 1)[:, None]")),
        "the input": ("returns its input", mean("return x"))},
    ("running_mean", "a sequence of one position"): {
        "one position by T - 1": ("position 0, channel", mean("return x.cumsum(1) / torch.arange(1, T + 1)[:, None] if T > 1 else x * 0"))},
    ("running_mean", "the input is left alone"): {
        "in place": ("instead of `x += ...`", mean("for t in range(1, T):", "    x[:, t] += x[:, t - 1]", "return x / torch.arange(1, T + 1)[:, None]"))},
    ("running_mean", "gradients pass through"): {
        "cut off": ("No gradient passes", mean("return torch.tensor(x.tolist()).cumsum(1) / torch.arange(1, T + 1)[:, None]"))},
    ("masked_weights", "the shape, with a batch and without"): {
        "one row only": ("(T, T)", weights("return scores.masked_fill(future, -torch.inf).softmax(-1)[..., -1, :]"))},
    ("masked_weights", "each row sums to 1"): {
        "down the columns": ("The columns sum to 1", weights("return scores.masked_fill(future, -torch.inf).softmax(-2)")),
        "mask after softmax": ("The mask comes after the softmax", weights("return scores.softmax(-1).masked_fill(future, 0.0)")),
        "no softmax": ("the softmax is missing", weights("return scores.masked_fill(future, 0.0)")),
        "powers not divided": ("should sum to 1", weights("return scores.exp().masked_fill(future, 0.0)")),
        "the diagonal masked": ("Row 0 is all NaN", weights("return scores.masked_fill(torch.ones(T, T).triu().bool(), -torch.inf).softmax(-1)")),
        "everything masked": ("a whole row", weights("return scores.masked_fill(torch.ones(T, T).bool(), -torch.inf).softmax(-1)"))},
    ("masked_weights", "the future stays hidden"): {
        "no mask": ("there is no mask", weights("return scores.softmax(-1)")),
        "zeros for -inf": ("e^0 = 1 still gets a share", weights("return scores.masked_fill(future, 0.0).softmax(-1)")),
        "one too far, weights": ("The diagonal is the last", weights("return scores.masked_fill(torch.ones(T, T).triu(2).bool(), -torch.inf).softmax(-1)")),
        "upside down": ("the wrong way round", weights("return scores.masked_fill(torch.ones(T, T).tril(-1).bool(), -torch.inf).softmax(-1)")),
        "the diagonal masked with a large number": ("hides the diagonal", weights("return scores.masked_fill(torch.ones(T, T).triu().bool(), -1e9).softmax(-1)")),
        "a window": ("does not attend to position", weights("old = torch.ones(T, T).tril(-3).bool()", "return scores.masked_fill(future | old, -1e9).softmax(-1)"))},
    ("masked_weights", "the right numbers"): {
        "alike": ("are equal", weights("return (scores * 0).masked_fill(future, -torch.inf).softmax(-1)")),
        "turned": ("The sign of the scores", weights("return (-scores).masked_fill(future, -torch.inf).softmax(-1)"))},
    ("masked_weights", "the input is left alone"): {
        "masked in place": ("instead of `masked_fill_`", weights("return scores.masked_fill_(future, -torch.inf).softmax(-1)"))},
    ("masked_weights", "gradients pass through"): {
        "without gradient": ("torch.no_grad()", weights("with torch.no_grad():", "    return scores.masked_fill(future, -torch.inf).softmax(-1)"))},
}
RIGHT = {
    "running_mean": {
        "loop": mean("out = torch.empty_like(x)", "for b in range(B):", "    for t in range(T):", "        out[b, t] = x[b, : t + 1].sum(0) / (t + 1)", "return out"),
        "cumsum": mean("return x.cumsum(1) / torch.arange(1, T + 1).view(1, T, 1)"),
        "softmax": mean("s = torch.zeros(T, T).masked_fill(torch.ones(T, T).tril() == 0, float('-inf'))", "return s.softmax(1) @ x"),
        "torch's own attention": mean("q = torch.zeros(B, T, 1)", "return F.scaled_dot_product_attention(q, q, x, is_causal=True)")},
    "masked_weights": {
        "a large negative number": weights("return scores.masked_fill(future, -1e9).softmax(-1)"),
        "powers": weights("p = scores.exp() * ~future", "return p / p.sum(-1, keepdim=True)"),
        "after softmax, and divided again": weights("w = scores.softmax(-1) * ~future", "return w / w.sum(-1, keepdim=True)")},
}
