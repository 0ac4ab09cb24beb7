"""Answers to the exercises of section 6: what is wrong is caught by its check, what is right passes."""

import pytest

NETWORK, CLIP = "FeedForward", "clip_by_hand"
EXPAND = "self.expand = nn.Linear(n_embd, 4 * n_embd)"
CONTRACT = "self.contract = nn.Linear(4 * n_embd, n_embd)"
HIDDEN = "hidden = self.expand(x).relu()"
RESULT = "return self.contract(hidden)"
NUMBERS = "return [1, 1], [0, -1], [1, -1], 0"
WIDE = "four times as wide"

WRONG = {
    "an instance": (NETWORK, "a module", "class Name(nn.Module)", "FeedForward = nn.Linear(5, 5)\n"),
    "left wide": (NETWORK, "the shape", "(2, 7, 20)", [(RESULT, "return hidden")]),
    "twice the first layer": (NETWORK, "the shape", "do not fit", [(RESULT, "return self.expand(hidden)")]),
    "not wider": (
        NETWORK,
        WIDE,
        "5 wide",
        [(EXPAND, EXPAND.replace("4 * ", "")), (CONTRACT, CONTRACT.replace("4 * ", ""))],
    ),
    "twice as wide": (
        NETWORK,
        WIDE,
        "10 wide",
        [(EXPAND, EXPAND.replace("4", "2")), (CONTRACT, CONTRACT.replace("4", "2"))],
    ),
    "layers in a list": (
        NETWORK,
        WIDE,
        "in a Python list none is found",
        [
            (EXPAND, "self.layers = [nn.Linear(n_embd, 4 * n_embd), nn.Linear(4 * n_embd, n_embd)]"),
            (CONTRACT, ""),
            (HIDDEN, "hidden = self.layers[0](x).relu()"),
            (RESULT, "return self.layers[1](hidden)"),
        ],
    ),
    "three layers": (
        NETWORK,
        WIDE,
        "It has 255 numbers",
        [(CONTRACT, CONTRACT + "\n        self.more = nn.Linear(n_embd, n_embd)")],
    ),
    "positions flattened": (
        NETWORK,
        "each position for itself",
        "All talking is done by attention",
        [(HIDDEN, "hidden = self.expand(x.transpose(1, 2).reshape(x.shape)).relu()")],
    ),
    "a mean over positions": (
        NETWORK,
        "each position for itself",
        "moved",
        [(HIDDEN, "hidden = self.expand(x - x.mean(1, keepdim=True)).relu()")],
    ),
    "no bend": (NETWORK, "a bend", "no more than one", [(".relu()", "")]),
    "no bend, and the last layer starts at zero": (
        NETWORK,
        "a bend",
        "two linear layers in a row",
        [(".relu()", ""), (CONTRACT, CONTRACT + "\n        nn.init.zeros_(self.contract.weight)")],
    ),
    "the bend not kept": (
        NETWORK,
        "a bend",
        "There is no bend",
        [(HIDDEN, "hidden = self.expand(x)\n        hidden.relu()")],
    ),
    "the bend at the end": (
        NETWORK,
        "the formula",
        "at the end and not in the middle",
        [(".relu()", ""), (RESULT, RESULT + ".relu()")],
    ),
    "the bend at the beginning": (
        NETWORK,
        "the formula",
        "before the first layer",
        [("self.expand(x).relu()", "self.expand(x.relu())")],
    ),
    "two bends": (NETWORK, "the formula", "bends twice", [(RESULT, RESULT + ".relu()")]),
    "GELU": (NETWORK, "the formula", "with GELU", [("self.expand(x).relu()", "nn.functional.gelu(self.expand(x))")]),
    "tanh": (NETWORK, "the formula", "with tanh", [(".relu()", ".tanh()")]),
    "sigmoid": (NETWORK, "the formula", "with a sigmoid", [(".relu()", ".sigmoid()")]),
    "softmax": (NETWORK, "the formula", "takes a softmax", [(".relu()", ".softmax(-1)")]),
    "its input added": (
        NETWORK,
        "the formula",
        "that comes in section 7",
        [(RESULT, "return x + self.contract(hidden)")],
    ),
    "bent upwards": (NETWORK, "the formula", "other numbers", [(".relu()", ".abs()")]),
    "bent in place": (
        NETWORK,
        "the input is left alone",
        "It changed the tensor",
        [(HIDDEN, HIDDEN + "\n        x.zero_()")],
    ),
    "hidden cut off": (NETWORK, "every layer learns", "`expand.weight` has no say", [(HIDDEN, HIDDEN + ".detach()")]),
    "three things": (
        CLIP,
        "four things of the right size",
        "four things",
        [(NUMBERS, "return [1, 1], [0, -1], [1, -1]")],
    ),
    "one channel": (
        CLIP,
        "four things of the right size",
        "`w1` should hold two",
        [(NUMBERS, "return [1], [0], [1], 0")],
    ),
    "two last biases": (
        CLIP,
        "four things of the right size",
        "`b2`",
        [(NUMBERS, "return [1, 1], [0, -1], [1, -1], [0, 0]")],
    ),
    "the absolute value": (
        CLIP,
        "0 below 0",
        "For x = -0.5 it gives 0.5",
        [(NUMBERS, "return [1, -1], [0, 0], [1, 1], 0")],
    ),
    "shifted up": (CLIP, "0 below 0", "b2 is all that is left", [(NUMBERS, "return [1, 1], [0, -1], [1, -1], 1")]),
    "twice as steep": (
        CLIP,
        "x from 0 to 1",
        "For x = 0.25 it gives 0.5",
        [(NUMBERS, "return [2, 1], [0, -1], [1, -2], 0")],
    ),
    "the second begins too early": (
        CLIP,
        "x from 0 to 1",
        "the other be silent",
        [(NUMBERS, "return [1, 1], [0, -0.5], [1, -1], 0")],
    ),
    "never stops": (
        CLIP,
        "1 from there on",
        "For x = 1.5 it gives 1.5",
        [(NUMBERS, "return [1, 0], [0, 0], [1, 0], 0")],
    ),
    "falls again": (CLIP, "1 from there on", "begin at 1", [(NUMBERS, "return [1, 1], [0, -1], [1, -2], 0")]),
}

