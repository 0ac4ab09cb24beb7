STARTS = "torch.randint(len(data) - block_size, (batch_size,), generator=generator).tolist()"
TARGETS = "torch.stack([data[start + 1 : start + block_size + 1] for start in starts])"
MEAN = "(log_sums - chosen).mean()"

# fmt: off
WRONG = {
    ("get_batch", "two tensors of the right shape"): {
        "one tensor": ("two tensors", "return inputs, targets", "return inputs"),
        "the other way round": ("(7, 5)", "return inputs, targets", "return inputs.T, targets.T"),
        "only the last target": ("`targets`", "return inputs, targets", "return inputs, targets[:, -1]")},
    ("get_batch", "consecutive tokens"): {
        "tokens from anywhere": ("consecutive", """
def get_batch(data, batch_size, block_size, generator):
    places = torch.randint(len(data) - 1, (batch_size, block_size), generator=generator)
    return data[places], data[places + 1]
""")},
    ("get_batch", "targets are the next tokens"): {
        "targets not shifted": ("shift them", TARGETS, "inputs.clone()"),
        "shifted by two": ("2 after its input", TARGETS, TARGETS.replace("1 :", "2 :").replace("+ 1]", "+ 2]")),
        "shifted backwards": ("1 before its input", "data[start : start + block_size]", "data[start + 1 : start + 1 + block_size]", TARGETS, TARGETS.replace("start + 1 : start + block_size + 1", "start : start + block_size")),
        "shifted in a ring": ("at position 6", TARGETS, "inputs.roll(-1, dims=1)")},
    ("get_batch", "no sequence runs past the end"): {
        "past the end": ("past the end of the text (", "torch.randint(len(data) - block_size,", "torch.randint(len(data),"),
        "past the end by one": ("below len(data) - block_size", "torch.randint(len(data) - block_size,", "torch.randint(len(data) - block_size + 1,"),
        "past the end and on at the beginning": ("wrapped around", """
def get_batch(data, batch_size, block_size, generator):
    starts = torch.randint(len(data), (batch_size, 1), generator=generator)
    pieces = data[(starts + torch.arange(block_size + 1)) % len(data)]
    return pieces[:, :-1], pieces[:, 1:]
""")},
    ("get_batch", "every start can be drawn"): {
        "the last start never": ("started at 2", "torch.randint(len(data) - block_size,", "torch.randint(len(data) - block_size - 1,"),
        "the first start never": ("started at 0", "torch.randint(len(data) - block_size,", "torch.randint(1, len(data) - block_size,")},
    ("get_batch", "the generator decides"): {
        "one sequence many times": ("sequences of the batch are the same", STARTS, f"{STARTS} if len(data) < 99 else [int(torch.randint(9, (1,), generator=generator))] * batch_size"),
        "the generator forgotten": ("same seed", "(batch_size,), generator=generator)", "(batch_size,))"),
        "nothing drawn": ("at random", STARTS, "[i % (len(data) - block_size) for i in range(batch_size)]")},
    ("cross_entropy", "one number"): {
        "a loss for each position": ("their mean", MEAN, "log_sums - chosen"),
        "nothing returned": ("returned nothing", "return " + MEAN, MEAN),
        "a Python number": ("float", MEAN, MEAN + ".item()"),
        "classes in the last dimension": ("classes in the second dimension", "def cross_entropy(logits, targets): return F.cross_entropy(logits, targets)"),
        "an index without its last dimension": ("targets[..., None]", "def cross_entropy(logits, targets): return -logits.log_softmax(-1).gather(-1, targets).mean()")},
    ("cross_entropy", "the right number"): {
        "the sum": ("sum over all positions", MEAN, "(log_sums - chosen).sum()"),
        "the mean over sequences only": ("sum over the positions", MEAN, "(log_sums - chosen).sum(1).mean()"),
        "over all logits": ("not over all logits", MEAN, "(log_sums - chosen).sum() / logits.numel()"),
        "the sign": ("The sign", "log_sums - chosen", "chosen - log_sums"),
        "bits": ("in bits", MEAN, MEAN + " / 0.6931472"),
        "no logarithm": ("minus its logarithm", "def cross_entropy(logits, targets): return logits.softmax(-1).gather(-1, targets[..., None]).mean()"),
        "no softmax": ("the softmax is missing", "def cross_entropy(logits, targets): return -logits.gather(-1, targets[..., None]).mean()"),
        "softmax over positions": ("runs over the positions", "def cross_entropy(logits, targets): return -logits.log_softmax(1).gather(-1, targets[..., None]).mean()"),
        "softmax over the batch": ("runs over the batch", "def cross_entropy(logits, targets): return -logits.log_softmax(0).gather(-1, targets[..., None]).mean()"),
        "softmax twice": ("taken twice", "def cross_entropy(logits, targets): return F.cross_entropy(logits.softmax(-1).flatten(0, 1), targets.flatten())"),
        "a softmax over everything": ("everything at once", """
def cross_entropy(logits, targets):
    p = logits.exp() / logits.exp().sum()
    return -p.log().gather(-1, targets[..., None]).mean()
"""),
        "the mean of all probabilities": ("only that of the target counts", "def cross_entropy(logits, targets): return -logits.log_softmax(-1).mean()")},
    ("cross_entropy", "large logits"): {
        "overflow": ("more than a float can hold", "logits = logits - logits.amax(dim=-1, keepdim=True)", ""),
        "a small number under the logarithm": ("20.72; 1000.35 is right", "def cross_entropy(logits, targets): return -torch.log(logits.softmax(-1).gather(-1, targets[..., None]) + 1e-9).mean()"),
        "clamped": ("or a clamp, hides how wrong the guess was", "def cross_entropy(logits, targets): return -logits.softmax(-1).gather(-1, targets[..., None]).clamp(min=1e-12).log().mean()")},
    ("cross_entropy", "gradients reach the logits"): {"cut off": ("No gradient", "log_sums - chosen", "log_sums.data - chosen.data")},
}
RIGHT = {
    "get_batch": {
        "by unfolding, as a list": """
def get_batch(text, n, length, generator):
    windows = text.unfold(0, length + 1, 1)
    drawn = torch.randperm(len(windows), generator=generator)[torch.arange(n) % len(windows)]
    return [windows[drawn, :-1], windows[drawn, 1:]]
"""},
    "cross_entropy": {
        "torch's": "def cross_entropy(logits, targets): return F.cross_entropy(logits.transpose(1, 2), targets)",
        "by logsumexp, in double precision": """
def cross_entropy(logits, targets):
    logits = logits.double()
    return (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).mean()
"""},
}
