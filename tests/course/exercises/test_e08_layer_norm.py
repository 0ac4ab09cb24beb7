"""Answers to the exercises of section 8: what is wrong is caught by its check, what is right passes."""

import pytest

NORM, BLOCK = "LayerNorm", "PreNormBlock"
VALUE, GAIN, ADD = "the right numbers", "gain and shift at work", "normalise, then add"
MEAN = "mean = x.mean(dim=-1, keepdim=True)"
VARIANCE = "variance = x.var(dim=-1, keepdim=True, unbiased=False)"
NORMALISED = "normalised = (x - mean) / torch.sqrt(variance + self.epsilon)"
RESULT = "return normalised * self.gain + self.shift"
FIRST = "x = x + self.attention(self.norm_attention(x))"
SECOND = "return x + self.feed_forward(self.norm_feed_forward(x))"
N2 = "self.norm_feed_forward = LayerNorm(n_embd)"


def over(dims: str) -> list[tuple[str, str]]:
    return [(MEAN, MEAN.replace("dim=-1", f"dim={dims}")), (VARIANCE, VARIANCE.replace("dim=-1", f"dim={dims}"))]


def forward(*lines: str) -> list[tuple[str, str]]:
    return [(FIRST, "\n        ".join(lines)), (SECOND, "")]


