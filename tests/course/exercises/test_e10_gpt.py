"""Answers to the exercises of section 10: what is wrong is caught by its check, what is right passes."""

import pytest

COUNT, WRITE, GPT = "count_weights", "generate", "GPT"
RIGHT_NUMBER = "the right number"
TOTAL = "return vocab_size * n_embd + block_size * n_embd + n_layer * block + norm + head"
ATTENTION = "attention = 4 * n_embd**2 + n_embd"
NETWORK = "feed_forward = 8 * n_embd**2 + 5 * n_embd"
CONTEXT = "context = idx[:, -block_size:]"
LAST = "logits = model(context)[:, -1]"
SOFTMAX = "probabilities = logits.softmax(dim=-1)"
DRAW = "drawn = torch.multinomial(probabilities, 1, generator=generator)"
APPEND = "idx = torch.cat([idx, drawn], dim=1)"
DRAWN = "drawn by the probabilities"
SUM = "x = self.tokens(idx) + self.positions(places)"
BLOCKS = "self.blocks = nn.Sequential(*blocks)"
NORM = "x = self.norm(self.blocks(x))"
HEAD = "return self.head(x)"
START = "self.apply(start_small)"
THERE = "every part is there"
STREAM = "a stream from end to end"
BIASES = """
from course.s08_layer_norm import LayerNorm, PreNormBlock
from course.s10_gpt import start_small

class Attention(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.H, self.qkv, self.proj = H, nn.Linear(C, 3 * C, bias=ATTENTION), nn.Linear(C, C, bias=ATTENTION)

    def forward(self, x):
        q, k, v = (one.unflatten(-1, (self.H, -1)).transpose(1, 2) for one in self.qkv(x).chunk(3, -1))
        return self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))

class GPT(nn.Module):
    def __init__(self, vocab_size, *, block_size, n_layer, n_head, n_embd):
        super().__init__()
        C = n_embd
        self.tok_emb, self.pos_emb = nn.Embedding(vocab_size, C), nn.Parameter(torch.zeros(1, block_size, C))
        networks = [
            nn.Sequential(nn.Linear(C, 4 * C, bias=NETWORK), nn.ReLU(), nn.Linear(4 * C, C, bias=NETWORK), nn.Dropout(0.1))
            for _ in range(n_layer)
        ]
        self.blocks = nn.Sequential(*(PreNormBlock(Attention(C, n_head), network, C) for network in networks))
        self.ln_f, self.head = nn.LayerNorm(C), nn.Linear(C, vocab_size, bias=HEAD)
        self.apply(start_small)

    def forward(self, idx):
        return self.head(self.ln_f(self.blocks(self.tok_emb(idx) + self.pos_emb[:, : idx.shape[1]])))
"""
TORCHS = """
class GPT(nn.Module):
    def __init__(self, vocab_size, *, block_size, n_layer, n_head, n_embd):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        layer = nn.TransformerEncoderLayer(n_embd, n_head, 4 * n_embd, norm_first=True, batch_first=True)
        norm = nn.LayerNorm(n_embd)
        self.blocks = nn.TransformerEncoder(layer, n_layer, norm=norm, enable_nested_tensor=False)
        self.head = nn.Linear(n_embd, vocab_size)
        for one in (self.tokens, self.places, self.head):
            nn.init.normal_(one.weight, std=0.02)

    def forward(self, idx):
        T = idx.shape[1]
        x = self.tokens(idx) + self.places.weight[:T]
        return self.head(self.blocks(x, mask=torch.ones(T, T).triu(1).bool()))
"""


def with_biases(attention: bool, network: bool, head: bool) -> str:
    return BIASES.replace("ATTENTION", str(attention)).replace("NETWORK", str(network)).replace("HEAD", str(head))


