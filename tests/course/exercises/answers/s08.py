MEAN = "mean = x.mean(dim=-1, keepdim=True)"
VARIANCE = "variance = x.var(dim=-1, keepdim=True, unbiased=False)"
NORMALISED = "normalised = (x - mean) / torch.sqrt(variance + self.epsilon)"
RESULT = "return normalised * self.gain + self.shift"
FIRST = "x = x + self.attention(self.norm_attention(x))"
SECOND = "return x + self.feed_forward(self.norm_feed_forward(x))"
N2 = "self.norm_feed_forward = LayerNorm(n_embd)"


def over(dims: str) -> tuple[str, ...]:
    return MEAN, MEAN.replace("dim=-1", f"dim={dims}"), VARIANCE, VARIANCE.replace("dim=-1", f"dim={dims}")


def forward(*lines: str) -> tuple[str, ...]:
    return FIRST, "\n        ".join(lines), SECOND, ""


# fmt: off
WRONG = {
    ("LayerNorm", "a module"): {"epsilon must be given": ("the stub's arguments", "epsilon: float = 1e-5", "epsilon: float")},
    ("LayerNorm", "the shape"): {
        "the mean lost its dimension": ("different sizes", MEAN, "mean = x.mean(dim=-1)"),
        "the statistics returned": ("tuple", RESULT, RESULT + ", mean")},
    ("LayerNorm", "a single vector, of equal numbers"): {
        "three dimensions only": ("Dimension out of range", *over("2")),
        "no epsilon": ("add epsilon", "variance + self.epsilon", "variance")},
    ("LayerNorm", "gain and shift to learn"): {
        "gain and shift as tensors": ("A plain tensor or a buffer is not trained", "nn.Parameter(torch.ones(n_embd))", "torch.ones(n_embd)", "nn.Parameter(torch.zeros(n_embd))", "torch.zeros(n_embd)"),
        "no shift": ("gain or shift is missing", "self.shift = nn.Parameter(torch.zeros(n_embd))", "", RESULT, "return normalised * self.gain"),
        "one gain for all channels": ("a single gain", "torch.ones(n_embd)", "torch.ones(1)", "torch.zeros(n_embd)", "torch.zeros(1)"),
        "epsilon learned": ("11 parameters", "self.epsilon = epsilon", "self.epsilon = nn.Parameter(torch.tensor(epsilon))")},
    ("LayerNorm", "the right numbers"): {
        "over the positions": ("over the positions", *over("1")),
        "over the batch": ("over the batch", *over("0")),
        "as batch normalisation does": ("as batch normalisation", *over("tuple(range(max(1, x.dim() - 1)))")),
        "over everything": ("all numbers at once", *over("tuple(range(x.dim()))")),
        "over a whole sequence": ("a whole sequence at once", *over("tuple(range(x.dim()))[-2:]")),
        "divided by C - 1": ("divided by C - 1", ", unbiased=False", ""),
        "mean not subtracted": ("The mean is not subtracted", "(x - mean)", "x"),
        "RMSNorm": ("RMSNorm", "(x - mean)", "x", VARIANCE, "variance = (x * x).mean(dim=-1, keepdim=True)"),
        "divided by the variance": ("divide by its square root", "torch.sqrt(variance + self.epsilon)", "(variance + self.epsilon)"),
        "nothing divided": ("nothing is divided", " / torch.sqrt(variance + self.epsilon)", ""),
        "multiplied": ("It multiplies", " / torch", " * torch"),
        "gain starts at 0": ("gain with 1", "torch.ones(n_embd)", "torch.zeros(n_embd)"),
        "shift starts at 1": ("shift with 0", "torch.zeros(n_embd)", "torch.ones(n_embd)")},
    ("LayerNorm", "epsilon in the right place"): {
        "epsilon outside of the root": ("outside the square root", "torch.sqrt(variance + self.epsilon)", "(torch.sqrt(variance) + self.epsilon)"),
        "epsilon squared": ("Epsilon is squared", "+ self.epsilon)", "+ self.epsilon**2)"),
        "epsilon too large": ("is right", "+ self.epsilon)", "+ 2 * self.epsilon)"),
        "epsilon ignored": ("With another epsilon", "self.epsilon = epsilon", "self.epsilon = 1e-5"),
        "the deviation clamped": ("Epsilon has no effect", "torch.sqrt(variance + self.epsilon)", "torch.sqrt(variance).clamp(min=self.epsilon)")},
    ("LayerNorm", "gain and shift"): {
        "shift before gain": ("multiply first, then add", RESULT, "return (normalised + self.shift) * self.gain"),
        "gain and shift unused": ("have no effect", RESULT, "return normalised"),
        "shift unused": ("The shift has no effect", RESULT, "return normalised * self.gain"),
        "gain unused": ("The gain has no effect", RESULT, "return normalised + self.shift"),
        "gain and shift too early": ("they come after it", MEAN, "x = x * self.gain + self.shift\n        " + MEAN, RESULT, "return normalised")},
    ("LayerNorm", "the input is left alone"): {
        "in place": ("changed its input", NORMALISED, "x -= mean\n        normalised = x / torch.sqrt(variance + self.epsilon)")},
    ("LayerNorm", "gradients pass through"): {
        "statistics cut off": ("mean and the deviation are detached", MEAN, MEAN + ".detach()", VARIANCE, VARIANCE + ".detach()"),
        "deviation cut off": ("The deviation is detached", VARIANCE, VARIANCE + ".detach()"),
        "all cut off": ("No gradient", RESULT, "return (normalised * self.gain + self.shift).detach()")},
    ("PreNormBlock", "a module"): {"the parts alone": ("the stub's arguments", "feed_forward: nn.Module, n_embd: int", "feed_forward: nn.Module")},
    ("PreNormBlock", "the shape"): {
        "what was added, not the stream": ("(2, 7, 10)", *forward("return torch.cat([self.attention(x), self.feed_forward(x)], -1)"))},
    ("PreNormBlock", "its own two norms"): {
        "one norm for both": ("one norm for both", N2, "self.norm_feed_forward = self.norm_attention"),
        "norms with nothing to shift": ("or two without a shift", "self.norm_attention = LayerNorm(n_embd)\n", "self.norm_attention = nn.LayerNorm(n_embd, bias=False)\n", N2, "self.norm_feed_forward = nn.LayerNorm(n_embd, bias=False)"),
        "new norms on every call": ("Its norms are not found", "self.norm_attention = LayerNorm(n_embd)\n", "\n", N2, "", FIRST, "x = x + self.attention(LayerNorm(5)(x))", SECOND, "return x + self.feed_forward(LayerNorm(5)(x))"),
        "parts in a list": ("Its two parts are not found", "self.attention = attention", "self.parts = [attention, feed_forward]", "self.feed_forward = feed_forward", "", FIRST, "x = x + self.parts[0](self.norm_attention(x))", SECOND, "return x + self.parts[1](self.norm_feed_forward(x))"),
        "three norms": ("two norms have 20", N2, N2 + "\n        self.last = LayerNorm(n_embd)")},
    ("PreNormBlock", "normalise, then add"): {
        "post-norm": ("as the paper does", *forward("x = self.norm_attention(x + self.attention(x))", "return self.norm_feed_forward(x + self.feed_forward(x))")),
        "no residual": ("Nothing is added", *forward("x = self.attention(self.norm_attention(x))", "return self.feed_forward(self.norm_feed_forward(x))")),
        "the copy takes the stream's place": ("copy replaces the stream", *forward("x = self.norm_attention(x)", "x = x + self.attention(x)", "x = self.norm_feed_forward(x)", "return x + self.feed_forward(x)")),
        "outputs normalised": ("output of each part is normalised", *forward("x = x + self.norm_attention(self.attention(x))", "return x + self.norm_feed_forward(self.feed_forward(x))")),
        "the network reads the stream": ("The feed-forward network reads the stream", SECOND, "return x + self.feed_forward(x)"),
        "attention reads the stream": ("Attention reads the stream", FIRST, "x = x + self.attention(x)"),
        "no norm at all": ("no normalisation", FIRST, "x = x + self.attention(x)", SECOND, "return x + self.feed_forward(x)"),
        "both read the same": ("Both parts read the same x", *forward("return x + self.attention(self.norm_attention(x)) + self.feed_forward(self.norm_feed_forward(x))"))},
    ("PreNormBlock", "the input is left alone"): {"added in place": ("changed its input", FIRST, FIRST.replace("x = x +", "x +="))},
    ("PreNormBlock", "every layer learns"): {"the network cut off": ("`feed_forward.0.weight`", SECOND, SECOND + ".detach()")},
}
RIGHT = {
    "LayerNorm": {
        "torch's own": "LayerNorm = nn.LayerNorm",
        "gain counted from 1, by std": """
class LayerNorm(nn.Module):
    def __init__(self, n, epsilon=1e-5):
        super().__init__()
        self.b, self.g = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
        self.e = epsilon
    def forward(self, x):
        d = x - torch.einsum('...c->...', x)[..., None] / x.shape[-1]
        return d * (d.pow(2).mean(-1, True) + self.e) ** -0.5 * (1 + self.g) + self.b
""",
        "gain and shift in one": """
class LayerNorm(nn.Module):
    def __init__(self, n, epsilon=1e-5):
        super().__init__()
        self.both = nn.Parameter(torch.stack([torch.ones(n), torch.zeros(n)]))
        self.epsilon = epsilon
    def forward(self, x):
        gain, shift = self.both
        return F.layer_norm(x, (len(gain),), gain, shift, self.epsilon)
""",
        "gain and shift of three dimensions, in double precision": ("torch.ones(n_embd)", "torch.ones(1, 1, n_embd)", "torch.zeros(n_embd)", "torch.zeros(1, 1, n_embd)", MEAN, "x = x.double()\n        " + MEAN),
        "by moments": (VARIANCE, "variance = (x * x).mean(dim=-1, keepdim=True) - mean**2")},
    "PreNormBlock": {
        "the section's block": "from course.s08_layer_norm import PreNormBlock",
        "with dropout": (SECOND, "return x + nn.functional.dropout(self.feed_forward(self.norm_feed_forward(x)), 0.2, self.training)"),
        "torch's norms, in a loop": """
class PreNormBlock(nn.Module):
    def __init__(self, a, f, n):
        super().__init__()
        self.parts = nn.ModuleList([nn.Sequential(nn.LayerNorm(n), part) for part in (a, f)])
    def forward(self, x):
        for part in self.parts:
            x = x + part(x)
        return x
"""},
}