WRONG = {
    "epsilon must be given": (NORM, "a module", "the stub's arguments", [("epsilon: float = 1e-5", "epsilon: float")]),
    "the mean lost its dimension": (NORM, "the shape", "different sizes", [(MEAN, "mean = x.mean(dim=-1)")]),
    "the statistics returned": (NORM, "the shape", "tuple", [(RESULT, RESULT + ", mean")]),
    "three dimensions only": (NORM, "a single vector, of equal numbers", "Dimension out of range", over("2")),
    "gain and shift as tensors": (
        NORM,
        "gain and shift to learn",
        "A plain tensor or a buffer is not trained",
        [
            ("nn.Parameter(torch.ones(n_embd))", "torch.ones(n_embd)"),
            ("nn.Parameter(torch.zeros(n_embd))", "torch.zeros(n_embd)"),
        ],
    ),
    "no shift": (
        NORM,
        "gain and shift to learn",
        "gain or shift is missing",
        [("self.shift = nn.Parameter(torch.zeros(n_embd))", ""), (RESULT, "return normalised * self.gain")],
    ),
    "one gain for all channels": (
        NORM,
        "gain and shift to learn",
        "one gain and one shift in all",
        [("torch.ones(n_embd)", "torch.ones(1)"), ("torch.zeros(n_embd)", "torch.zeros(1)")],
    ),
    "epsilon learned": (
        NORM,
        "gain and shift to learn",
        "It has 11 numbers",
        [("self.epsilon = epsilon", "self.epsilon = nn.Parameter(torch.tensor(epsilon))")],
    ),
    "over the positions": (
        NORM,
        VALUE,
        "over the positions of a piece",
        over("1"),
    ),
    "over the batch": (NORM, VALUE, "over the batch", over("0")),
    "as batch normalisation does": (NORM, VALUE, "as batch normalisation", over("tuple(range(max(1, x.dim() - 1)))")),
    "over everything": (NORM, VALUE, "all numbers at once", over("tuple(range(x.dim()))")),
    "over a whole piece": (NORM, VALUE, "a whole piece at once", over("tuple(range(x.dim()))[-2:]")),
    "divided by C - 1": (NORM, VALUE, "divided by C - 1", [(", unbiased=False", "")]),
    "mean not subtracted": (NORM, VALUE, "The mean is not subtracted", [("(x - mean)", "x")]),
    "RMSNorm": (
        NORM,
        VALUE,
        "RMSNorm",
        [("(x - mean)", "x"), (VARIANCE, "variance = (x * x).mean(dim=-1, keepdim=True)")],
    ),
    "divided by the variance": (
        NORM,
        VALUE,
        "divide by its square root",
        [("torch.sqrt(variance + self.epsilon)", "(variance + self.epsilon)")],
    ),
    "nothing divided": (NORM, VALUE, "nothing is divided", [(" / torch.sqrt(variance + self.epsilon)", "")]),
    "multiplied": (NORM, VALUE, "where it should divide", [(" / torch", " * torch")]),
    "gain starts at 0": (NORM, VALUE, "gain start at 1", [("torch.ones(n_embd)", "torch.zeros(n_embd)")]),
    "shift starts at 1": (NORM, VALUE, "shift start at 0", [("torch.zeros(n_embd)", "torch.ones(n_embd)")]),
    "no epsilon": (NORM, "a single vector, of equal numbers", "add epsilon", [("variance + self.epsilon", "variance")]),
    "epsilon outside of the root": (
        NORM,
        "epsilon in its place",
        "outside of the square root",
        [("torch.sqrt(variance + self.epsilon)", "(torch.sqrt(variance) + self.epsilon)")],
    ),
    "epsilon squared": (
        NORM,
        "epsilon in its place",
        "plus epsilon squared",
        [("+ self.epsilon)", "+ self.epsilon**2)")],
    ),
    "epsilon too large": (NORM, "epsilon in its place", "is right", [("+ self.epsilon)", "+ 2 * self.epsilon)")]),
    "epsilon not asked for": (
        NORM,
        "epsilon in its place",
        "Given another epsilon",
        [("self.epsilon = epsilon", "self.epsilon = 1e-5")],
    ),
    "the deviation clamped": (
        NORM,
        "epsilon in its place",
        "Epsilon has no effect",
        [("torch.sqrt(variance + self.epsilon)", "torch.sqrt(variance).clamp(min=self.epsilon)")],
    ),
    "shift before gain": (
        NORM,
        GAIN,
        "multiply first, then add",
        [(RESULT, "return (normalised + self.shift) * self.gain")],
    ),
    "gain and shift unused": (NORM, GAIN, "have no effect", [(RESULT, "return normalised")]),
    "shift unused": (NORM, GAIN, "The shift has no effect", [(RESULT, "return normalised * self.gain")]),
    "gain unused": (NORM, GAIN, "The gain has no effect", [(RESULT, "return normalised + self.shift")]),
    "gain and shift too early": (
        NORM,
        GAIN,
        "they come after it",
        [(MEAN, "x = x * self.gain + self.shift\n        " + MEAN), (RESULT, "return normalised")],
    ),
    "in place": (
        NORM,
        "the input is left alone",
        "It changed the tensor",
        [(NORMALISED, "x -= mean\n        normalised = x / torch.sqrt(variance + self.epsilon)")],
    ),
    "statistics cut off": (
        NORM,
        "gradients pass through",
        "Mean and deviation is cut off",
        [(MEAN, MEAN + ".detach()"), (VARIANCE, VARIANCE + ".detach()")],
    ),
    "deviation cut off": (
        NORM,
        "gradients pass through",
        "The deviation is cut off",
        [(VARIANCE, VARIANCE + ".detach()")],
    ),
    "all cut off": (
        NORM,
        "gradients pass through",
        "No gradient",
        [(RESULT, "return (normalised * self.gain + self.shift).detach()")],
    ),
    "the parts alone": (
        BLOCK,
        "a module",
        "the stub's arguments",
        [("feed_forward: nn.Module, n_embd: int", "feed_forward: nn.Module")],
    ),
    "what was added, not the stream": (
        BLOCK,
        "the shape",
        "(2, 7, 10)",
        forward("return torch.cat([self.attention(x), self.feed_forward(x)], -1)"),
    ),
    "one norm for both": (
        BLOCK,
        "two norms of its own",
        "one norm for both",
        [(N2, "self.norm_feed_forward = self.norm_attention")],
    ),
    "norms with nothing to shift": (
        BLOCK,
        "two norms of its own",
        "or two without a shift",
        [
            ("self.norm_attention = LayerNorm(n_embd)\n", "self.norm_attention = nn.LayerNorm(n_embd, bias=False)\n"),
            (N2, "self.norm_feed_forward = nn.LayerNorm(n_embd, bias=False)"),
        ],
    ),
    "norms made anew": (
        BLOCK,
        "two norms of its own",
        "Its norms are not found",
        [
            ("self.norm_attention = LayerNorm(n_embd)\n", "\n"),
            (N2, ""),
            (FIRST, "x = x + self.attention(LayerNorm(5)(x))"),
            (SECOND, "return x + self.feed_forward(LayerNorm(5)(x))"),
        ],
    ),
    "parts in a list": (
        BLOCK,
        "two norms of its own",
        "Its two parts are not found",
        [
            ("self.attention = attention", "self.parts = [attention, feed_forward]"),
            ("self.feed_forward = feed_forward", ""),
            (FIRST, "x = x + self.parts[0](self.norm_attention(x))"),
            (SECOND, "return x + self.parts[1](self.norm_feed_forward(x))"),
        ],
    ),
    "three norms": (
        BLOCK,
        "two norms of its own",
        "two norms have 20",
        [(N2, N2 + "\n        self.last = LayerNorm(n_embd)")],
    ),
    "post-norm": (
        BLOCK,
        ADD,
        "as the paper does",
        forward(
            "x = self.norm_attention(x + self.attention(x))", "return self.norm_feed_forward(x + self.feed_forward(x))"
        ),
    ),
    "no residual": (
        BLOCK,
        ADD,
        "Nothing is added",
        forward("x = self.attention(self.norm_attention(x))", "return self.feed_forward(self.norm_feed_forward(x))"),
    ),
    "the copy takes the stream's place": (
        BLOCK,
        ADD,
        "takes the stream's place",
        forward(
            "x = self.norm_attention(x)",
            "x = x + self.attention(x)",
            "x = self.norm_feed_forward(x)",
            "return x + self.feed_forward(x)",
        ),
    ),
    "what is said is normalised": (
        BLOCK,
        ADD,
        "What each part says is normalised",
        forward(
            "x = x + self.norm_attention(self.attention(x))", "return x + self.norm_feed_forward(self.feed_forward(x))"
        ),
    ),
    "the network reads the stream": (
        BLOCK,
        ADD,
        "The feed-forward network reads the stream",
        [(SECOND, "return x + self.feed_forward(x)")],
    ),
    "attention reads the stream": (BLOCK, ADD, "Attention reads the stream", [(FIRST, "x = x + self.attention(x)")]),
    "no norm at all": (
        BLOCK,
        ADD,
        "no normalisation in it",
        [(FIRST, "x = x + self.attention(x)"), (SECOND, "return x + self.feed_forward(x)")],
    ),
    "both read the same": (
        BLOCK,
        ADD,
        "Both parts read the same x",
        forward("return x + self.attention(self.norm_attention(x)) + self.feed_forward(self.norm_feed_forward(x))"),
    ),
    "added in place": (
        BLOCK,
        "the input is left alone",
        "It changed the tensor",
        [(FIRST, FIRST.replace("x = x +", "x +="))],
    ),
    "the network cut off": (BLOCK, "every layer learns", "has no say", [(SECOND, SECOND + ".detach()")]),
}

