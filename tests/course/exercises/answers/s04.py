SCALE = "scores = q @ k.transpose(-2, -1) / math.sqrt(D)"
MASK = "scores = scores.masked_fill(future, -torch.inf)"
SOFTMAX = "return scores.softmax(dim=-1)"
USE = "weights = attention_weights(self.query(x), self.key(x))"
HEAR = "return weights @ self.value(x)"
QUERY = "self.query = nn.Linear(n_embd, head_size, bias=False)"
KEY = QUERY.replace("query", "key")
VALUE = QUERY.replace("query", "value")
FUSED = """
class Head(nn.Module):
    def __init__(self, n_embd, head_size):
        super().__init__()
        self.qkv = nn.Linear(n_embd, 3 * head_size, bias=False)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
"""
EINSUM = """
class Head(nn.Module):
    def __init__(self, C, D):
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.randn(C, D)) for _ in range(3))
        self.register_buffer("mask", torch.tril(torch.ones(64, 64)))

    def forward(self, x):
        T = x.shape[1]
        ask, sign, say = x @ self.a, x @ self.b, x @ self.c
        scores = torch.einsum("btd,bsd->bts", ask, sign) * ask.shape[-1] ** -0.5
        scores = scores.masked_fill(self.mask[:T, :T] == 0, float("-inf"))
        return torch.einsum("bts,bsd->btd", scores.softmax(-1), say)
"""
KEPT_APART = """
class Head(nn.Module):
    def __init__(self, C, D):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(C, D, bias=False) for _ in range(3))

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
"""

