"""Answers to the exercises of section 4: what is wrong is caught by its check, what is right passes."""

import importlib
from pathlib import Path

import pytest

from course.check import told
from course.exercises import exercises_of
from course.exercises.runner import Report

WEIGHTS, HEAD = "attention_weights", "Head"
SCALE = "scores = q @ k.transpose(-2, -1) / math.sqrt(D)"
FUTURE = "future = torch.ones(T, T, dtype=torch.bool).triu(1)"
MASK = "scores = scores.masked_fill(future, -torch.inf)"
SOFTMAX = "return scores.softmax(dim=-1)"
USE = "weights = attention_weights(self.query(x), self.key(x))"
HEAR = "return weights @ self.value(x)"
QUERY = "self.query = nn.Linear(n_embd, head_size, bias=False)"
KEY = QUERY.replace("query", "key")
VALUE = QUERY.replace("query", "value")

WRONG = {
    "a product without the transpose of two": (
        WEIGHTS,
        "the shape",
        "must be the last but one of the second",
        [("k.transpose(-2, -1)", "k")],
    ),
    "transposed for three dimensions only": (
        WEIGHTS,
        "the shape",
        "Two tensors have different sizes",
        "def attention_weights(q, k):\n    return torch.einsum('btd,bsd->bts', q, k).softmax(-1)\n".replace(
            "torch.einsum('btd,bsd->bts', q, k)",
            "(q @ k.transpose(1, 2).reshape(*k.shape[:-2], k.shape[-1], -1) + torch.zeros(7, 7))",
        ),
    ),
    "what is heard, not the weights": (
        WEIGHTS,
        "the shape",
        "It should have (2, 7, 7)",
        [(SOFTMAX, "return scores.softmax(dim=-1) @ q")],
    ),
    "softmax down the columns": (
        WEIGHTS,
        "each row sums to 1",
        "The columns sum to 1",
        [("softmax(dim=-1)\n\n\n", "softmax(dim=-2)\n\n\n")],
    ),
    "mask after softmax": (
        WEIGHTS,
        "each row sums to 1",
        "The mask comes after the softmax",
        [(MASK, ""), (SOFTMAX, "return scores.softmax(dim=-1).masked_fill(future, 0)")],
    ),
    "no softmax": (
        WEIGHTS,
        "each row sums to 1",
        "negative weights",
        [("-torch.inf", "0.0"), (SOFTMAX, "return scores")],
    ),
    "scale after softmax": (
        WEIGHTS,
        "each row sums to 1",
        "should share out 1",
        [(SCALE, "scores = q @ k.transpose(-2, -1)"), (SOFTMAX, SOFTMAX + " / math.sqrt(D)")],
    ),
    "the diagonal masked": (WEIGHTS, "each row sums to 1", "Row 0 is all NaN", [("triu(1)", "triu(0)")]),
    "no mask": (WEIGHTS, "the future stays hidden", "there is no mask", [(MASK, "")]),
    "mask not kept": (
        WEIGHTS,
        "the future stays hidden",
        "or it has no effect",
        [(MASK, "scores.masked_fill(future, -torch.inf)")],
    ),
    "one too far": (WEIGHTS, "the future stays hidden", "in by one", [("triu(1)", "triu(2)")]),
    "upside down": (WEIGHTS, "the future stays hidden", "hides the past", [("triu(1)", "tril(-1)")]),
    "no scale": (WEIGHTS, "the scale, and the right numbers", "not divided by √D", [(" / math.sqrt(D)", "")]),
    "by D": (WEIGHTS, "the scale, and the right numbers", "square root of D", [("math.sqrt(D)", "D")]),
    "times the scale": (WEIGHTS, "the scale, and the right numbers", "multiplied by √D", [("/ math", "* math")]),
    "by the root of T": (
        WEIGHTS,
        "the scale, and the right numbers",
        "√T, the number of positions",
        [("sqrt(D)", "sqrt(T)")],
    ),
    "keys ask": (
        WEIGHTS,
        "the scale, and the right numbers",
        "Keys ask",
        [("q @ k.transpose(-2, -1)", "k @ q.transpose(-2, -1)")],
    ),
    "q scaled in place": (
        WEIGHTS,
        "the input is left alone",
        "It changed the tensor",
        [(SCALE, "q /= math.sqrt(D)\n    scores = q @ k.transpose(-2, -1)")],
    ),
    "cut off": (
        WEIGHTS,
        "gradients pass through",
        "No gradient passes",
        [(SOFTMAX, "return scores.softmax(dim=-1).detach()")],
    ),
    "a key without gradient": (WEIGHTS, "gradients pass through", "`.detach()`", [("q @ k.", "q @ k.detach().")]),
    "a function": (
        HEAD,
        "a module",
        "class Name(nn.Module)",
        "def Head(n_embd, head_size):\n    return nn.Linear(n_embd, head_size)\n",
    ),
    "super forgotten": (
        HEAD,
        "a module",
        "super().__init__()",
        [("super().__init__()\n        self.query", "self.query")],
    ),
    "other arguments": (
        HEAD,
        "a module",
        "the stub's arguments",
        [("def __init__(self, n_embd: int, head_size: int)", "def __init__(self, n_embd: int)")],
    ),
    "the value's layer forgotten": (HEAD, "the shape", "never set", [(VALUE, "")]),
    "weights, not what is heard": (HEAD, "the shape", "which is (B, T, D)", [(HEAR, "return weights")]),
    "value as wide as the input": (
        HEAD,
        "the shape",
        "which is (B, T, C)",
        [(VALUE, VALUE.replace("head_size", "n_embd"))],
    ),
    "nothing returned": (HEAD, "the shape", "returned nothing", [(HEAR, HEAR.removeprefix("return "))]),
    "layers in a list": (
        HEAD,
        "three matrices to learn",
        "in a Python list",
        [
            (QUERY, "self.layers = [nn.Linear(n_embd, head_size, bias=False) for _ in range(3)]"),
            (KEY, ""),
            (VALUE, ""),
            (USE, "weights = attention_weights(self.layers[0](x), self.layers[1](x))"),
            (HEAR, "return weights @ self.layers[2](x)"),
        ],
    ),
    "one layer for query and key": (
        HEAD,
        "three matrices to learn",
        "are one and the same",
        [(KEY, "self.key = self.query")],
    ),
    "made anew each time": (
        HEAD,
        "three matrices to learn",
        "It has 30 numbers",
        [(VALUE, ""), (HEAR, "return weights @ nn.Linear(x.shape[-1], 3, bias=False)(x)")],
    ),
    "the diagonal masked, head": (HEAD, "numbers everywhere", "It may look at nobody", [("triu(1)", "triu(0)")]),
    "no mask, head": (
        HEAD,
        "the future stays hidden",
        "Position 5 changed when only position 6 did: there is no mask",
        [(MASK, "")],
    ),
    "one too far, head": (HEAD, "the future stays hidden", "by one", [("triu(1)", "triu(2)")]),
    "upside down, head": (HEAD, "the future stays hidden", "wrong way round", [("triu(1)", "tril(-1)")]),
    "mask after softmax, head": (
        HEAD,
        "the future stays hidden",
        "they were already counted",
        [(MASK, ""), (SOFTMAX, "return scores.softmax(dim=-1).masked_fill(future, 0)")],
    ),
    "softmax down the columns, head": (
        HEAD,
        "the future stays hidden",
        "down the columns",
        [("softmax(dim=-1)\n\n\n", "softmax(dim=-2)\n\n\n")],
    ),
    "zeros for -inf, head": (HEAD, "the future stays hidden", "a score of -inf", [("-torch.inf", "0.0")]),
    "no scale, head": (HEAD, "the formula", "not divided by √D", [(" / math.sqrt(D)", "")]),
    "by D, head": (HEAD, "the formula", "square root of D", [("math.sqrt(D)", "D")]),
    "by the root of C": (HEAD, "the formula", "√C, all channels", [("math.sqrt(D)", "math.sqrt(5)")]),
    "query and key swapped": (
        HEAD,
        "the formula",
        "`key` asks",
        [(USE, "weights = attention_weights(self.key(x), self.query(x))")],
    ),
    "value through key": (HEAD, "the formula", "comes out of `key`", [(HEAR, "return weights @ self.key(x)")]),
    "value through query": (HEAD, "the formula", "comes out of `query`", [(HEAR, "return weights @ self.query(x)")]),
    "an addition too many": (HEAD, "the formula", "other numbers", [(HEAR, HEAR + " + self.value(x)")]),
    "weights cut off": (
        HEAD,
        "every layer learns",
        "`query.weight` has no say",
        [(HEAR, "return weights.detach() @ self.value(x)")],
    ),
    "all without gradient": (
        HEAD,
        "every layer learns",
        "No gradient",
        [("    def forward", "    @torch.no_grad()\n    def forward")],
    ),
}

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
LOOP = """
class Head(nn.Module):
    def __init__(self, n_embd, head_size):
        super().__init__()
        self.value = nn.Linear(n_embd, head_size)
        self.key = nn.Linear(n_embd, head_size)
        self.query = nn.Linear(n_embd, head_size)

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        pieces = []
        for b in range(x.shape[0]):
            heard = []
            for t in range(x.shape[1]):
                scores = torch.stack([q[b, t] @ k[b, s] for s in range(t + 1)]) / math.sqrt(q.shape[-1])
                heard.append(scores.softmax(0) @ v[b, : t + 1])
            pieces.append(torch.stack(heard))
        return torch.stack(pieces)
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
IN_BLOCKS = """
class Head(nn.Module):
    def __init__(self, C, D):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(C, D, bias=False) for _ in range(3))

    def forward(self, x):
        q, k, v = self.query(x) / self.query.out_features**0.5, self.key(x), self.value(x)
        rows = torch.arange(x.shape[1])[:, None]
        largest, total, heard = torch.full(x.shape[:2], -torch.inf), torch.zeros(x.shape[:2]), torch.zeros_like(v)
        for start in range(0, x.shape[1], 3):
            some = slice(start, start + 3)
            seen = torch.arange(x.shape[1])[some] <= rows
            scores = (q @ k[:, some].mT).masked_fill(~seen, -1e30)
            now = torch.maximum(largest, scores.amax(-1))
            powers, shrink = (scores - now[..., None]).exp() * seen, (largest - now).exp()
            total = total * shrink + powers.sum(-1)
            heard = heard * shrink[..., None] + powers @ v[:, some]
            largest = now
        return heard / total[..., None]
