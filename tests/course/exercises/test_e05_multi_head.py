"""Answers to the exercises of section 5: what is wrong is caught by its check, what is right passes."""

import pytest

SPLIT, HEADS = "split_heads", "MultiHead"
BY_HEAD = "x.view(B, T, n_head, C // n_head)"
TURNED = "by_head.transpose(1, 2)"
WEIGHTS = "heard = attention_weights(q, k) @ v"
JOIN = "torch.cat(heard.unbind(dim=1), dim=-1)"
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

WRONG = {
    "not turned": (SPLIT, "the shape", "(2, 7, 3, 5), which is (B, T, H, D)", [(TURNED, "by_head")]),
    "cut without transpose": (
        SPLIT,
        "each head has its channels",
        "bits of several positions",
        [(BY_HEAD, "x.view(B, n_head, T, C // n_head)"), (TURNED, "by_head")],
    ),
    "dealt like cards": (
        SPLIT,
        "each head has its channels",
        "like cards",
        [(BY_HEAD, "x.view(B, T, C // n_head, n_head)"), (TURNED, "by_head.permute(0, 3, 1, 2)")],
    ),
    "turned too early": (
        SPLIT,
        "each head has its channels",
        "too early",
        [(BY_HEAD, "x.transpose(1, 2).reshape(B, n_head, T, C // n_head)"), (TURNED, "by_head")],
    ),
    "heads in reverse": (SPLIT, "each head has its channels", "reverse order", [(TURNED, TURNED + ".flip(1)")]),
    "three heads always": (SPLIT, "one head", "(2, 1, 7, 15)", [(BY_HEAD, "x.view(B, T, 3, C // 3)")]),
    "emptied": (
        SPLIT,
        "the input is left alone",
        "It changed the tensor",
        [("return " + TURNED, "out = by_head.transpose(1, 2).clone()\n    x.zero_()\n    return out")],
    ),
    "split by lists": (
        SPLIT,
        "gradients pass through",
        "torch.tensor",
        [(TURNED, "torch.tensor(by_head.tolist()).transpose(1, 2)")],
    ),
    "size by size": (
        HEADS,
        "a module",
        "the stub's arguments",
        [("(self, n_embd: int, n_head: int)", "(self, n_embd: int)")],
    ),
    "projection to one head's size": (
        HEADS,
        "the shape",
        "which is (B, T, D)",
        [("self.proj = nn.Linear(n_embd, n_embd)", "self.proj = nn.Linear(n_embd, n_embd // n_head)")],
    ),
    "put below each other": (
        HEADS,
        "the shape",
        "one below the other",
        [(JOIN, "torch.cat(heard.unbind(dim=1), dim=1)")],
    ),
    "heads added": (HEADS, "the shape", "Added up", listed((CAT, "sum(head(x) for head in self.heads)"))),
    "no projection": (
        HEADS,
        "four matrices to learn",
        "The projection is missing",
        [("self.proj = nn.Linear(n_embd, n_embd)", ""), ("return self.proj(together)", "return together")],
    ),
    "heads in a Python list": (
        HEADS,
        "four matrices to learn",
        "Its heads are not found",
        listed((MODULES, MODULES.replace("nn.ModuleList(", "list("))),
    ),
    "one head many times": (
        HEADS,
        "four matrices to learn",
        "used 3 times",
        listed((MODULES, "nn.ModuleList([Head(n_embd, n_embd // n_head)] * n_head)")),
    ),
    "each head as wide as the input": (
        HEADS,
        "four matrices to learn",
        "as wide as the whole input",
        listed(
            (MODULES, "nn.ModuleList(Head(n_embd, n_embd) for _ in range(n_head))"),
            ("nn.Linear(n_embd, n_embd)\n", "nn.Linear(n_head * n_embd, n_embd)\n"),
        ),
    ),
    "two projections": (
        HEADS,
        "four matrices to learn",
        "C · C = 225",
        [("self.proj = ", "self.twice = nn.Linear(n_embd, n_embd)\n        self.proj = ")],
    ),
    "the diagonal masked": (HEADS, "numbers everywhere", "may look at nobody", listed(("triu(1)", "triu(0)"))),
    "no mask": (
        HEADS,
        "the future stays hidden",
        "there is no mask",
        [(WEIGHTS, "heard = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v")],
    ),
    "one too far": (HEADS, "the future stays hidden", "by one", listed(("triu(1)", "triu(2)"))),
    "cut without transpose in the module": (
        HEADS,
        "the future stays hidden",
        "bits of several positions",
        [(BY_HEAD, "x.view(B, n_head, T, C // n_head)"), (TURNED, "by_head")],
    ),
    "joined without transpose": (
        HEADS,
        "the future stays hidden",
        "without turning it back",
        [(JOIN, "heard.reshape(x.shape)")],
    ),
    "heads listen to each other": (
        HEADS,
        "the past is heard",
        "the heads of one position listen to each other",
        [(TURNED, "by_head"), (JOIN, "heard.flatten(2)")],
    ),
    "scaled by all channels": (
        HEADS,
        "the formula",
        "√C, all channels",
        [(WEIGHTS, "heard = attention_weights(q * (q.shape[-1] / x.shape[-1]) ** 0.5, k) @ v")],
    ),
    "no scale": (HEADS, "the formula", "not divided by √D", listed((" / self.query.out_features**0.5", ""))),
    "projection not applied": (
        HEADS,
        "the formula",
        "is not applied",
        [("return self.proj(together)", "return together")],
    ),
    "the first head for all": (
        HEADS,
        "the formula",
        "for every head",
        listed((CAT, "torch.cat([self.heads[0](x) for head in self.heads], dim=-1)")),
    ),
    "bent": (
        HEADS,
        "the formula",
        "other numbers",
        [("return self.proj(together)", "return self.proj(together).relu()")],
    ),
    "projection cut off": (
        HEADS,
        "every layer learns",
        "`query.weight`",
        [("return self.proj(together)", "return self.proj(together.detach())")],
    ),
}

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
BY_HEAD_FIRST = FUSED.replace(
    "q, k, v = (one.view(B, T, self.n_head, -1).transpose(1, 2) for one in self.qkv(x).split(C, dim=2))",
    "q, k, v = self.qkv(x).view(B, T, self.n_head, 3, -1).permute(3, 0, 2, 1, 4)",
)
DEALT = FUSED.replace(
    "view(B, T, self.n_head, -1).transpose(1, 2)", "view(B, T, -1, self.n_head).permute(0, 3, 1, 2)"
).replace("heard.transpose(1, 2).contiguous().view(B, T, C)", "heard.permute(0, 2, 3, 1).reshape(B, T, C)")
EINSUM = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.ask, self.sign, self.say = (nn.Parameter(torch.randn(H, C, C // H) / C**0.5) for _ in range(3))
        self.mix = nn.Parameter(torch.randn(C, C) / C**0.5)

    def forward(self, x):
        q, k, v = (torch.einsum("btc,hcd->bhtd", x, one) for one in (self.ask, self.sign, self.say))
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
        scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
        return torch.einsum("bhts,bhsd->bthd", scores.softmax(-1), v).flatten(2) @ self.mix
"""
BARE = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.H = H
        self.a, self.b, self.c, self.d = (nn.Parameter(torch.randn(C, C)) for _ in range(4))

    def forward(self, x):
        q, k, v = ((x @ one).unflatten(-1, (self.H, -1)).transpose(1, 2) for one in (self.a, self.b, self.c))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2) @ self.d
"""
BARE_AND_LAYER = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.H = H
        self.three, self.out = nn.Parameter(torch.randn(3, C, C)), nn.Linear(C, C)

    def forward(self, x):
        q, k, v = ((x @ one).unflatten(-1, (self.H, -1)).transpose(1, 2) for one in self.three)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
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
STACKED = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.three, self.mix = nn.Parameter(torch.randn(3, H, C, C // H) / C**0.5), nn.Linear(C, C)

    def forward(self, x):
        q, k, v = torch.einsum("btc,nhcd->nbhtd", x, self.three)
        return self.mix(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
"""
FUSED_HEADS = """
class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(C, 3 * (C // H), bias=False) for _ in range(H))
        self.proj = nn.Linear(C, C)

    def forward(self, x):
        heard = [F.scaled_dot_product_attention(*head(x).chunk(3, -1), is_causal=True) for head in self.heads]
        return self.proj(torch.cat(heard, -1))
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
SUMMED_INSIDE = """
from course.s04_self_attention import Head

class MultiHead(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        pairs = [(Head(C, C // H), nn.Linear(C // H, C, bias=False)) for _ in range(H)]
        self.heads = nn.ModuleList(nn.Sequential(*pair) for pair in pairs)

    def forward(self, x):
        return sum(head(x) for head in self.heads)
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

RIGHT = {
    "by chunks": (SPLIT, "def split_heads(x, n_head):\n    return torch.stack(x.chunk(n_head, dim=-1), dim=1)\n"),
    "unflattened": (SPLIT, "def split_heads(x, n):\n    return x.unflatten(-1, (n, -1)).permute(0, 2, 1, 3)\n"),
    "by a loop": (
        SPLIT,
        "def split_heads(x, n):\n"
        "    D = x.shape[-1] // n\n"
        "    return torch.stack([x[:, :, h * D : (h + 1) * D] for h in range(n)], 1)\n",
    ),
    "a list of heads": (HEADS, LIST),
    "a list in another order": (HEADS, listed(("for head in self.heads]", "for head in reversed(self.heads)]"))),
    "the section's heads": (HEADS, "from course.s05_multi_head import MultiHead\n"),
    "the section's batched": (HEADS, "from course.s05_multi_head import BatchedMultiHead as MultiHead\n"),
    "one layer for three": (HEADS, FUSED),
    "one layer, by head first": (HEADS, BY_HEAD_FIRST),
    "dealt out and gathered alike": (HEADS, DEALT),
    "einsum": (HEADS, EINSUM),
    "bare parameters": (HEADS, BARE),
    "torch's own module": (HEADS, TORCHS),
    "torch's own module, with dropout": (HEADS, TORCHS.replace("batch_first=True", "batch_first=True, dropout=0.1")),
    "the projection starts at zero": (
        HEADS,
        [(PROJ, PROJ + "\n        nn.init.zeros_(self.proj.weight)\n        nn.init.zeros_(self.proj.bias)")],
    ),
    "everything starts at zero": (
        HEADS,
        FUSED.replace(
            "    def forward", "        for one in self.parameters():\n            nn.init.zeros_(one)\n    def forward"
        ),
    ),
    "a bias for two of four": (
        HEADS,
        [("self.query = nn.Linear(n_embd, n_embd, bias=False)", "self.query = nn.Linear(n_embd, n_embd)")],
    ),
    "bare parameters, and a layer to project": (HEADS, BARE_AND_LAYER),
    "bare parameters by name": (
        HEADS,
        BARE.replace("self.a, self.b, self.c, self.d =", "self.query, self.key, self.value, self.proj =")
        .replace("(self.a, self.b, self.c)", "(self.query, self.key, self.value)")
        .replace("@ self.d", "@ self.proj"),
    ),
    "einsum, head and its channels last, biases": (HEADS, BY_HEAD_LAST),
    "einsum, all three in one": (HEADS, STACKED),
    "one layer for three in each head": (HEADS, FUSED_HEADS),
    "a projection for each head, summed": (HEADS, SUMMED),
    "a projection in each head, summed": (HEADS, SUMMED_INSIDE),
    "convolutions over one position": (
        HEADS,
        FUSED.replace("nn.Linear(n_embd, 3 * n_embd, bias=False)", "nn.Conv1d(n_embd, 3 * n_embd, 1)").replace(
            "self.qkv(x)", "self.qkv(x.mT).mT"
        ),
    ),
    "in double precision": (
        HEADS,
        FUSED.replace("bias=False", "dtype=torch.float64").replace("B, T, C =", "x = x.double()\n        B, T, C ="),
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s05", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s05", *RIGHT[variant])