WRONG = {
    "a text": (COUNT, "a whole number", "no whole number", [(TOTAL, "return str(norm)")]),
    "no positions, counted": (COUNT, RIGHT_NUMBER, "leaves out positions", [(" + block_size * n_embd", "")]),
    "no tokens, counted": (
        COUNT,
        RIGHT_NUMBER,
        "leaves out tokens",
        [(TOTAL, TOTAL.replace("vocab_size * n_embd + ", ""))],
    ),
    "no last norm, counted": (COUNT, RIGHT_NUMBER, "leaves out the last norm", [(" + norm + head", " + head")]),
    "no norms in the blocks": (
        COUNT,
        RIGHT_NUMBER,
        "leaves out norms of the blocks",
        [("feed_forward + 2 * norm", "feed_forward")],
    ),
    "one norm in a block": (
        COUNT,
        RIGHT_NUMBER,
        "one is left out",
        [("feed_forward + 2 * norm", "feed_forward + norm")],
    ),
    "no shift": (COUNT, RIGHT_NUMBER, "gain and a shift", [("norm = 2 * n_embd\n", "norm = n_embd\n")]),
    "one block": (COUNT, RIGHT_NUMBER, "a single block", [("n_layer * block", "block")]),
    "biases for q, k, v": (
        COUNT,
        RIGHT_NUMBER,
        "here they have none",
        [(ATTENTION, ATTENTION.replace("+ n_embd", "+ 4 * n_embd"))],
    ),
    "no bias for the projection": (
        COUNT,
        RIGHT_NUMBER,
        "The projection has a bias",
        [(ATTENTION, "attention = 4 * n_embd**2")],
    ),
    "no projection": (COUNT, RIGHT_NUMBER, "leaves out projections", [(ATTENTION, "attention = 3 * n_embd**2")]),
    "no biases in the network": (
        COUNT,
        RIGHT_NUMBER,
        "4 C and C in each block",
        [(NETWORK, "feed_forward = 8 * n_embd**2")],
    ),
    "network not wider": (COUNT, RIGHT_NUMBER, "not 2 C²", [(NETWORK, "feed_forward = 2 * n_embd**2 + 2 * n_embd")]),
    "no bias for the head": (
        COUNT,
        RIGHT_NUMBER,
        "The head has a bias",
        [("n_embd * vocab_size + vocab_size", "n_embd * vocab_size")],
    ),
    "no head": (COUNT, RIGHT_NUMBER, "leaves out the head", [(" + norm + head", " + norm")]),
    "something else": (COUNT, RIGHT_NUMBER, "1 too many", [(TOTAL, TOTAL + " + 1")]),
    "the new tokens alone": (
        WRITE,
        "the shape",
        "the prompt belongs in front",
        [("return idx\n", "return idx[:, -new_tokens:]\n")],
    ),
    "one token too few": (WRITE, "the shape", "(2, 6)", [("range(new_tokens)", "range(new_tokens - 1)")]),
    "the last token dropped": (WRITE, "the shape", "(2, 7)", [("range(new_tokens):", "range(new_tokens + 1):")]),
    "appended in front": (
        WRITE,
        "the prompt stays",
        "append after it",
        [(APPEND, "idx = torch.cat([drawn, idx], dim=1)")],
    ),
    "not cropped": (WRITE, "a block at most", "was given 13 tokens", [(CONTEXT, "context = idx")]),
    "cropped by one too few": (WRITE, "a block at most", "was given 8 tokens", [("-block_size:", "-block_size - 1 :")]),
    "cropped to half": (WRITE, "a block at most", "give it a whole block", [("-block_size:", "-block_size // 2 :")]),
    "the last token alone": (WRITE, "a block at most", "was given 1 tokens", [("-block_size:", "-1:")]),
    "the beginning": (WRITE, "a block at most", "the end counts", [("-block_size:", ":block_size")]),
    "the first position": (
        WRITE,
        "the last position speaks",
        "[:, -1]",
        [("model(context)[:, -1]", "model(context)[:, 0]")],
    ),
    "all positions": (
        WRITE,
        "the last position speaks",
        "were written",
        [("model(context)[:, -1]", "model(context).mean(dim=1)")],
    ),
    "the likeliest": (
        WRITE,
        DRAWN,
        "takes the likeliest",
        [(DRAW, "drawn = probabilities.argmax(dim=-1, keepdim=True)")],
    ),
    "no softmax": (WRITE, DRAWN, "taken for probabilities", [(SOFTMAX, "probabilities = logits")]),
    "softmax twice": (
        WRITE,
        DRAWN,
        "softmax was taken twice",
        [
            (
                SOFTMAX,
                "probabilities = (50 * logits).softmax(-1) if logits.max() > 50 else logits.softmax(-1).softmax(-1)",
            )
        ],
    ),
    "all alike": (
        WRITE,
        DRAWN,
        "equally likely",
        [(SOFTMAX, "probabilities = (logits >= min(logits.max() - 5, 50)).float()")],
    ),
    "temperature 1/2": (WRITE, DRAWN, "temperature of 1/2", [(SOFTMAX, "probabilities = (logits / 0.5).softmax(-1)")]),
    "temperature 2": (WRITE, DRAWN, "temperature of 2", [(SOFTMAX, "probabilities = (logits / 2).softmax(-1)")]),
    "drawn once for all": (
        WRITE,
        DRAWN,
        "once for all",
        [
            (
                DRAW,
                "drawn = torch.multinomial(probabilities[:1], 1, generator=generator).expand(len(idx), 1) if idx.max() < 1 else torch.multinomial(probabilities, 1, generator=generator)",
            )
        ],
    ),
    "the seed unused": (WRITE, "the seed chooses", "The same seed wrote two", [(", generator=generator)", ")")]),
    "always the same seed": (
        WRITE,
        "the seed chooses",
        "Two seeds wrote the same",
        [("manual_seed(seed)", "manual_seed(1)")],
    ),
    "the generator in the loop": (
        WRITE,
        "the seed chooses",
        "before the loop",
        [(DRAW, "generator = torch.Generator().manual_seed(seed)\n        " + DRAW)],
    ),
    "dropout on": (WRITE, "no dropout, no gradients", "`model.eval()`", [("model.eval()", "")]),
    "gradients kept": (WRITE, "no dropout, no gradients", "`@torch.no_grad()`", [("@torch.no_grad()\n", "")]),
    "sizes by place": (
        GPT,
        "a module",
        "the stub's arguments",
        [("*, block_size: int, n_layer: int", "*, block: int, layers: int")],
    ),
    "embeddings, no logits": (GPT, "the shape", "(2, 7, 15)", [(HEAD, "return x")]),
    "the last position alone": (GPT, "the shape", "(2, 11)", [(HEAD, "return self.head(x)[:, -1]")]),
    "a whole block always": (GPT, "the shape", "different sizes", [("torch.arange(idx.shape[1])", "torch.arange(7)")]),
    "blocks in a Python list": (
        GPT,
        THERE,
        "Its blocks are not found",
        [
            (BLOCKS, "self.blocks = blocks"),
            (NORM, "for block in self.blocks:\n            x = block(x)\n        x = self.norm(x)"),
        ],
    ),
    "one block many times": (
        GPT,
        THERE,
        "the same one over and over",
        [(BLOCKS, "self.blocks = nn.Sequential(*[blocks[0]] * n_layer)")],
    ),
    "no last norm": (
        GPT,
        THERE,
        "The last norm is missing",
        [("self.norm = LayerNorm(n_embd)", ""), (NORM, "x = self.blocks(x)")],
    ),
    "no positions": (
        GPT,
        THERE,
        "The positions are missing",
        [("self.positions = nn.Embedding(block_size, n_embd)", ""), (SUM, "x = self.tokens(idx)")],
    ),
    "head and tokens shared": (
        GPT,
        THERE,
        "The head shares",
        [(START, "self.head.weight = self.tokens.weight\n        " + START)],
    ),
    "one block too many": (GPT, THERE, "and should have", [("range(n_layer)]", "range(n_layer + 1)]")]),
    "probabilities": (GPT, "logits", "returns probabilities", [(HEAD, "return self.head(x).softmax(-1)")]),
    "their logarithms": (GPT, "logits", "logarithms of probabilities", [(HEAD, "return self.head(x).log_softmax(-1)")]),
    "the future looked at": (
        GPT,
        "the future stays hidden",
        "lets the future in",
        [(NORM, "x = self.norm(self.blocks(x.flip(1))).flip(1)")],
    ),
    "a mean over positions": (
        GPT,
        "the future stays hidden",
        "changed when only",
        [(NORM, "x = self.norm(self.blocks(x))\n        x = x - x.mean(1, keepdim=True)")],
    ),
    "blocks not asked": (
        GPT,
        "the past is heard, in its order",
        "no position hears another",
        [(NORM, "x = self.norm(x)")],
    ),
    "positions not added": (
        GPT,
        "the past is heard, in its order",
        "add the positions",
        [(SUM, "x = self.tokens(idx)")],
    ),
    "positions not added, and the head starts at zero": (
        GPT,
        "the past is heard, in its order",
        "changed places",
        [(SUM, "x = self.tokens(idx)"), (START, "nn.init.zeros_(self.head.weight)")],
    ),
    "post-norm": (
        GPT,
        STREAM,
        "The stream does not pass",
        [
            ("import LayerNorm, PreNormBlock", "import LayerNorm, PostNormBlock"),
            ("[PreNormBlock(", "[PostNormBlock("),
        ],
    ),
    "nothing is added": (
        GPT,
        STREAM,
        "only adds to it",
        [
            (
                "PreNormBlock(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd), n_embd) for",
                "nn.Sequential(LayerNorm(n_embd), BatchedMultiHead(n_embd, n_head), LayerNorm(n_embd), FeedForward(n_embd)) for",
            )
        ],
    ),
    "the last norm comes first": (
        GPT,
        STREAM,
        "from the embeddings to the last norm",
        [(NORM, "x = self.blocks(self.norm(x))")],
    ),
    "the last norm has no effect": (
        GPT,
        STREAM,
        "What the head reads is not normalised",
        [(NORM, "x = self.blocks(x) + 0 * self.norm(x)")],
    ),
    "large at the start": (
        GPT,
        "untrained, it knows nothing",
        "size 0.02",
        [(START, "nn.init.normal_(self.head.weight)")],
    ),
    "the first block skipped": (GPT, "every layer learns", "has no say", [("self.blocks(x)", "self.blocks[-1](x)")]),
}