# fmt: off
WRONG = {
    ("attention_weights", "the shape"): {
        "a product without the transpose of two": ("second-to-last size of the second", "k.transpose(-2, -1)", "k"),
        "the output, not the weights": ("should be (2, 7, 7)", SOFTMAX, "return scores.softmax(dim=-1) @ q")},
    ("attention_weights", "each row sums to 1"): {
        "softmax down the columns": ("The columns sum to 1", "softmax(dim=-1)\n\n\n", "softmax(dim=-2)\n\n\n"),
        "mask after softmax": ("The mask comes after the softmax", MASK, "", SOFTMAX, "return scores.softmax(dim=-1).masked_fill(future, 0)"),
        "no softmax": ("negative weights", "-torch.inf", "0.0", SOFTMAX, "return scores"),
        "scale after softmax": ("should sum to 1", SCALE, "scores = q @ k.transpose(-2, -1)", SOFTMAX, SOFTMAX + " / math.sqrt(D)"),
        "the diagonal masked": ("Row 0 is all NaN", "triu(1)", "triu(0)")},
    ("attention_weights", "the future stays hidden"): {
        "no mask": ("there is no mask", MASK, ""),
        "mask not kept": ("or it has no effect", MASK, "scores.masked_fill(future, -torch.inf)"),
        "one too far": ("off by one", "triu(1)", "triu(2)"),
        "upside down": ("hides the past", "triu(1)", "tril(-1)")},
    ("attention_weights", "the scale, and the right numbers"): {
        "no scale": ("not divided by √D", " / math.sqrt(D)", ""),
        "by D": ("square root of D", "math.sqrt(D)", "D"),
        "times the scale": ("multiplied by √D", "/ math", "* math"),
        "by the root of T": ("√T, the number of positions", "sqrt(D)", "sqrt(T)"),
        "queries and keys swapped": ("q and k are swapped", "q @ k.transpose(-2, -1)", "k @ q.transpose(-2, -1)")},
    ("attention_weights", "the input is left alone"): {
        "q scaled in place": ("changed its input", SCALE, "q /= math.sqrt(D)\n    scores = q @ k.transpose(-2, -1)")},
    ("attention_weights", "gradients pass through"): {
        "cut off": ("No gradient passes", SOFTMAX, "return scores.softmax(dim=-1).detach()"),
        "a key without gradient": ("`.detach()`", "q @ k.", "q @ k.detach().")},
    ("Head", "a module"): {
        "a function": ("class Name(nn.Module)", "def Head(n_embd, head_size): return nn.Linear(n_embd, head_size)"),
        "super forgotten": ("super().__init__()", "super().__init__()\n        self.query", "self.query"),
        "other arguments": ("the stub's arguments", "def __init__(self, n_embd: int, head_size: int)", "def __init__(self, n_embd: int)")},
    ("Head", "the shape"): {
        "the value's layer forgotten": ("never set", VALUE, ""),
        "weights, not the output": ("which is (B, T, D)", HEAR, "return weights"),
        "value as wide as the input": ("which is (B, T, C)", VALUE, VALUE.replace("head_size", "n_embd")),
        "nothing returned": ("returned nothing", HEAR, HEAR.removeprefix("return "))},
    ("Head", "three matrices to learn"): {
        "layers in a list": ("in a Python list", QUERY, "self.layers = [nn.Linear(n_embd, head_size, bias=False) for _ in range(3)]", KEY, "", VALUE, "", USE, "weights = attention_weights(self.layers[0](x), self.layers[1](x))", HEAR, "return weights @ self.layers[2](x)"),
        "one layer for query and key": ("are the same layer", KEY, "self.key = self.query"),
        "a new layer on every call": ("30 parameters", VALUE, "", HEAR, "return weights @ nn.Linear(x.shape[-1], 3, bias=False)(x)")},
    ("Head", "numbers everywhere"): {"the diagonal masked, head": ("It may attend to nothing", "triu(1)", "triu(0)")},
    ("Head", "the future stays hidden"): {
        "no mask, head": ("Position 5 changed when only position 6 did: there is no mask", MASK, ""),
        "one too far, head": ("by one", "triu(1)", "triu(2)"),
        "upside down, head": ("wrong way round", "triu(1)", "tril(-1)"),
        "mask after softmax, head": ("they were part of the sum", MASK, "", SOFTMAX, "return scores.softmax(dim=-1).masked_fill(future, 0)"),
        "softmax down the columns, head": ("down the columns", "softmax(dim=-1)\n\n\n", "softmax(dim=-2)\n\n\n"),
        "zeros for -inf, head": ("a score of -inf", "-torch.inf", "0.0")},
    ("Head", "the formula"): {
        "no scale, head": ("not divided by √D", " / math.sqrt(D)", ""),
        "by D, head": ("square root of D", "math.sqrt(D)", "D"),
        "by the root of C": ("√C, all channels", "math.sqrt(D)", "math.sqrt(5)"),
        "query and key swapped": ("are swapped", USE, "weights = attention_weights(self.key(x), self.query(x))"),
        "value through key": ("comes from `key`", HEAR, "return weights @ self.key(x)"),
        "value through query": ("comes from `query`", HEAR, "return weights @ self.query(x)"),
        "an addition too many": ("other numbers", HEAR, HEAR + " + self.value(x)")},
    ("Head", "every layer learns"): {
        "weights cut off": ("`query.weight`", HEAR, "return weights.detach() @ self.value(x)"),
        "all without gradient": ("No gradient", "    def forward", "    @torch.no_grad()\n    def forward")},
}
RIGHT = {
    "attention_weights": {
        "half of the scale each, in double precision": """
def attention_weights(q, k):
    q, k = (one.double() * one.shape[-1] ** -0.25 for one in (q, k))
    scores = q @ k.mT
    least = torch.finfo(scores.dtype).min
    return scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), least).softmax(-1)
""",
        "row by row": """
def attention_weights(q, k):
    T, D = q.shape[-2:]
    scores = [(k[..., : t + 1, :] @ q[..., t, :, None])[..., 0] / D**0.5 for t in range(T)]
    return torch.stack([F.pad(one.softmax(-1), (0, T - 1 - t)) for t, one in enumerate(scores)], -2)
""",
        "torch's own, with values that tell the weights": """
def attention_weights(q, k):
    eye = torch.eye(q.shape[-2]).expand(*q.shape[:-1], q.shape[-2])
    return F.scaled_dot_product_attention(q, k, eye, is_causal=True)
"""},
    "Head": {
        "values start at zero": KEPT_APART.replace("range(3))\n", "range(3))\n        nn.init.zeros_(self.value.weight)\n"),
        "the lecture's, with dropout": """
class Head(nn.Module):
    def __init__(self, n_embd, head_size):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(n_embd, head_size, bias=False) for _ in range(3))
        self.register_buffer('tril', torch.tril(torch.ones(32, 32)))
        self.dropout = nn.Dropout(0.2)
    def forward(self, x):
        T, k, q = x.shape[1], self.key(x), self.query(x)
        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5
        wei = wei.masked_fill(self.tril[:T, :T] == 0, float('-inf'))
        return self.dropout(F.softmax(wei, dim=-1)) @ self.value(x)
""",
        "one layer for key and value": KEPT_APART.replace("range(3))", "range(3))\n        del self.key, self.value\n        self.kv = nn.Linear(C, 2 * D)").replace("self.key(x), self.value(x)", "*self.kv(x).chunk(2, -1)"),
        "in double precision": KEPT_APART.replace("bias=False", "dtype=torch.float64").replace("q, k, v =", "x = x.double()\n        q, k, v ="),
        "the section's": "from course.s04_self_attention import Head",
        "one layer for three, and torch's own attention": FUSED,
        "bare parameters and einsum": EINSUM},
}
