FIRST = "x = x + self.attention(x)"
SECOND = "return x + self.feed_forward(x)"
LOSS = "loss = body(x).square().mean()"
GATHERED = "norms.append(torch.cat(gradients).norm().item())"


def forward(*lines: str) -> tuple[str, ...]:
    return FIRST, "\n        ".join(lines), SECOND, ""


# fmt: off
WRONG = {
    ("Block", "a module"): {
        "a function": ("class Name(nn.Module)", "def Block(a, f): return nn.Sequential(a, f)"),
        "super forgotten": ("super().__init__()", "super().__init__()", "pass")},
    ("Block", "the shape"): {
        "both side by side": ("(2, 7, 10)", *forward("return torch.cat([self.attention(x), x], -1)")),
        "nothing returned": ("returned nothing", SECOND, SECOND.removeprefix("return "))},
    ("Block", "its parts are found"): {
        "parts in a Python list": ("In a Python list", "self.attention = attention", "self.parts = [attention, feed_forward]", "self.feed_forward = feed_forward", "", FIRST, "x = x + self.parts[0](x)", SECOND, "return x + self.parts[1](x)"),
        "one part too many": ("30 parameters too many", "self.feed_forward = feed_forward", "self.feed_forward = feed_forward\n        self.more = nn.Linear(5, 5)")},
    ("Block", "each part is added"): {
        "no residual": ("Nothing is added", *forward("return self.feed_forward(self.attention(x))")),
        "around attention alone": ("Only attention is added", SECOND, "return self.feed_forward(x)"),
        "around the network alone": ("Only the feed-forward network is added", FIRST, "x = self.attention(x)"),
        "both read the same": ("Both parts read the same x", *forward("return x + self.attention(x) + self.feed_forward(x)")),
        "the x of the beginning": ("the original x", *forward("return x + self.feed_forward(x + self.attention(x))")),
        "one plus around both": ("one sum around both", *forward("return x + self.feed_forward(self.attention(x))")),
        "the network reads attention": ("only attention's output", *forward("a = self.attention(x)", "return x + a + self.feed_forward(a)")),
        "feed-forward first": ("comes first", *forward("x = x + self.feed_forward(x)", "return x + self.attention(x)")),
        "the stream twice": ("added twice", *forward("y = x + self.attention(x)", "return y + x + self.feed_forward(y)")),
        "halved": ("is right", SECOND, "return (x + self.feed_forward(x)) / 2")},
    ("Block", "the input is left alone"): {"in place": ("instead of `x += ...`", FIRST, "x += self.attention(x)")},
    ("Block", "every layer learns"): {"attention cut off": ("`attention.0.weight`", FIRST, "x = x + self.attention(x).detach()")},
    ("gradient_norms", "one number per block"): {
        "a single number": ("a list", "return norms", "return sum(norms)"),
        "a number for each parameter": ("8 numbers", GATHERED, "norms += [g.norm().item() for g in gradients]"),
        "gradients, no numbers": ("is not a number", GATHERED, "norms.append(gradients)"),
        "no backward": ("stopped with an error", "loss.backward()", "")},
    ("gradient_norms", "the right numbers"): {
        "weights": ("norms of the weights themselves", "p.grad.flatten()", "p.detach().flatten()"),
        "norms added": ("weight and bias are summed", GATHERED, "norms.append(sum(g.norm().item() for g in gradients))"),
        "squares": ("These are squares", GATHERED, "norms.append(torch.cat(gradients).square().sum().item())"),
        "from the top": ("The highest block comes first", "return norms", "return norms[::-1]"),
        "the sum of squares": ("The loss is the sum", LOSS, "loss = body(x).square().sum()"),
        "read before backward": ("All are zero", "loss.backward()", "", GATHERED, "norms.append(float(sum(g.sum() for g in gradients)))"),
        "another loss": ("At block", LOSS, "loss = body(x).mean()")},
    ("gradient_norms", "the same when called again"): {"not set to zero": ("zero_grad()", "body.zero_grad()", "")},
}
RIGHT = {
    "Block": {
        "other names, in a ModuleList": """
class Block(nn.Module):
    def __init__(self, talk, think):
        super().__init__()
        self.parts = nn.ModuleList([talk, think])
    def forward(self, x):
        for part in self.parts:
            x = x + part(x)
        return x
""",
        "with dropout": (FIRST, "x = x + nn.functional.dropout(self.attention(x), 0.2, self.training)"),
        "in one line, torch.add": forward("y = torch.add(self.attention(x), x)", "return torch.add(self.feed_forward(y), y)")},
    "gradient_norms": {
        "by autograd.grad": """
def gradient_norms(body, x):
    loss = (body(x) ** 2).mean()
    grads = [torch.autograd.grad(loss, list(b.parameters()), retain_graph=True) for b in body]
    return [sum(g.square().sum() for g in one) ** 0.5 for one in grads]
""",
        "a norm of norms": """
def gradient_norms(body, x):
    for p in body.parameters():
        p.grad = None
    nn.functional.mse_loss(body(x), torch.zeros_like(x)).backward()
    return tuple(torch.stack([p.grad.norm() for p in b.parameters()]).norm() for b in body)
"""},
}
