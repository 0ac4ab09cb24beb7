TOTAL = "return vocab_size * n_embd + block_size * n_embd + n_layer * block + norm + head"
ATTENTION = "attention = 4 * n_embd**2 + n_embd"
NETWORK = "feed_forward = 8 * n_embd**2 + 5 * n_embd"
CONTEXT = "context = idx[:, -block_size:]"
SOFTMAX = "probabilities = logits.softmax(dim=-1)"
DRAW = "drawn = torch.multinomial(probabilities, 1, generator=generator)"
APPEND = "idx = torch.cat([idx, drawn], dim=1)"
SUM = "x = self.tokens(idx) + self.positions(positions)"
BLOCKS = "self.blocks = nn.Sequential(*blocks)"
NORM = "x = self.norm(self.blocks(x))"
HEAD = "return self.head(x)"
START = "self.apply(init_weights)"
BIASES = """
from course.s08_layer_norm import LayerNorm, PreNormBlock
from course.s10_gpt import init_weights

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
        self.apply(init_weights)

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


# fmt: off
WRONG = {
    ("count_weights", "a whole number"): {"a text": ("not a whole number", TOTAL, "return str(norm)")},
    ("count_weights", "the right number"): {
        "no positions, counted": ("leaves out positions", " + block_size * n_embd", ""),
        "no tokens, counted": ("leaves out tokens", TOTAL, TOTAL.replace("vocab_size * n_embd + ", "")),
        "no last norm, counted": ("leaves out the last norm", " + norm + head", " + head"),
        "no norms in the blocks": ("leaves out norms of the blocks", "feed_forward + 2 * norm", "feed_forward"),
        "one norm in a block": ("one is left out", "feed_forward + 2 * norm", "feed_forward + norm"),
        "no shift": ("gain and a shift", "norm = 2 * n_embd\n", "norm = n_embd\n"),
        "one block": ("a single block", "n_layer * block", "block"),
        "biases for q, k, v": ("here they have none", ATTENTION, ATTENTION.replace("+ n_embd", "+ 4 * n_embd")),
        "no bias for the projection": ("The projection has a bias", ATTENTION, "attention = 4 * n_embd**2"),
        "no projection": ("leaves out projections", ATTENTION, "attention = 3 * n_embd**2"),
        "no biases in the network": ("4 C and C per block", NETWORK, "feed_forward = 8 * n_embd**2"),
        "network not wider": ("not 2 C²", NETWORK, "feed_forward = 2 * n_embd**2 + 2 * n_embd"),
        "no bias for the head": ("The head has a bias", "n_embd * vocab_size + vocab_size", "n_embd * vocab_size"),
        "no head": ("leaves out the head", " + norm + head", " + norm"),
        "something else": ("1 too many", TOTAL, TOTAL + " + 1")},
    ("generate", "the shape"): {
        "the new tokens alone": ("return the prompt", "return idx\n", "return idx[:, -new_tokens:]\n"),
        "one token too few": ("(2, 6)", "range(new_tokens)", "range(new_tokens - 1)"),
        "the last token dropped": ("(2, 7)", "range(new_tokens):", "range(new_tokens + 1):")},
    ("generate", "the prompt is kept"): {"appended in front": ("append after it", APPEND, "idx = torch.cat([drawn, idx], dim=1)")},
    ("generate", "a block at most"): {
        "not cropped": ("got 13 tokens", CONTEXT, "context = idx"),
        "cropped by one too few": ("got 8 tokens", "-block_size:", "-block_size - 1 :"),
        "cropped to half": ("give it a whole block", "-block_size:", "-block_size // 2 :"),
        "the last token alone": ("got 1 tokens", "-block_size:", "-1:"),
        "the beginning": ("give it the end", "-block_size:", ":block_size")},
    ("generate", "the last position predicts"): {
        "the first position": ("[:, -1]", "model(context)[:, -1]", "model(context)[:, 0]"),
        "all positions": ("were generated", "model(context)[:, -1]", "model(context).mean(dim=1)")},
    ("generate", "drawn with the probabilities"): {
        "the likeliest": ("takes the likeliest", DRAW, "drawn = probabilities.argmax(dim=-1, keepdim=True)"),
        "no softmax": ("used as probabilities", SOFTMAX, "probabilities = logits"),
        "softmax twice": ("softmax was taken twice", SOFTMAX, "probabilities = (50 * logits).softmax(-1) if logits.max() > 50 else logits.softmax(-1).softmax(-1)"),
        "all alike": ("equally likely", SOFTMAX, "probabilities = (logits >= min(logits.max() - 5, 50)).float()"),
        "temperature 1/2": ("temperature of 1/2", SOFTMAX, "probabilities = (logits / 0.5).softmax(-1)"),
        "temperature 2": ("temperature of 2", SOFTMAX, "probabilities = (logits / 2).softmax(-1)"),
        "drawn once for all": ("once for all", DRAW, "drawn = torch.multinomial(probabilities[:1], 1, generator=generator).expand(len(idx), 1) if idx.max() < 1 else torch.multinomial(probabilities, 1, generator=generator)")},
    ("generate", "the seed decides"): {
        "the seed unused": ("The same seed gave two", ", generator=generator)", ")"),
        "always the same seed": ("Two seeds gave the same", "manual_seed(seed)", "manual_seed(1)"),
        "the generator in the loop": ("before the loop", DRAW, "generator = torch.Generator().manual_seed(seed)\n        " + DRAW)},
    ("generate", "no dropout, no gradients"): {
        "dropout on": ("`model.eval()`", "model.eval()", ""),
        "gradients kept": ("`@torch.no_grad()`", "@torch.no_grad()\n", "")},
    ("GPT", "a module"): {"sizes by place": ("the stub's arguments", "*, block_size: int, n_layer: int", "*, block: int, layers: int")},
    ("GPT", "the shape"): {
        "embeddings, no logits": ("(2, 7, 15)", HEAD, "return x"),
        "the last position alone": ("(2, 11)", HEAD, "return self.head(x)[:, -1]"),
        "a whole block always": ("different sizes", "torch.arange(idx.shape[1])", "torch.arange(7)")},
    ("GPT", "every part is there"): {
        "blocks in a Python list": ("Its blocks are not found", BLOCKS, "self.blocks = blocks", NORM, "for block in self.blocks:\n            x = block(x)\n        x = self.norm(x)"),
        "one block many times": ("repeats the same one", BLOCKS, "self.blocks = nn.Sequential(*[blocks[0]] * n_layer)"),
        "no last norm": ("The last norm is missing", "self.norm = LayerNorm(n_embd)", "", NORM, "x = self.blocks(x)"),
        "no positions": ("The positions are missing", "self.positions = nn.Embedding(block_size, n_embd)", "", SUM, "x = self.tokens(idx)"),
        "head and tokens shared": ("The head shares", START, "self.head.weight = self.tokens.weight\n        " + START),
        "one block too many": ("and should have", "range(n_layer)]", "range(n_layer + 1)]")},
    ("GPT", "logits"): {
        "probabilities": ("returns probabilities", HEAD, "return self.head(x).softmax(-1)"),
        "their logarithms": ("log-probabilities", HEAD, "return self.head(x).log_softmax(-1)")},
    ("GPT", "the future stays hidden"): {
        "the future looked at": ("lets the future in", NORM, "x = self.norm(self.blocks(x.flip(1))).flip(1)"),
        "a mean over positions": ("changed when only", NORM, "x = self.norm(self.blocks(x))\n        x = x - x.mean(1, keepdim=True)")},
    ("GPT", "the past is used, in its order"): {
        "blocks not called": ("no position attends to another", NORM, "x = self.norm(x)"),
        "positions not added": ("add the positions", SUM, "x = self.tokens(idx)"),
        "positions not added, and the head starts at zero": ("Swapping the first two", SUM, "x = self.tokens(idx)", START, "nn.init.zeros_(self.head.weight)")},
    ("GPT", "a stream from end to end"): {
        "post-norm": ("The stream does not reach", "import LayerNorm, PreNormBlock", "import LayerNorm, PostNormBlock", "[PreNormBlock(", "[PostNormBlock("),
        "nothing is added": ("only adds to it", "PreNormBlock(BatchedMultiHead(n_embd, n_head), FeedForward(n_embd), n_embd) for", "nn.Sequential(LayerNorm(n_embd), BatchedMultiHead(n_embd, n_head), LayerNorm(n_embd), FeedForward(n_embd)) for"),
        "the last norm comes first": ("last norm from the embeddings", NORM, "x = self.blocks(self.norm(x))"),
        "the last norm has no effect": ("input of the head is not normalised", NORM, "x = self.blocks(x) + 0 * self.norm(x)")},
    ("GPT", "untrained, it knows nothing"): {"large at the start": ("deviation of 0.02", START, "nn.init.normal_(self.head.weight)")},
    ("GPT", "every layer learns"): {"the first block skipped": ("`blocks.0.attention.query.weight`", "self.blocks(x)", "self.blocks[-1](x)")},
}
RIGHT = {
    "count_weights": {
        "as a float": (TOTAL, TOTAL.replace("return ", "return 1.0 * "))},
    "generate": {
        "the section's generate": "from course.s01_bigram import generate",
        "by the exponential trick": (SOFTMAX, "noise = -torch.rand(logits.shape, generator=generator).log()", DRAW, "drawn = (logits - noise.log()).argmax(-1, keepdim=True)"),
        "by torch's global seed, sequence by sequence": """
def generate(model, idx, new_tokens, block_size, seed):
    torch.manual_seed(seed)
    model.eval()
    with torch.no_grad():
        for _ in range(new_tokens):
            probs = F.softmax(model(idx[:, -block_size:])[:, -1, :], dim=-1)
            idx = torch.cat((idx, torch.stack([torch.multinomial(p, 1) for p in probs])), dim=1)
    return idx
"""},
    "GPT": {
        "the section's": "from course.s10_gpt import GPT",
        "the head starts at zero": (START, START + "\n        nn.init.zeros_(self.head.weight)"),
        "every matrix starts at zero": (START, "for one in self.parameters():\n            if one.dim() > 1:\n                nn.init.zeros_(one)"),
        "tokens of size 1, and the head starts at zero": (START, "nn.init.zeros_(self.head.weight)\n        nn.init.zeros_(self.head.bias)"),
        "torch's encoder, with a mask": TORCHS,
        "biases everywhere": with_biases(True, True, True),
        "biases nowhere": with_biases(False, False, False)},
}
