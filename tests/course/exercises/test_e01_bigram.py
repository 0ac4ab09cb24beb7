"""Answers to the exercises of section 1: what is wrong is caught by its check, what is right passes."""

import pytest

BATCH, LOSS = "get_batch", "cross_entropy"
STARTS = "torch.randint(len(data) - block_size, (batch_size,), generator=generator).tolist()"
TARGETS = "torch.stack([data[start + 1 : start + block_size + 1] for start in starts])"
MEAN = "(log_sums - chosen).mean()"
POWERS = "log_sums = logits.exp().sum(dim=-1).log()"

WRONG = {
    "one tensor": (
        BATCH,
        "two tensors of the right shape",
        "two tensors",
        [("return inputs, targets", "return inputs")],
    ),
    "the other way round": (
        BATCH,
        "two tensors of the right shape",
        "(7, 5)",
        [("return inputs, targets", "return inputs.T, targets.T")],
    ),
    "only the last target": (
        BATCH,
        "two tensors of the right shape",
        "`targets`",
        [("return inputs, targets", "return inputs, targets[:, -1]")],
    ),
    "tokens from anywhere": (
        BATCH,
        "each piece stands so in the text",
        "one after the other",
        "def get_batch(data, batch_size, block_size, generator):\n"
        "    places = torch.randint(len(data) - 1, (batch_size, block_size), generator=generator)\n"
        "    return data[places], data[places + 1]\n",
    ),
    "targets not shifted": (
        BATCH,
        "targets are the next tokens",
        "Shift them",
        [(TARGETS, "inputs.clone()")],
    ),
    "shifted by two": (
        BATCH,
        "targets are the next tokens",
        "2 further on",
        [(TARGETS, TARGETS.replace("1 :", "2 :").replace("+ 1]", "+ 2]"))],
    ),
    "shifted backwards": (
        BATCH,
        "targets are the next tokens",
        "1 before its input",
        [
            ("data[start : start + block_size]", "data[start + 1 : start + 1 + block_size]"),
            (TARGETS, TARGETS.replace("start + 1 : start + block_size + 1", "start : start + block_size")),
        ],
    ),
    "shifted in a ring": (
        BATCH,
        "targets are the next tokens",
        "at position 6",
        [(TARGETS, "inputs.roll(-1, dims=1)")],
    ),
    "past the end": (
        BATCH,
        "no piece runs past the end",
        "A piece ran past the end of the text (",
        [("torch.randint(len(data) - block_size,", "torch.randint(len(data),")],
    ),
    "past the end by one": (
        BATCH,
        "no piece runs past the end",
        "below len(data) - block_size",
        [("torch.randint(len(data) - block_size,", "torch.randint(len(data) - block_size + 1,")],
    ),
    "past the end and on at the beginning": (
        BATCH,
        "no piece runs past the end",
        "went on elsewhere",
        "def get_batch(data, batch_size, block_size, generator):\n"
        "    starts = torch.randint(len(data), (batch_size, 1), generator=generator)\n"
        "    pieces = data[(starts + torch.arange(block_size + 1)) % len(data)]\n"
        "    return pieces[:, :-1], pieces[:, 1:]\n",
    ),
    "the last place never": (
        BATCH,
        "every place can be drawn",
        "started at 2",
        [("torch.randint(len(data) - block_size,", "torch.randint(len(data) - block_size - 1,")],
    ),
    "the first place never": (
        BATCH,
        "every place can be drawn",
        "started at 0",
        [("torch.randint(len(data) - block_size,", "torch.randint(1, len(data) - block_size,")],
    ),
    "one piece many times": (
        BATCH,
        "the generator draws",
        "All pieces of the batch are the same",
        [
            (
                STARTS,
                f"{STARTS} if len(data) < 99 else [int(torch.randint(9, (1,), generator=generator))] * batch_size",
            ),
        ],
    ),
    "the generator forgotten": (
        BATCH,
        "the generator draws",
        "same seed",
        [("(batch_size,), generator=generator)", "(batch_size,))")],
    ),
    "nothing drawn": (
        BATCH,
        "the generator draws",
        "at random",
        [(STARTS, "[i % (len(data) - block_size) for i in range(batch_size)]")],
    ),
    "a loss for each position": (LOSS, "one number", "their mean", [(MEAN, "log_sums - chosen")]),
    "nothing returned": (LOSS, "one number", "returned nothing", [("return " + MEAN, MEAN)]),
    "a Python number": (LOSS, "one number", "float", [(MEAN, MEAN + ".item()")]),
    "the sum": (LOSS, "the right number", "sum over all positions", [(MEAN, "(log_sums - chosen).sum()")]),
    "the mean over pieces only": (
        LOSS,
        "the right number",
        "sum over the positions",
        [(MEAN, "(log_sums - chosen).sum(1).mean()")],
    ),
    "over all logits": (
        LOSS,
        "the right number",
        "not over all logits",
        [(MEAN, "(log_sums - chosen).sum() / logits.numel()")],
    ),
    "the sign": (LOSS, "the right number", "The sign", [("log_sums - chosen", "chosen - log_sums")]),
    "bits": (LOSS, "the right number", "counts in bits", [(MEAN, MEAN + " / 0.6931472")]),
    "no logarithm": (
        LOSS,
        "the right number",
        "minus its logarithm",
        "def cross_entropy(logits, targets):\n    return logits.softmax(-1).gather(-1, targets[..., None]).mean()\n",
    ),
    "no softmax": (
        LOSS,
        "the right number",
        "the softmax is missing",
        "def cross_entropy(logits, targets):\n    return -logits.gather(-1, targets[..., None]).mean()\n",
    ),
    "softmax over positions": (
        LOSS,
        "the right number",
        "runs over the positions",
        "def cross_entropy(logits, targets):\n"
        "    return -logits.log_softmax(1).gather(-1, targets[..., None]).mean()\n",
    ),
    "softmax over pieces": (
        LOSS,
        "the right number",
        "runs over the pieces",
        "def cross_entropy(logits, targets):\n"
        "    return -logits.log_softmax(0).gather(-1, targets[..., None]).mean()\n",
    ),
    "softmax twice": (
        LOSS,
        "the right number",
        "taken twice",
        "def cross_entropy(logits, targets):\n"
        "    return F.cross_entropy(logits.softmax(-1).flatten(0, 1), targets.flatten())\n",
    ),
    "overflow": (
        LOSS,
        "large logits",
        "more than a float can hold",
        [("logits = logits - logits.amax(dim=-1, keepdim=True)", "")],
    ),
    "a small number under the logarithm": (
        LOSS,
        "large logits",
        "it gives 20.72, and 1000.35 is right",
        "def cross_entropy(logits, targets):\n"
        "    return -torch.log(logits.softmax(-1).gather(-1, targets[..., None]) + 1e-9).mean()\n",
    ),
    "clamped": (
        LOSS,
        "large logits",
        "or a clamp, hides how wrong the guess was",
        "def cross_entropy(logits, targets):\n"
        "    return -logits.softmax(-1).gather(-1, targets[..., None]).clamp(min=1e-12).log().mean()\n",
    ),
    "cut off": (
        LOSS,
        "gradients reach the logits",
        "No gradient",
        [("log_sums - chosen", "log_sums.data - chosen.data")],
    ),
}

