"""Answers to the exercises of section 9: what is wrong is caught by its check, what is right passes."""

import pytest

DROP, MEASURE = "Dropout", "evaluation_loss"
GATE = "if not self.training:\n            return x\n        "
KEPT = "kept = torch.rand_like(x) >= self.p"
SCALED = "return x * kept / (1 - self.p)"
ALONE = "each number for itself"
LOSS = "loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())"
RESTORE = "model.train(was_training)"

WRONG = {
    "something to learn": (
        DROP,
        "a module with nothing to learn",
        "nothing to",
        [("self.p = p", "self.p = nn.Parameter(torch.tensor(p))")],
    ),
    "what is kept alone": (DROP, "the shape", "It should have (20, 70, 50)", [(SCALED, "return x[kept]")]),
    "always on": (DROP, "in evaluation nothing happens", "only while `self.training`", [(GATE, "")]),
    "on in evaluation alone": (
        DROP,
        "in evaluation nothing happens",
        "wrong way round",
        [("if not self.training", "if self.training")],
    ),
    "scaled in evaluation": (
        DROP,
        "in evaluation nothing happens",
        "it multiplies by 0.80",
        [("return x\n", "return x * (1 - self.p)\n"), (SCALED, "return x * kept")],
    ),
    "p kept": (
        DROP,
        "a share of p is left out",
        "not the one that is kept",
        [(KEPT, "kept = torch.rand_like(x) < self.p")],
    ),
    "nothing left out": (DROP, "a share of p is left out", "leaves out 0%", [(KEPT, "kept = 1")]),
    "normal numbers": (DROP, "a share of p is left out", "it should be 20%", [("rand_like", "randn_like")]),
    "one mask for all channels": (
        DROP,
        ALONE,
        "all channels of a position",
        [("torch.rand_like(x)", "torch.rand(x.shape[:-1])[..., None]")],
    ),
    "one mask for all positions": (
        DROP,
        ALONE,
        "all positions of a piece",
        [("torch.rand_like(x)", "torch.rand_like(x[:, :1])")],
    ),
    "one mask for all pieces": (
        DROP,
        ALONE,
        "all pieces of the batch",
        [("torch.rand_like(x)", "torch.rand(x.shape[1:])")],
    ),
    "one mask for ever": (
        DROP,
        "anew each time",
        "draw in `forward`",
        [(KEPT, "torch.manual_seed(1)\n        " + KEPT)],
    ),
    "not scaled": (DROP, "the mean stays", "the mean falls by 20%", [(" / (1 - self.p)", "")]),
    "multiplied by 1 - p": (DROP, "the mean stays", "is multiplied by 1 - p", [(" / (1 - self.p)", " * (1 - self.p)")]),
    "divided by p": (DROP, "the mean stays", "is divided by p", [("/ (1 - self.p)", "/ self.p")]),
    "scaled twice": (DROP, "the mean stays", "multiplied by 1.562", [(SCALED, SCALED + " / (1 - self.p)")]),
    "a pinch always left out": (
        DROP,
        "p = 0",
        "With p = 0",
        [(KEPT, "kept = torch.rand_like(x) >= max(self.p, 0.01)")],
    ),
    "in place": (
        DROP,
        "the input is left alone",
        "It changed the tensor",
        [(SCALED, "x *= kept / (1 - self.p)\n        return x")],
    ),
    "cut off": (DROP, "gradients pass through", "No gradient", [(SCALED, "return x.data * kept / (1 - self.p)")]),
    "not asked": (MEASURE, "a number", "was not asked", "def evaluation_loss(model, idx, targets):\n    return 0.0\n"),
    "a tensor": (MEASURE, "a number", "by `.item()`", [("return loss.item()", "return loss")]),
    "nothing returned": (MEASURE, "a number", "NoneType", [("return loss.item()", "loss.item()")]),
    "dropout on": (MEASURE, "dropout is off", "`model.eval()`", [("model.eval()", "")]),
    "eval too late": (
        MEASURE,
        "dropout is off",
        "before the model is asked",
        [("model.eval()", ""), (LOSS, LOSS + "\n        model.eval()")],
    ),
    "the sum": (
        MEASURE,
        "the right number",
        "sum over all positions",
        [("targets.flatten())", "targets.flatten(), reduction='sum')")],
    ),
    "the first piece alone": (
        MEASURE,
        "the right number",
        "over all positions of all pieces",
        [(LOSS, "loss = F.cross_entropy(logits[0], targets[0])")],
    ),
    "gradients kept": (MEASURE, "no gradients are kept", "`torch.no_grad()`", [("with torch.no_grad():", "if True:")]),
    "left in evaluation": (MEASURE, "the mode is as before", "Set it back", [(RESTORE, "")]),
    "always back to training": (
        MEASURE,
        "the mode is as before",
        "keep `model.training` first",
        [(RESTORE, "model.train()")],
    ),
}

RIGHT = {
    "the section's": (DROP, "from course.s09_dropout import Dropout\n"),
    "torch's own": (DROP, "Dropout = nn.Dropout\n"),
    "by bernoulli": (
        DROP,
        [(KEPT, "kept = torch.bernoulli(torch.full_like(x, 1 - self.p))")],
    ),
    "by masked_fill": (
        DROP,
        [(SCALED, "return (x / (1 - self.p)).masked_fill(~kept, 0.0)")],
    ),
    "by torch's function": (
        DROP,
        [(SCALED, "return nn.functional.dropout(x, self.p, self.training)")],
    ),
    "piece by piece": (
        DROP,
        [(KEPT, "kept = torch.stack([torch.rand(one.shape) > self.p for one in x])")],
    ),
    "decorated, in inference mode": (
        MEASURE,
        "@torch.inference_mode()\n"
        "def evaluation_loss(m, idx, targets):\n"
        "    before = m.training\n"
        "    try:\n"
        "        return float(F.cross_entropy(m.eval()(idx).transpose(1, 2), targets))\n"
        "    finally:\n"
        "        m.train(before)\n",
    ),
    "piece by piece, measured": (
        MEASURE,
        "def evaluation_loss(m, idx, targets):\n"
        "    before = m.training\n"
        "    m.train(False)\n"
        "    with torch.set_grad_enabled(False):\n"
        "        losses = [F.cross_entropy(m(a[None])[0], b).item() for a, b in zip(idx, targets)]\n"
        "    m.train(before)\n"
        "    return sum(losses) / len(losses)\n",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_caught_by_its_check(mistake, assert_caught):
    assert_caught("s09", *WRONG[mistake])


@pytest.mark.parametrize("variant", RIGHT)
def test_a_right_answer_passes(variant, assert_right):
    assert_right("s09", *RIGHT[variant])
