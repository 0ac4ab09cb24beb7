GATE = "if not self.training:\n            return x\n        "
KEPT = "kept = torch.rand_like(x) >= self.p"
SCALED = "return x * kept / (1 - self.p)"
LOSS = "loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())"
RESTORE = "model.train(was_training)"

# fmt: off
WRONG = {
    ("Dropout", "a module with nothing to learn"): {"something to learn": ("nothing to", "self.p = p", "self.p = nn.Parameter(torch.tensor(p))")},
    ("Dropout", "the shape"): {"what is kept alone": ("should be (20, 70, 50)", SCALED, "return x[kept]")},
    ("Dropout", "off in evaluation"): {
        "always on": ("only while `self.training`", GATE, ""),
        "on in evaluation alone": ("wrong way round", "if not self.training", "if self.training"),
        "scaled in evaluation": ("it multiplies by 0.80", "return x\n", "return x * (1 - self.p)\n", SCALED, "return x * kept")},
    ("Dropout", "a share of p is dropped"): {
        "p kept": ("not the one that is kept", KEPT, "kept = torch.rand_like(x) < self.p"),
        "nothing dropped": ("drops 0%", KEPT, "kept = 1"),
        "normal numbers": ("it should be 20%", "rand_like", "randn_like")},
    ("Dropout", "each number independently"): {
        "one mask for all channels": ("All channels", "torch.rand_like(x)", "torch.rand(x.shape[:-1])[..., None]"),
        "one mask for all positions": ("All positions", "torch.rand_like(x)", "torch.rand_like(x[:, :1])"),
        "one mask for all sequences": ("All sequences", "torch.rand_like(x)", "torch.rand(x.shape[1:])")},
    ("Dropout", "a new mask on every call"): {"one mask for ever": ("draw in `forward`", KEPT, "torch.manual_seed(1)\n        " + KEPT)},
    ("Dropout", "the mean stays"): {
        "not scaled": ("the mean falls by 20%", " / (1 - self.p)", ""),
        "multiplied by 1 - p": ("multiplied by 1 - p", " / (1 - self.p)", " * (1 - self.p)"),
        "divided by p": ("divided by p", "/ (1 - self.p)", "/ self.p"),
        "scaled twice": ("multiplied by 1.562", SCALED, SCALED + " / (1 - self.p)")},
    ("Dropout", "p = 0"): {"at least 1 % dropped": ("With p = 0", KEPT, "kept = torch.rand_like(x) >= max(self.p, 0.01)")},
    ("Dropout", "the input is left alone"): {"in place": ("changed its input", SCALED, "x *= kept / (1 - self.p)\n        return x")},
    ("Dropout", "gradients pass through"): {"cut off": ("No gradient", SCALED, "return x.data * kept / (1 - self.p)")},
    ("evaluation_loss", "a number"): {
        "not called": ("was not called", "def evaluation_loss(model, idx, targets): return 0.0"),
        "a tensor": ("with `.item()`", "return loss.item()", "return loss"),
        "nothing returned": ("NoneType", "return loss.item()", "loss.item()")},
    ("evaluation_loss", "dropout is off"): {
        "dropout on": ("`model.eval()`", "model.eval()", ""),
        "eval too late": ("before the model is called", "model.eval()", "", LOSS, LOSS + "\n        model.eval()")},
    ("evaluation_loss", "the right number"): {
        "the sum": ("sum over all positions", "targets.flatten())", "targets.flatten(), reduction='sum')"),
        "the first sequence only": ("over all positions", LOSS, "loss = F.cross_entropy(logits[0], targets[0])")},
    ("evaluation_loss", "no gradients are kept"): {"gradients kept": ("`torch.no_grad()`", "with torch.no_grad():", "if True:")},
    ("evaluation_loss", "the mode is restored"): {
        "left in evaluation": ("Restore the mode", RESTORE, ""),
        "always back to training": ("save `model.training` first", RESTORE, "model.train()")},
}
RIGHT = {
    "Dropout": {
        "the section's": "from course.s09_dropout import Dropout",
        "torch's own": "Dropout = nn.Dropout",
        "by bernoulli": (KEPT, "kept = torch.bernoulli(torch.full_like(x, 1 - self.p))"),
        "by torch's function": (SCALED, "return nn.functional.dropout(x, self.p, self.training)"),
        "sequence by sequence": (KEPT, "kept = torch.stack([torch.rand(one.shape) > self.p for one in x])")},
    "evaluation_loss": {
        "decorated, in inference mode": """
@torch.inference_mode()
def evaluation_loss(m, idx, targets):
    before = m.training
    try:
        return float(F.cross_entropy(m.eval()(idx).transpose(1, 2), targets))
    finally:
        m.train(before)
"""},
}
