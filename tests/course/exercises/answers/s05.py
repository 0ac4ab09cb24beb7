BY_HEAD = "x.view(B, T, n_head, C // n_head)"
TURNED = "by_head.transpose(1, 2)"
WEIGHTS = "attended = attention_weights(q, k) @ v"
JOIN = "torch.cat(attended.unbind(dim=1), dim=-1)"
LIST = """
class Head(nn.Module):
    def __init__(self, n_embd, head_size):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(n_embd, head_size, bias=False) for _ in range(3))

    def forward(self, x):
        scores = self.query(x) @ self.key(x).mT / self.query.out_features**0.5
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
        return scores.softmax(-1) @ self.value(x)


class MultiHead(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.heads = nn.ModuleList(Head(n_embd, n_embd // n_head) for _ in range(n_head))
        self.proj = nn.Linear(n_embd, n_embd)

    def forward(self, x):
        heard = torch.cat([head(x) for head in self.heads], dim=-1)
        return self.proj(heard)
"""


def listed(*edits: tuple[str, str]) -> str:
    source = LIST
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


MODULES = "nn.ModuleList(Head(n_embd, n_embd // n_head) for _ in range(n_head))"
CAT = "torch.cat([head(x) for head in self.heads], dim=-1)"
PROJ = "self.proj = nn.Linear(n_embd, n_embd)"
FUSED = """
class MultiHead(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.out = nn.Linear(n_embd, n_embd, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (one.view(B, T, self.n_head, -1).transpose(1, 2) for one in self.qkv(x).split(C, dim=2))
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(heard.transpose(1, 2).contiguous().view(B, T, C))
"""
BY_HEAD_LAST = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.ask, self.sign, self.say = (nn.Parameter(torch.randn(C, H, C // H) / C**0.5) for _ in range(3))
        self.ask_bias, self.sign_bias, self.say_bias = (nn.Parameter(torch.zeros(H, 1, C // H)) for _ in range(3))
        self.mix, self.mix_bias = nn.Parameter(torch.zeros(H, C // H, C)), nn.Parameter(torch.zeros(1, 1, C))

    def forward(self, x):
        q = torch.einsum("btc,chd->bhtd", x, self.ask) + self.ask_bias
        k = torch.einsum("btc,chd->bhtd", x, self.sign) + self.sign_bias
        v = torch.einsum("btc,chd->bhtd", x, self.say) + self.say_bias
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return torch.einsum("bhtd,hdc->btc", heard, self.mix) + self.mix_bias
"""
SUMMED = """
from course.s04_self_attention import Head

class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.heads = nn.ModuleList(Head(C, C // H) for _ in range(H))
        self.projections = nn.ModuleList(nn.Linear(C // H, C, bias=False) for _ in range(H))

    def forward(self, x):
        return sum(proj(head(x)) for proj, head in zip(self.projections, self.heads))
"""
TORCHS = """
class MultiHead(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.inner = nn.MultiheadAttention(n_embd, n_head, batch_first=True)

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        return self.inner(x, x, x, attn_mask=mask, need_weights=False)[0]
"""

# fmt: off
WRONG = {
    ("split_heads", "the shape"): {"not transposed": ("(2, 7, 3, 5), which is (B, T, H, D)", TURNED, "by_head")},
    ("split_heads", "each head has its channels"): {
        "cut without transpose": ("parts of several positions", BY_HEAD, "x.view(B, n_head, T, C // n_head)", TURNED, "by_head"),
        "interleaved": ("interleaved", BY_HEAD, "x.view(B, T, C // n_head, n_head)", TURNED, "by_head.permute(0, 3, 1, 2)"),
        "transposed too early": ("too early", BY_HEAD, "x.transpose(1, 2).reshape(B, n_head, T, C // n_head)", TURNED, "by_head"),
        "heads in reverse": ("reverse order", TURNED, TURNED + ".flip(1)")},
    ("split_heads", "one head"): {"three heads always": ("(2, 1, 7, 15)", BY_HEAD, "x.view(B, T, 3, C // 3)")},
    ("split_heads", "the input is left alone"): {
        "emptied": ("changed its input", "return " + TURNED, "out = by_head.transpose(1, 2).clone()\n    x.zero_()\n    return out")},
    ("split_heads", "gradients pass through"): {"split by lists": ("torch.tensor", TURNED, "torch.tensor(by_head.tolist()).transpose(1, 2)")},
    ("MultiHead", "a module"): {"size by size": ("the stub's arguments", "(self, n_embd: int, n_head: int)", "(self, n_embd: int)")},
    ("MultiHead", "the shape"): {
        "projection to one head's size": ("which is (B, T, D)", "self.proj = nn.Linear(n_embd, n_embd)", "self.proj = nn.Linear(n_embd, n_embd // n_head)"),
        "joined along the positions": ("not concatenated", JOIN, "torch.cat(attended.unbind(dim=1), dim=1)"),
        "heads added": ("If they are summed", listed((CAT, "sum(head(x) for head in self.heads)")))},
    ("MultiHead", "four matrices to learn"): {
        "no projection": ("The projection is missing", "self.proj = nn.Linear(n_embd, n_embd)", "", "return self.proj(joined)", "return joined"),
        "heads in a Python list": ("Its heads are not found", listed((MODULES, MODULES.replace("nn.ModuleList(", "list(")))),
        "one head many times": ("used 3 times", listed((MODULES, "nn.ModuleList([Head(n_embd, n_embd // n_head)] * n_head)"))),
        "each head as wide as the input": ("as wide as the whole input", listed((MODULES, "nn.ModuleList(Head(n_embd, n_embd) for _ in range(n_head))"), ("nn.Linear(n_embd, n_embd)\n", "nn.Linear(n_head * n_embd, n_embd)\n"))),
        "two projections": ("C · C = 225", "self.proj = ", "self.twice = nn.Linear(n_embd, n_embd)\n        self.proj = ")},
    ("MultiHead", "numbers everywhere"): {"the diagonal masked": ("may attend to nothing", listed(("triu(1)", "triu(0)")))},
    ("MultiHead", "the future stays hidden"): {
        "no mask": ("there is no mask", WEIGHTS, "attended = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v"),
        "one too far": ("by one", listed(("triu(1)", "triu(2)"))),
        "cut without transpose in the module": ("parts of several positions", BY_HEAD, "x.view(B, n_head, T, C // n_head)", TURNED, "by_head"),
        "joined without transpose": ("without transposing back", JOIN, "attended.reshape(x.shape)")},
    ("MultiHead", "the past is used"): {
        "heads attend to each other": ("heads of one position attend to each other", TURNED, "by_head", JOIN, "attended.flatten(2)")},
    ("MultiHead", "the formula"): {
        "scaled by all channels": ("√C, all channels", WEIGHTS, "attended = attention_weights(q * (q.shape[-1] / x.shape[-1]) ** 0.5, k) @ v"),
        "no scale": ("not divided by √D", listed((" / self.query.out_features**0.5", ""))),
        "projection not applied": ("is not applied", "return self.proj(joined)", "return joined"),
        "the first head for all": ("for every head", listed((CAT, "torch.cat([self.heads[0](x) for head in self.heads], dim=-1)"))),
        "ReLU at the end": ("other numbers", "return self.proj(joined)", "return self.proj(joined).relu()")},
    ("MultiHead", "every layer learns"): {"projection cut off": ("`query.weight`", "return self.proj(joined)", "return self.proj(joined.detach())")},
}
RIGHT = {
    "split_heads": {
        "by chunks": "def split_heads(x, n_head): return torch.stack(x.chunk(n_head, dim=-1), dim=1)",
        "unflattened": "def split_heads(x, n): return x.unflatten(-1, (n, -1)).permute(0, 2, 1, 3)"},
    "MultiHead": {
        "a list of heads": LIST,
        "the section's batched": "from course.s05_multi_head import BatchedMultiHead as MultiHead",
        "one layer for three": FUSED,
        "torch's own module": TORCHS,
        "the projection starts at zero": (PROJ, PROJ + "\n        nn.init.zeros_(self.proj.weight)\n        nn.init.zeros_(self.proj.bias)"),
        "everything starts at zero": FUSED.replace("    def forward", "        for one in self.parameters():\n            nn.init.zeros_(one)\n    def forward"),
        "einsum, head and its channels last, biases": BY_HEAD_LAST,
        "a projection for each head, summed": SUMMED,
        "in double precision": FUSED.replace("bias=False", "dtype=torch.float64").replace("B, T, C =", "x = x.double()\n        B, T, C =")},
}
