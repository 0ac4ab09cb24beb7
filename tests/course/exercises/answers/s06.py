EXPAND = "self.expand = nn.Linear(n_embd, 4 * n_embd)"
CONTRACT = "self.contract = nn.Linear(4 * n_embd, n_embd)"
HIDDEN = "hidden = self.expand(x).relu()"
RESULT = "return self.contract(hidden)"
NUMBERS = "return [1, 1], [0, -1], [1, -1], 0"

# fmt: off
WRONG = {
    ("FeedForward", "a module"): {"an instance": ("class Name(nn.Module)", "FeedForward = nn.Linear(5, 5)")},
    ("FeedForward", "the shape"): {
        "left wide": ("(2, 7, 20)", RESULT, "return hidden"),
        "twice the first layer": ("do not fit", RESULT, "return self.expand(hidden)")},
    ("FeedForward", "four times as wide"): {
        "not wider": ("5 wide", EXPAND, EXPAND.replace("4 * ", ""), CONTRACT, CONTRACT.replace("4 * ", "")),
        "twice as wide": ("10 wide", EXPAND, EXPAND.replace("4", "2"), CONTRACT, CONTRACT.replace("4", "2")),
        "layers in a list": ("in a Python list", EXPAND, "self.layers = [nn.Linear(n_embd, 4 * n_embd), nn.Linear(4 * n_embd, n_embd)]", CONTRACT, "", HIDDEN, "hidden = self.layers[0](x).relu()", RESULT, "return self.layers[1](hidden)"),
        "three layers": ("255 parameters", CONTRACT, CONTRACT + "\n        self.more = nn.Linear(n_embd, n_embd)")},
    ("FeedForward", "each position by itself"): {
        "positions flattened": ("Only attention moves", HIDDEN, "hidden = self.expand(x.transpose(1, 2).reshape(x.shape)).relu()"),
        "a mean over positions": ("at 0, 1, 2, 3, 4, 5, 6", HIDDEN, "hidden = self.expand(x - x.mean(1, keepdim=True)).relu()")},
    ("FeedForward", "a non-linearity"): {
        "no ReLU": ("no more than one", ".relu()", ""),
        "no ReLU, and the last layer starts at zero": ("two linear layers in a row", ".relu()", "", CONTRACT, CONTRACT + "\n        nn.init.zeros_(self.contract.weight)"),
        "ReLU not kept": ("It is linear", HIDDEN, "hidden = self.expand(x)\n        hidden.relu()")},
    ("FeedForward", "the formula"): {
        "ReLU at the end": ("after the second layer", ".relu()", "", RESULT, RESULT + ".relu()"),
        "ReLU at the beginning": ("before the first layer", "self.expand(x).relu()", "self.expand(x.relu())"),
        "two ReLUs": ("ReLU comes twice", RESULT, RESULT + ".relu()"),
        "GELU": ("is GELU", "self.expand(x).relu()", "nn.functional.gelu(self.expand(x))"),
        "tanh": ("is tanh", ".relu()", ".tanh()"),
        "sigmoid": ("is a sigmoid", ".relu()", ".sigmoid()"),
        "softmax": ("is a softmax", ".relu()", ".softmax(-1)"),
        "its input added": ("that comes in section 7", RESULT, "return x + self.contract(hidden)"),
        "absolute value": ("other numbers", ".relu()", ".abs()")},
    ("FeedForward", "the input is left alone"): {"in place": ("changed its input", HIDDEN, HIDDEN + "\n        x.zero_()")},
    ("FeedForward", "every layer learns"): {"hidden cut off": ("`expand.weight`", HIDDEN, HIDDEN + ".detach()")},
    ("clip_by_hand", "four things of the right size"): {
        "three things": ("four things", NUMBERS, "return [1, 1], [0, -1], [1, -1]"),
        "one channel": ("`w1` should hold two", NUMBERS, "return [1], [0], [1], 0"),
        "two last biases": ("`b2`", NUMBERS, "return [1, 1], [0, -1], [1, -1], [0, 0]")},
    ("clip_by_hand", "0 below 0"): {
        "the absolute value": ("For x = -0.5 it gives 0.5", NUMBERS, "return [1, -1], [0, 0], [1, 1], 0"),
        "shifted up": ("only b2 remains", NUMBERS, "return [1, 1], [0, -1], [1, -1], 1")},
    ("clip_by_hand", "x from 0 to 1"): {
        "twice as steep": ("For x = 0.25 it gives 0.5", NUMBERS, "return [2, 1], [0, -1], [1, -2], 0"),
        "the second begins too early": ("the other be 0", NUMBERS, "return [1, 1], [0, -0.5], [1, -1], 0")},
    ("clip_by_hand", "1 from there on"): {
        "never stops": ("For x = 1.5 it gives 1.5", NUMBERS, "return [1, 0], [0, 0], [1, 0], 0"),
        "falls again": ("begin at 1", NUMBERS, "return [1, 1], [0, -1], [1, -2], 0")},
}
RIGHT = {
    "FeedForward": {
        "the section's": "from course.s06_feed_forward import FeedForward",
        "bare parameters, einsum": """
class FeedForward(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.b = nn.Parameter(torch.randn(4 * n, n))
        self.a = nn.Parameter(torch.randn(n, 4 * n))
    def forward(self, x):
        hidden = torch.einsum('btc,cd->btd', x, self.a).clamp(min=0)
        return torch.einsum('btd,dc->btc', hidden, self.b)
""",
        "everything starts at zero, biases of two dimensions": """
class FeedForward(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.a, self.a0 = nn.Parameter(torch.zeros(n, 4 * n)), nn.Parameter(torch.zeros(1, 4 * n))
        self.b, self.b0 = nn.Parameter(torch.zeros(4 * n, n)), nn.Parameter(torch.zeros(1, n))
    def forward(self, x):
        return (x @ self.a + self.a0).relu() @ self.b + self.b0
""",
        "convolutions over one position": (EXPAND, "self.expand = nn.Conv1d(n_embd, 4 * n_embd, 1)", CONTRACT, "self.contract = nn.Conv1d(4 * n_embd, n_embd, 1)", HIDDEN, "hidden = self.expand(x.mT).relu()", RESULT, "return self.contract(hidden).mT"),
        "the lecture's, with dropout": (RESULT, "return nn.functional.dropout(self.contract(hidden), 0.2, self.training)")},
    "clip_by_hand": {
        "the other way up": (NUMBERS, "return [-1, -1], [1, 0], [-1, 1], 1"),
        "steep and shallow, as tensors": (NUMBERS, "import torch\n    return torch.tensor([2.0, 4.0]), torch.tensor([0.0, -4.0]), torch.tensor([0.5, -0.25]), torch.zeros(1)")},
}
