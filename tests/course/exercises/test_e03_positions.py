"""Answers to the exercises of section 3: what is wrong is caught by its check, what is right passes."""

import pytest

WAVES, EMBED = "sinusoids", "PositionedEmbedding"
ANGLES = "torch.arange(length)[:, None] / 10_000.0**exponents"
EXPONENTS = "torch.arange(0, n_embd, 2) / n_embd"
TOKENS = "self.tokens = nn.Embedding(vocab_size, n_embd)"
PLACES = "self.places = nn.Embedding(block_size, n_embd)"
RANGE = "places = torch.arange(T)"
SUM = "return self.tokens(idx) + self.places(places)"

WRONG = {
    "channels first": (WAVES, "the shape", "(6, 7)", [("return waves", "return waves.T")]),
    "sines alone": (WAVES, "the shape", "(7, 3)", [("return waves", "return angles.sin()")]),
    "halves": (
        WAVES,
        "the waves",
        "take turns",
        [("waves[:, 0::2]", "waves[:, : n_embd // 2]"), ("waves[:, 1::2]", "waves[:, n_embd // 2 :]")],
    ),
    "cosine first": (
        WAVES,
        "the waves",
        "The cosine stands before",
        [
            ("[:, 0::2] = angles.sin()", "[:, 0::2] = angles.cos()"),
            ("[:, 1::2] = angles.cos()", "[:, 1::2] = angles.sin()"),
        ],
    ),
    "sines everywhere": (WAVES, "the waves", "Every channel is a sine", [("angles.cos()", "angles.sin()")]),
    "exponent i / C": (WAVES, "the waves", "it is 2i / C", [(EXPONENTS, "torch.arange(n_embd // 2) / n_embd")]),
    "a frequency for each channel": (
        WAVES,
        "the waves",
        "share one",
        [("angles.cos()", "(torch.arange(length)[:, None] / 10_000.0 ** (torch.arange(1, n_embd, 2) / n_embd)).cos()")],
    ),
    "places from 1": (
        WAVES,
        "the waves",
        "The places count from 1",
        [("torch.arange(length)", "torch.arange(1, length + 1)")],
    ),
    "multiplied": (WAVES, "the waves", "divide by it", [("[:, None] / 10", "[:, None] * 10")]),
    "another base": (WAVES, "the waves", "is right", [("10_000.0", "1_000.0")]),
    "super forgotten": (EMBED, "a module", "super().__init__()", [("super().__init__()", "pass")]),
    "concatenated": (
        EMBED,
        "the shape",
        "(2, 7, 10)",
        [(SUM, "return torch.cat([self.tokens(idx), self.places(places).expand(len(idx), -1, -1)], -1)")],
    ),
    "the whole table": (EMBED, "the shape", "different sizes", [(SUM, "return self.tokens(idx) + self.places.weight")]),
    "positions as a tensor": (
        EMBED,
        "two tables to learn",
        "A plain tensor or a buffer is not trained",
        [(PLACES, "self.places = torch.randn(block_size, n_embd)"), (SUM, "return self.tokens(idx) + self.places[:T]")],
    ),
    "no tokens": (
        EMBED,
        "two tables to learn",
        "the tokens need a table",
        [(TOKENS, ""), (SUM, "return self.places(places).expand(len(idx), T, -1)")],
    ),
    "a place for each token": (
        EMBED,
        "two tables to learn",
        "has a row for each token",
        [(PLACES, PLACES.replace("block_size", "vocab_size"))],
    ),
    "a token for each place": (
        EMBED,
        "two tables to learn",
        "has a row for each place",
        [(TOKENS, TOKENS.replace("vocab_size", "block_size"))],
    ),
    "a third table": (
        EMBED,
        "two tables to learn",
        "have 120",
        [(PLACES, PLACES + "\n        self.more = nn.Embedding(3, n_embd)")],
    ),
    "positions forgotten": (
        EMBED,
        "the same token differs by place",
        "Is the table of positions added",
        [(SUM, "return self.tokens(idx)")],
    ),
    "positions looked up by token": (
        EMBED,
        "the same token differs by place",
        "not by token",
        [(SUM, "return self.tokens(idx) + self.places(idx)")],
    ),
    "one place for a piece": (
        EMBED,
        "the same token differs by place",
        "looked up by place",
        [(SUM, "return self.tokens(idx) + self.places(torch.arange(len(idx)))[:, None]")],
    ),
    "tokens forgotten": (
        EMBED,
        "a token moves its own place alone",
        "its vector stayed",
        [(SUM, "return self.places(places).expand(len(idx), T, -1)")],
    ),
    "tokens added up": (
        EMBED,
        "a token moves its own place alone",
        "only its own should",
        [(SUM, "return self.tokens(idx).cumsum(1) + self.places(places)")],
    ),
    "from the end of the table": (
        EMBED,
        "the sum",
        "from the end",
        [(RANGE, "places = torch.arange(13 - T, 13) if T < 14 else torch.arange(T)")],
    ),
    "counted from 1": (EMBED, "the sum", "count from 1", [(RANGE, "places = torch.arange(1, T + 1)")]),
    "backwards": (EMBED, "the sum", "run backwards", [(RANGE, "places = torch.arange(T).flip(0)")]),
    "multiplied, embedding": (
        EMBED,
        "the sum",
        "are multiplied: add them",
        [("self.tokens(idx) + ", "self.tokens(idx) * ")],
    ),
    "subtracted": (EMBED, "the sum", "is subtracted", [("self.tokens(idx) + ", "self.tokens(idx) - ")]),
    "scaled as in the paper": (
        EMBED,
        "the sum",
        "The tokens are multiplied by √C",
        [("self.tokens(idx) + ", "self.tokens(idx) * 5**0.5 + ")],
    ),
    "round in a ring": (EMBED, "the block is a limit", "said nothing", [(RANGE, "places = torch.arange(T) % 13")]),
    "tokens cut off": (
        EMBED,
        "both tables learn",
        "`tokens.weight` has no say",
        [("self.tokens(idx) + ", "self.tokens(idx).detach() + ")],
    ),
}

