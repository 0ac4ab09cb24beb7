"""Answers to the exercises of section 7: what is wrong is caught by its check, what is right passes."""

import pytest

BLOCK, NORMS = "Block", "gradient_norms"
FIRST = "x = x + self.attention(x)"
SECOND = "return x + self.feed_forward(x)"
VALUE = "each part is added"
LOSS = "loss = body(x).square().mean()"
GATHERED = "norms.append(torch.cat(gradients).norm().item())"


def forward(*lines: str) -> list[tuple[str, str]]:
    return [(FIRST, "\n        ".join(lines)), (SECOND, "")]


WRONG = {
    "a function": (BLOCK, "a module", "class Name(nn.Module)", "def Block(a, f):\n    return nn.Sequential(a, f)\n"),
    "super forgotten": (BLOCK, "a module", "super().__init__()", [("super().__init__()", "pass")]),
    "both side by side": (BLOCK, "the shape", "(2, 7, 10)", forward("return torch.cat([self.attention(x), x], -1)")),
    "nothing returned": (BLOCK, "the shape", "returned nothing", [(SECOND, SECOND.removeprefix("return "))]),
    "parts in a Python list": (
        BLOCK,
        "its parts are found",
        "In a Python list",
        [
            ("self.attention = attention", "self.parts = [attention, feed_forward]"),
            ("self.feed_forward = feed_forward", ""),
            (FIRST, "x = x + self.parts[0](x)"),
            (SECOND, "return x + self.parts[1](x)"),
        ],
    ),
    "a part of its own": (
        BLOCK,
        "its parts are found",
        "30 numbers of its own",
        [("self.feed_forward = feed_forward", "self.feed_forward = feed_forward\n        self.more = nn.Linear(5, 5)")],
    ),
    "no residual": (BLOCK, VALUE, "Nothing is added", forward("return self.feed_forward(self.attention(x))")),
    "around attention alone": (BLOCK, VALUE, "Only attention is added", [(SECOND, "return self.feed_forward(x)")]),
    "around the network alone": (
        BLOCK,
        VALUE,
        "Only the feed-forward network is added",
        [(FIRST, "x = self.attention(x)")],
    ),
    "both read the same": (
        BLOCK,
        VALUE,
        "Both parts read the same x",
        forward("return x + self.attention(x) + self.feed_forward(x)"),
    ),
    "the x of the beginning": (
        BLOCK,
        VALUE,
        "the x of the beginning",
        forward("return x + self.feed_forward(x + self.attention(x))"),
    ),
    "one plus around both": (
        BLOCK,
        VALUE,
        "not the stream that it was added to",
        forward("return x + self.feed_forward(self.attention(x))"),
    ),
    "the network reads attention": (
        BLOCK,
        VALUE,
        "attention's output alone",
        forward("a = self.attention(x)", "return x + a + self.feed_forward(a)"),
    ),
    "think, then talk": (
        BLOCK,
        VALUE,
        "talk, then think",
        forward("x = x + self.feed_forward(x)", "return x + self.attention(x)"),
    ),
    "the stream twice": (
        BLOCK,
        VALUE,
        "once is enough",
        forward("y = x + self.attention(x)", "return y + x + self.feed_forward(y)"),
    ),
    "halved": (BLOCK, VALUE, "is right", [(SECOND, "return (x + self.feed_forward(x)) / 2")]),
    "in place": (BLOCK, "the input is left alone", "in place of `x += ...`", [(FIRST, "x += self.attention(x)")]),
    "attention cut off": (
        BLOCK,
        "every layer learns",
        "has no say in the result",
        [(FIRST, "x = x + self.attention(x).detach()")],
    ),
    "a single number": (NORMS, "a number for each block", "a list", [("return norms", "return sum(norms)")]),
    "a number for each parameter": (
        NORMS,
        "a number for each block",
        "8 numbers",
        [(GATHERED, "norms += [g.norm().item() for g in gradients]")],
    ),
    "gradients, no numbers": (
        NORMS,
        "a number for each block",
        "is no number",
        [(GATHERED, "norms.append(gradients)")],
    ),
    "no backward": (NORMS, "a number for each block", "stopped with an error", [("loss.backward()", "")]),
    "weights": (
        NORMS,
        "the right numbers",
        "norms of the weights themselves",
        [("p.grad.flatten()", "p.detach().flatten()")],
    ),
    "norms added": (
        NORMS,
        "the right numbers",
        "weight and bias are added",
        [(GATHERED, "norms.append(sum(g.norm().item() for g in gradients))")],
    ),
    "squares": (
        NORMS,
        "the right numbers",
        "These are squares",
        [(GATHERED, "norms.append(torch.cat(gradients).square().sum().item())")],
    ),
    "from the top": (
        NORMS,
        "the right numbers",
        "The highest block comes first",
        [("return norms", "return norms[::-1]")],
    ),
    "the sum of squares": (NORMS, "the right numbers", "The loss is a sum", [(LOSS, "loss = body(x).square().sum()")]),
    "read before backward": (
        NORMS,
        "the right numbers",
        "All are zero",
        [("loss.backward()", ""), (GATHERED, "norms.append(float(sum(g.sum() for g in gradients)))")],
    ),
    "another loss": (NORMS, "the right numbers", "At block", [(LOSS, "loss = body(x).mean()")]),
    "not set to zero": (NORMS, "and again when called again", "zero_grad()", [("body.zero_grad()", "")]),
}

RIGHT = {
    "the section's": (BLOCK, "from course.s07_residual import Block\n"),
    "other names, in a ModuleList": (
        BLOCK,
        "class Block(nn.Module):\n"
        "    def __init__(self, talk, think):\n"
        "        super().__init__()\n"
        "        self.parts = nn.ModuleList([talk, think])\n"
        "    def forward(self, x):\n"
        "        for part in self.parts:\n"
        "            x = x + part(x)\n"
        "        return x\n",
    ),
    "with dropout": (
        BLOCK,
        [(FIRST, "x = x + nn.functional.dropout(self.attention(x), 0.2, self.training)")],
    ),
    "in one line, torch.add": (
        BLOCK,
        forward("y = torch.add(self.attention(x), x)", "return torch.add(self.feed_forward(y), y)"),
    ),
    "by autograd.grad": (
        NORMS,
        "def gradient_norms(body, x):\n"
        "    loss = (body(x) ** 2).mean()\n"
        "    grads = [torch.autograd.grad(loss, list(b.parameters()), retain_graph=True) for b in body]\n"
        "    return [sum(g.square().sum() for g in one) ** 0.5 for one in grads]\n",
    ),
    "a norm of norms": (
        NORMS,
        "def gradient_norms(body, x):\n"
        "    for p in body.parameters():\n"
        "        p.grad = None\n"
        "    nn.functional.mse_loss(body(x), torch.zeros_like(x)).backward()\n"
        "    return tuple(torch.stack([p.grad.norm() for p in b.parameters()]).norm() for b in body)\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s07", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s07", *RIGHT[variant])