RIGHT = {
    "the section's": (NORM, "from course.s08_layer_norm import LayerNorm\n"),
    "torch's module inside": (
        NORM,
        "class LayerNorm(nn.Module):\n"
        "    def __init__(self, n, epsilon=1e-5):\n"
        "        super().__init__()\n"
        "        self.inner = nn.LayerNorm(n, eps=epsilon)\n"
        "    def forward(self, x):\n"
        "        return self.inner(x)\n",
    ),
    "torch's own": (NORM, "LayerNorm = nn.LayerNorm\n"),
    "gain counted from 1, by std": (
        NORM,
        "class LayerNorm(nn.Module):\n"
        "    def __init__(self, n, epsilon=1e-5):\n"
        "        super().__init__()\n"
        "        self.b, self.g = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))\n"
        "        self.e = epsilon\n"
        "    def forward(self, x):\n"
        "        d = x - torch.einsum('...c->...', x)[..., None] / x.shape[-1]\n"
        "        return d * (d.pow(2).mean(-1, True) + self.e) ** -0.5 * (1 + self.g) + self.b\n",
    ),
    "gain and shift in one": (
        NORM,
        "class LayerNorm(nn.Module):\n"
        "    def __init__(self, n, epsilon=1e-5):\n"
        "        super().__init__()\n"
        "        self.both = nn.Parameter(torch.stack([torch.ones(n), torch.zeros(n)]))\n"
        "        self.epsilon = epsilon\n"
        "    def forward(self, x):\n"
        "        gain, shift = self.both\n"
        "        return F.layer_norm(x, (len(gain),), gain, shift, self.epsilon)\n",
    ),
    "gain and shift of three dimensions, in double precision": (
        NORM,
        [
            ("torch.ones(n_embd)", "torch.ones(1, 1, n_embd)"),
            ("torch.zeros(n_embd)", "torch.zeros(1, 1, n_embd)"),
            (MEAN, "x = x.double()\n        " + MEAN),
        ],
    ),
    "torch's group of all channels": (
        NORM,
        "class LayerNorm(nn.Module):\n"
        "    def __init__(self, n, epsilon=1e-5):\n"
        "        super().__init__()\n"
        "        self.norm = nn.GroupNorm(1, n, eps=epsilon)\n"
        "    def forward(self, x):\n"
        "        return self.norm(x.reshape(-1, x.shape[-1])).view(x.shape)\n",
    ),
    "by moments": (NORM, [(VARIANCE, "variance = (x * x).mean(dim=-1, keepdim=True) - mean**2")]),
    "the section's block": (BLOCK, "from course.s08_layer_norm import PreNormBlock\n"),
    "with dropout": (
        BLOCK,
        [
            (
                SECOND,
                "return x + nn.functional.dropout(self.feed_forward(self.norm_feed_forward(x)), 0.2, self.training)",
            )
        ],
    ),
    "gains and shifts of its own": (
        BLOCK,
        "class PreNormBlock(nn.Module):\n"
        "    def __init__(self, a, f, n):\n"
        "        super().__init__()\n"
        "        self.a, self.f = a, f\n"
        "        self.gain, self.shift = nn.Parameter(torch.ones(2, n)), nn.Parameter(torch.zeros(2, n))\n"
        "    def forward(self, x):\n"
        "        for part, gain, shift in zip((self.a, self.f), self.gain, self.shift):\n"
        "            x = x + part(F.layer_norm(x, gain.shape, gain, shift))\n"
        "        return x\n",
    ),
    "torch's norms, in a loop": (
        BLOCK,
        "class PreNormBlock(nn.Module):\n"
        "    def __init__(self, a, f, n):\n"
        "        super().__init__()\n"
        "        self.parts = nn.ModuleList([nn.Sequential(nn.LayerNorm(n), part) for part in (a, f)])\n"
        "    def forward(self, x):\n"
        "        for part in self.parts:\n"
        "            x = x + part(x)\n"
        "        return x\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s08", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s08", *RIGHT[variant])