WRONG |= {
    "a softmax over everything": (
        LOSS,
        "the right number",
        "over all pieces and positions at once",
        "def cross_entropy(logits, targets):\n"
        "    p = logits.exp() / logits.exp().sum()\n"
        "    return -p.log().gather(-1, targets[..., None]).mean()\n",
    ),
    "the mean of all probabilities": (
        LOSS,
        "the right number",
        "only that of the target counts",
        "def cross_entropy(logits, targets):\n    return -logits.log_softmax(-1).mean()\n",
    ),
    "classes in the last dimension": (
        LOSS,
        "one number",
        "wants the classes in the second dimension",
        "def cross_entropy(logits, targets):\n    return F.cross_entropy(logits, targets)\n",
    ),
    "an index without its last dimension": (
        LOSS,
        "one number",
        "targets[..., None]",
        "def cross_entropy(logits, targets):\n    return -logits.log_softmax(-1).gather(-1, targets).mean()\n",
    ),
}

RIGHT = {
    "by index": (
        BATCH,
        "def get_batch(data, batch_size, block_size, generator):\n"
        "    starts = torch.randint(0, len(data) - block_size, (batch_size, 1), generator=generator)\n"
        "    pieces = data[starts + torch.arange(block_size + 1)]\n"
        "    return pieces[:, :-1], pieces[:, 1:]\n",
    ),
    "by unfolding, as a list": (
        BATCH,
        "def get_batch(text, n, length, generator):\n"
        "    windows = text.unfold(0, length + 1, 1)\n"
        "    drawn = torch.randperm(len(windows), generator=generator)[torch.arange(n) % len(windows)]\n"
        "    return [windows[drawn, :-1], windows[drawn, 1:]]\n",
    ),
    "torch's": (
        LOSS,
        "def cross_entropy(logits, targets):\n    return F.cross_entropy(logits.transpose(1, 2), targets)\n",
    ),
    "in loops": (
        LOSS,
        "def cross_entropy(logits, targets):\n"
        "    losses = []\n"
        "    for b in range(logits.shape[0]):\n"
        "        for t in range(logits.shape[1]):\n"
        "            losses.append(-torch.log_softmax(logits[b, t], 0)[targets[b, t]])\n"
        "    return sum(losses) / len(losses)\n",
    ),
    "by logsumexp, in double precision": (
        LOSS,
        "def cross_entropy(logits, targets):\n"
        "    logits = logits.double()\n"
        "    return (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).mean()\n",
    ),
    "by one-hot": (
        LOSS,
        "def cross_entropy(logits, targets):\n"
        "    chosen = F.one_hot(targets, logits.shape[-1])\n"
        "    return -(logits.log_softmax(-1) * chosen).sum(-1).mean()\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s01", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s01", *RIGHT[variant])
