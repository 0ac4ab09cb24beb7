EXPONENTS = "torch.arange(0, n_embd, 2) / n_embd"
TOKENS = "self.tokens = nn.Embedding(vocab_size, n_embd)"
POSITIONS = "self.positions = nn.Embedding(block_size, n_embd)"
RANGE = "positions = torch.arange(T)"
SUM = "return self.tokens(idx) + self.positions(positions)"

# fmt: off
WRONG = {
    ("sinusoids", "the shape"): {
        "channels first": ("(6, 7)", "return waves", "return waves.T"),
        "sines alone": ("(7, 3)", "return waves", "return angles.sin()")},
    ("sinusoids", "the waves"): {
        "halves": ("interleave", "waves[:, 0::2]", "waves[:, : n_embd // 2]", "waves[:, 1::2]", "waves[:, n_embd // 2 :]"),
        "cosine first": ("cosine comes before", "[:, 0::2] = angles.sin()", "[:, 0::2] = angles.cos()", "[:, 1::2] = angles.cos()", "[:, 1::2] = angles.sin()"),
        "sines everywhere": ("Every channel is a sine", "angles.cos()", "angles.sin()"),
        "exponent i / C": ("it is 2i / C", EXPONENTS, "torch.arange(n_embd // 2) / n_embd"),
        "a frequency for each channel": ("share one", "angles.cos()", "(torch.arange(length)[:, None] / 10_000.0 ** (torch.arange(1, n_embd, 2) / n_embd)).cos()"),
        "positions from 1": ("positions count from 1", "torch.arange(length)", "torch.arange(1, length + 1)"),
        "multiplied": ("divide by it", "[:, None] / 10", "[:, None] * 10"),
        "another base": ("is right", "10_000.0", "1_000.0")},
    ("PositionedEmbedding", "a module"): {"super forgotten": ("super().__init__()", "super().__init__()", "pass")},
    ("PositionedEmbedding", "the shape"): {
        "concatenated": ("(2, 7, 10)", SUM, "return torch.cat([self.tokens(idx), self.positions(positions).expand(len(idx), -1, -1)], -1)"),
        "the whole table": ("different sizes", SUM, "return self.tokens(idx) + self.positions.weight")},
    ("PositionedEmbedding", "two tables to learn"): {
        "positions as a tensor": ("A plain tensor or a buffer is not trained", POSITIONS, "self.positions = torch.randn(block_size, n_embd)", SUM, "return self.tokens(idx) + self.positions[:T]"),
        "no tokens": ("the tokens need a table", TOKENS, "", SUM, "return self.positions(positions).expand(len(idx), T, -1)"),
        "a position for each token": ("position table has a row per token", POSITIONS, POSITIONS.replace("block_size", "vocab_size")),
        "a token for each position": ("token table has a row per position", TOKENS, TOKENS.replace("vocab_size", "block_size")),
        "a third table": ("have 120", POSITIONS, POSITIONS + "\n        self.more = nn.Embedding(3, n_embd)")},
    ("PositionedEmbedding", "the same token differs by position"): {
        "positions forgotten": ("Is the position table added", SUM, "return self.tokens(idx)"),
        "positions looked up by token": ("not by token", SUM, "return self.tokens(idx) + self.positions(idx)"),
        "one position for a sequence": ("by position (torch", SUM, "return self.tokens(idx) + self.positions(torch.arange(len(idx)))[:, None]")},
    ("PositionedEmbedding", "a token affects its own position only"): {
        "tokens forgotten": ("did not change", SUM, "return self.positions(positions).expand(len(idx), T, -1)"),
        "tokens added up": ("only its own should", SUM, "return self.tokens(idx).cumsum(1) + self.positions(positions)")},
    ("PositionedEmbedding", "the sum"): {
        "from the end of the table": ("from the end", RANGE, "positions = torch.arange(13 - T, 13) if T < 14 else torch.arange(T)"),
        "counted from 1": ("count from 1", RANGE, "positions = torch.arange(1, T + 1)"),
        "backwards": ("run backwards", RANGE, "positions = torch.arange(T).flip(0)"),
        "multiplied, embedding": ("are multiplied: add them", "self.tokens(idx) + ", "self.tokens(idx) * "),
        "subtracted": ("is subtracted", "self.tokens(idx) + ", "self.tokens(idx) - "),
        "scaled as in the paper": ("The tokens are multiplied by √C", "self.tokens(idx) + ", "self.tokens(idx) * 5**0.5 + ")},
    ("PositionedEmbedding", "the block is a limit"): {"wrapped around": ("it accepted 14", RANGE, "positions = torch.arange(T) % 13")},
    ("PositionedEmbedding", "both tables learn"): {"tokens cut off": ("`tokens.weight`", "self.tokens(idx) + ", "self.tokens(idx).detach() + ")},
}
RIGHT = {
    "sinusoids": {
        "by exp, as in the tutorials": """
def sinusoids(length, n_embd):
    table = torch.zeros(length, n_embd)
    position = torch.arange(length).unsqueeze(1)
    div_term = torch.exp(torch.arange(0, n_embd, 2) * -(math.log(10000.0) / n_embd))
    table[:, 0::2], table[:, 1::2] = torch.sin(position * div_term), torch.cos(position * div_term)
    return table
"""},
    "PositionedEmbedding": {
        "bare parameters": """
class PositionedEmbedding(nn.Module):
    def __init__(self, V, T, C):
        super().__init__()
        self.where, self.what = nn.Parameter(torch.randn(T, C)), nn.Parameter(torch.randn(V, C))
    def forward(self, idx):
        return F.one_hot(idx, len(self.what)).float() @ self.what + self.where[: idx.shape[1]]
""",
        "positions start at zero, as in minGPT": """
class PositionedEmbedding(nn.Module):
    def __init__(self, vocab_size, block_size, n_embd):
        super().__init__()
        self.tok_emb = nn.Embedding(vocab_size, n_embd)
        self.pos_emb = nn.Parameter(torch.zeros(1, block_size, n_embd))
        self.drop = nn.Dropout(0.1)
    def forward(self, idx):
        assert idx.shape[1] <= self.pos_emb.shape[1]
        return self.drop(self.tok_emb(idx) + self.pos_emb[:, : idx.shape[1]])
""",
        "everything starts at zero": (POSITIONS, POSITIONS + "\n        nn.init.zeros_(self.tokens.weight)\n        nn.init.zeros_(self.positions.weight)")},
}