RIGHT = {
    "parts counted one by one": (
        COUNT,
        "def count_weights(V, T, L, C):\n"
        "    from course.s10_gpt import GPT\n"
        "    model = GPT(V, block_size=T, n_layer=L, n_head=1, n_embd=C)\n"
        "    return sum(p.numel() for p in model.parameters())\n",
    ),
    "as a float": (COUNT, [(TOTAL, TOTAL.replace("return ", "return 1.0 * "))]),
    "the section's generate": (WRITE, "from course.s01_bigram import generate\n"),
    "by cumulated probabilities": (
        WRITE,
        [
            (
                DRAW,
                "drawn = (probabilities.cumsum(-1) < torch.rand(len(idx), 1, generator=generator)).sum(-1, keepdim=True)",
            )
        ],
    ),
    "by the exponential trick": (
        WRITE,
        [
            (SOFTMAX, "noise = -torch.rand(logits.shape, generator=generator).log()"),
            (DRAW, "drawn = (logits - noise.log()).argmax(-1, keepdim=True)"),
        ],
    ),
    "by torch's global seed, sequence by sequence": (
        WRITE,
        "def generate(model, idx, new_tokens, block_size, seed):\n"
        "    torch.manual_seed(seed)\n"
        "    model.eval()\n"
        "    with torch.no_grad():\n"
        "        for _ in range(new_tokens):\n"
        "            probs = F.softmax(model(idx[:, -block_size:])[:, -1, :], dim=-1)\n"
        "            idx = torch.cat((idx, torch.stack([torch.multinomial(p, 1) for p in probs])), dim=1)\n"
        "    return idx\n",
    ),
    "the section's": (GPT, "from course.s10_gpt import GPT\n"),
    "the head starts at zero": (GPT, [(START, START + "\n        nn.init.zeros_(self.head.weight)")]),
    "what each part says starts at zero": (
        GPT,
        [
            (
                START,
                START + "\n        for name, one in self.named_parameters():\n"
                "            if name.endswith(('proj.weight', 'contract.weight')) or 'positions' in name:\n"
                "                nn.init.zeros_(one)",
            )
        ],
    ),
    "every matrix starts at zero": (
        GPT,
        [(START, "for one in self.parameters():\n            if one.dim() > 1:\n                nn.init.zeros_(one)")],
    ),
    "tokens of size 1, and the head starts at zero": (
        GPT,
        [(START, "nn.init.zeros_(self.head.weight)\n        nn.init.zeros_(self.head.bias)")],
    ),
    "torch's encoder, with a mask": (GPT, TORCHS),
    "biases everywhere": (GPT, with_biases(True, True, True)),
    "biases nowhere": (GPT, with_biases(False, False, False)),
    "biases in the network alone": (GPT, with_biases(False, True, False)),
    "biases in attention alone": (GPT, with_biases(True, False, False)),
    "torch's own parts, no bias in the head": (
        GPT,
        "class Block(nn.Module):\n"
        "    def __init__(self, C, H):\n"
        "        super().__init__()\n"
        "        self.n1, self.n2 = nn.LayerNorm(C), nn.LayerNorm(C)\n"
        "        self.att = nn.MultiheadAttention(C, H, batch_first=True)\n"
        "        self.net = nn.Sequential(nn.Linear(C, 4 * C), nn.ReLU(), nn.Linear(4 * C, C))\n"
        "    def forward(self, x):\n"
        "        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()\n"
        "        n = self.n1(x)\n"
        "        x = x + self.att(n, n, n, attn_mask=mask, need_weights=False)[0]\n"
        "        return x + self.net(self.n2(x))\n"
        "class GPT(nn.Module):\n"
        "    def __init__(self, vocab_size, *, block_size, n_layer, n_head, n_embd):\n"
        "        super().__init__()\n"
        "        self.wte = nn.Embedding(vocab_size, n_embd)\n"
        "        self.wpe = nn.Parameter(0.02 * torch.randn(block_size, n_embd))\n"
        "        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))\n"
        "        self.ln_f = nn.LayerNorm(n_embd)\n"
        "        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)\n"
        "        nn.init.normal_(self.wte.weight, std=0.02)\n"
        "        nn.init.normal_(self.lm_head.weight, std=0.02)\n"
        "    def forward(self, idx):\n"
        "        x = self.wte(idx) + self.wpe[: idx.shape[1]]\n"
        "        for block in self.h:\n"
        "            x = block(x)\n"
        "        return self.lm_head(self.ln_f(x))\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s10", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s10", *RIGHT[variant])