RIGHT = {
    "the section's": (
        WAVES,
        "from course.s03_positions import SinusoidalPositions\ndef sinusoids(T, C):\n    return SinusoidalPositions(C)(T)\n",
    ),
    "in loops": (
        WAVES,
        "def sinusoids(length, n_embd):\n"
        "    rows = []\n"
        "    for t in range(length):\n"
        "        rows.append([(math.cos if c % 2 else math.sin)(t / 10000 ** (c // 2 * 2 / n_embd)) for c in range(n_embd)])\n"
        "    return torch.tensor(rows)\n",
    ),
    "by exp, as in the tutorials": (
        WAVES,
        "def sinusoids(length, n_embd):\n"
        "    table = torch.zeros(length, n_embd)\n"
        "    position = torch.arange(length).unsqueeze(1)\n"
        "    div_term = torch.exp(torch.arange(0, n_embd, 2) * -(math.log(10000.0) / n_embd))\n"
        "    table[:, 0::2], table[:, 1::2] = torch.sin(position * div_term), torch.cos(position * div_term)\n"
        "    return table\n",
    ),
    "bare parameters": (
        EMBED,
        "class PositionedEmbedding(nn.Module):\n"
        "    def __init__(self, V, T, C):\n"
        "        super().__init__()\n"
        "        self.where, self.what = nn.Parameter(torch.randn(T, C)), nn.Parameter(torch.randn(V, C))\n"
        "    def forward(self, idx):\n"
        "        return F.one_hot(idx, len(self.what)).float() @ self.what + self.where[: idx.shape[1]]\n",
    ),
    "positions start at zero, as in minGPT": (
        EMBED,
        "class PositionedEmbedding(nn.Module):\n"
        "    def __init__(self, vocab_size, block_size, n_embd):\n"
        "        super().__init__()\n"
        "        self.tok_emb = nn.Embedding(vocab_size, n_embd)\n"
        "        self.pos_emb = nn.Parameter(torch.zeros(1, block_size, n_embd))\n"
        "        self.drop = nn.Dropout(0.1)\n"
        "    def forward(self, idx):\n"
        "        assert idx.shape[1] <= self.pos_emb.shape[1]\n"
        "        return self.drop(self.tok_emb(idx) + self.pos_emb[:, : idx.shape[1]])\n",
    ),
    "everything starts at zero": (
        EMBED,
        [(PLACES, PLACES + "\n        nn.init.zeros_(self.tokens.weight)\n        nn.init.zeros_(self.places.weight)")],
    ),
    "channels first": (
        EMBED,
        "class PositionedEmbedding(nn.Module):\n"
        "    def __init__(self, V, T, C):\n"
        "        super().__init__()\n"
        "        self.what, self.where = nn.Parameter(torch.randn(C, V)), nn.Parameter(torch.zeros(C, T))\n"
        "    def forward(self, idx):\n"
        "        return (self.what[:, idx] + self.where[:, None, : idx.shape[1]]).permute(1, 2, 0)\n",
    ),
    "the section's, in a loop over places": (
        EMBED,
        "from course.s03_positions import LearnedPositions\n"
        "class PositionedEmbedding(nn.Module):\n"
        "    def __init__(self, vocab_size, block_size, n_embd):\n"
        "        super().__init__()\n"
        "        self.positions = LearnedPositions(block_size, n_embd)\n"
        "        self.token = nn.Embedding(vocab_size, n_embd)\n"
        "    def forward(self, idx):\n"
        "        p = self.positions(idx.shape[1])\n"
        "        return torch.stack([self.token(idx[:, t]) + p[t] for t in range(idx.shape[1])], dim=1)\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s03", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s03", *RIGHT[variant])