"""


def started_at_zero(name: str) -> str:
    return KEPT_APART.replace("range(3))\n", f"range(3))\n        nn.init.zeros_(self.{name}.weight)\n")


RIGHT = {
    "in logarithms": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    scores = torch.einsum('...td,...sd->...ts', q, k) / math.sqrt(q.shape[-1])\n"
        "    scores = scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -torch.inf)\n"
        "    return (scores - scores.logsumexp(-1, keepdim=True)).exp()\n",
    ),
    "half of the scale each, in double precision": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    q, k = (one.double() * one.shape[-1] ** -0.25 for one in (q, k))\n"
        "    scores = q @ k.mT\n"
        "    least = torch.finfo(scores.dtype).min\n"
        "    return scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), least).softmax(-1)\n",
    ),
    "the largest of all taken off, and divided after the mask": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    scores = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1) / q.shape[-1] ** 0.5\n"
        "    powers = (scores - scores.max()).exp().tril()\n"
        "    return powers / powers.sum(-1, keepdim=True)\n",
    ),
    "row by row": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    T, D = q.shape[-2:]\n"
        "    scores = [(k[..., : t + 1, :] @ q[..., t, :, None])[..., 0] / D**0.5 for t in range(T)]\n"
        "    return torch.stack([F.pad(one.softmax(-1), (0, T - 1 - t)) for t, one in enumerate(scores)], -2)\n",
    ),
    "queries start at zero": (HEAD, started_at_zero("query")),
    "values start at zero": (HEAD, started_at_zero("value")),
    "the lecture's, with dropout": (
        HEAD,
        "class Head(nn.Module):\n"
        "    def __init__(self, n_embd, head_size):\n"
        "        super().__init__()\n"
        "        self.key, self.query, self.value = (nn.Linear(n_embd, head_size, bias=False) for _ in range(3))\n"
        "        self.register_buffer('tril', torch.tril(torch.ones(32, 32)))\n"
        "        self.dropout = nn.Dropout(0.2)\n"
        "    def forward(self, x):\n"
        "        T, k, q = x.shape[1], self.key(x), self.query(x)\n"
        "        wei = q @ k.transpose(-2, -1) * k.shape[-1] ** -0.5\n"
        "        wei = wei.masked_fill(self.tril[:T, :T] == 0, float('-inf'))\n"
        "        return self.dropout(F.softmax(wei, dim=-1)) @ self.value(x)\n",
    ),
    "a bias for the queries alone": (
        HEAD,
        KEPT_APART.replace("range(3))", "range(3))\n        self.query = nn.Linear(C, D)"),
    ),
    "one layer for key and value": (
        HEAD,
        KEPT_APART.replace(
            "range(3))", "range(3))\n        del self.key, self.value\n        self.kv = nn.Linear(C, 2 * D)"
        ).replace("self.key(x), self.value(x)", "*self.kv(x).chunk(2, -1)"),
    ),
    "convolutions over one position": (
        HEAD,
        KEPT_APART.replace("nn.Linear(C, D, bias=False)", "nn.Conv1d(C, D, 1)").replace(
            "self.query(x), self.key(x), self.value(x)", "(one(x.mT).mT for one in (self.query, self.key, self.value))"
        ),
    ),
    "in double precision": (
        HEAD,
        KEPT_APART.replace("bias=False", "dtype=torch.float64").replace(
            "q, k, v =", "x = x.double()\n        q, k, v ="
        ),
    ),
    "one parameter, biases of three dimensions": (
        HEAD,
        "class Head(nn.Module):\n"
        "    def __init__(self, C, D):\n"
        "        super().__init__()\n"
        "        self.w, self.b = nn.Parameter(torch.zeros(3, C, D)), nn.Parameter(torch.zeros(3, 1, D))\n"
        "    def forward(self, x):\n"
        "        q, k, v = (x @ w + b for w, b in zip(self.w, self.b))\n"
        "        return F.scaled_dot_product_attention(q, k, v, is_causal=True)\n",
    ),
    "block by block, as flash attention does": (HEAD, IN_BLOCKS),
    "einsum": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    scores = torch.einsum('...td,...sd->...ts', q, k) * q.shape[-1] ** -0.5\n"
        "    return (scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)).softmax(-1)\n",
    ),
    "q scaled first": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    scores = (q / q.shape[-1] ** 0.5).matmul(k.mT)\n"
        "    return torch.softmax(scores.masked_fill(torch.ones_like(scores).tril() == 0, -1e30), -1)\n",
    ),
    "torch's own, with values that tell the weights": (
        WEIGHTS,
        "def attention_weights(q, k):\n"
        "    eye = torch.eye(q.shape[-2]).expand(*q.shape[:-1], q.shape[-2])\n"
        "    return F.scaled_dot_product_attention(q, k, eye, is_causal=True)\n",
    ),
    "the section's": (HEAD, "from course.s04_self_attention import Head\n"),
    "one layer for three, and torch's own attention": (HEAD, FUSED),
    "bare parameters and einsum": (HEAD, EINSUM),
    "loops, biases": (HEAD, LOOP),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s04", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s04", *RIGHT[variant])


def test_the_page_shows_what_is_said(judge):
    _, found = judge("s04", "Head", [("triu(1)", "triu(2)")])
    lines = told("s04_self_attention", exercises_of("s04_self_attention"), Report({"Head": found})).split("\n\n")[0]
    page = Path(str(importlib.import_module("course").__file__)).parents[1] / "docs" / "exercises.md"
    assert f"```\n{lines}\n```" in page.read_text(encoding="utf-8")