RIGHT = {
    "the section's": (NETWORK, "from course.s06_feed_forward import FeedForward\n"),
    "a Sequential, without biases": (
        NETWORK,
        "class FeedForward(nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Linear(n, 4 * n, bias=False), nn.ReLU(), nn.Linear(4 * n, n, bias=False))\n"
        "    def forward(self, x):\n"
        "        return self.net(x)\n",
    ),
    "bare parameters, einsum": (
        NETWORK,
        "class FeedForward(nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n"
        "        self.b = nn.Parameter(torch.randn(4 * n, n))\n"
        "        self.a = nn.Parameter(torch.randn(n, 4 * n))\n"
        "    def forward(self, x):\n"
        "        hidden = torch.einsum('btc,cd->btd', x, self.a).clamp(min=0)\n"
        "        return torch.einsum('btd,dc->btc', hidden, self.b)\n",
    ),
    "position by position": (
        NETWORK,
        [
            (
                HIDDEN,
                "import torch\n        hidden = torch.stack([torch.where(h > 0, h, 0) for h in self.expand(x).unbind(1)], 1)",
            )
        ],
    ),
    "the last layer starts at zero": (
        NETWORK,
        [
            (
                CONTRACT,
                CONTRACT + "\n        nn.init.zeros_(self.contract.weight)\n        nn.init.zeros_(self.contract.bias)",
            )
        ],
    ),
    "everything starts at zero, biases of two dimensions": (
        NETWORK,
        "class FeedForward(nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n"
        "        self.a, self.a0 = nn.Parameter(torch.zeros(n, 4 * n)), nn.Parameter(torch.zeros(1, 4 * n))\n"
        "        self.b, self.b0 = nn.Parameter(torch.zeros(4 * n, n)), nn.Parameter(torch.zeros(1, n))\n"
        "    def forward(self, x):\n"
        "        return (x @ self.a + self.a0).relu() @ self.b + self.b0\n",
    ),
    "a layer and a bare parameter": (
        NETWORK,
        [
            (CONTRACT, "self.contract = nn.Linear(n_embd, 4 * n_embd, bias=False).weight"),
            (RESULT, "return hidden @ self.contract"),
        ],
    ),
    "convolutions over one position": (
        NETWORK,
        [
            (EXPAND, "self.expand = nn.Conv1d(n_embd, 4 * n_embd, 1)"),
            (CONTRACT, "self.contract = nn.Conv1d(4 * n_embd, n_embd, 1)"),
            (HIDDEN, "hidden = self.expand(x.mT).relu()"),
            (RESULT, "return self.contract(hidden).mT"),
        ],
    ),
    "the lecture's, with dropout": (
        NETWORK,
        [(RESULT, "return nn.functional.dropout(self.contract(hidden), 0.2, self.training)")],
    ),
    "the other way up": (CLIP, [(NUMBERS, "return [-1, -1], [1, 0], [-1, 1], 1")]),
    "steep and shallow, as tensors": (
        CLIP,
        [
            (
                NUMBERS,
                "import torch\n    return torch.tensor([2.0, 4.0]), torch.tensor([0.0, -4.0]), torch.tensor([0.5, -0.25]), torch.zeros(1)",
            )
        ],
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s06", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s06", *RIGHT[variant])
