# %% [markdown]
# # 1. The simplest language model: a table of pairs
#
# - **New here:** `CharTokenizer`, `split`, `get_batch`, `Bigram`, and the tools that every later section uses as
#   they are: `train`, `evaluate`, `generate`, `run_experiment` with its `Setting`, `Losses` and `Result`.
# - **In the lecture:** [00:07:52] reading the data, [00:09:28] tokens and the split, [00:14:27] batches, [00:22:11]
#   the bigram model, [00:34:53] training it.
# - **In the paper** ("Attention Is All You Need", Vaswani et al. 2017): the two ends of figure 1, and section 3.4:
#   tokens in, softmax over next tokens out. Everything between those ends comes later.
# - **Takes** about 5 seconds on a laptop.
# - **Expect** a validation loss of about 2.49 on Tiny Shakespeare after 3,000 steps, from 4.17 untrained.
#
# A language model answers one question: given the text so far, how likely is each possible next character? Whoever
# can answer it can also write: ask, draw a character, append it, ask again. This section builds the whole machine
# around that question (text to numbers, examples, a loss, training, writing) with the smallest model that can be
# put inside. The nine sections after this one only replace the model.
#
# **The idea in a sentence:** rely on nothing but the last character, and let a table say what follows.


# %%
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.console import InputError, Report, finish, quiet, run, show
from nanogpt.text.corpus import load_corpus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IDEA = "a table from each character to the next"

# %% [markdown]
# ## Characters become numbers
#
# A network computes with numbers, so each character of the text gets one: its place in the sorted alphabet of the
# text. For the text `hello` the alphabet is `e h l o`, so `h` is 1, `e` is 0, and the whole is `1 0 2 2 3`. Real
# systems use longer pieces (GPT-2 has 50,257 of them); with characters nothing is hidden and the vocabulary is
# small.
#
# **PyTorch in a few words**, for all that follows. A *tensor* is an array of numbers; its *shape*, such as (B, T, C),
# stands in comments. `data[places]`, with a tensor of places, picks all of them at once; `x.flatten(0, 1)` joins the
# first two dimensions, `x[None]` adds one of size 1. An `nn.Module` is made of parameters (the numbers that are
# learned) and of other modules; `super().__init__()` comes first in it, and `model(x)` calls its `forward`.
# `nn.Embedding(n, m)` is a table of n rows that is looked up by row. `model.train()` and `model.eval()` set a switch
# in every part (only dropout, section 9, asks for it). Under `torch.no_grad()` nothing is kept for gradients, which
# are explained below, under *Training*.


# %%
class CharTokenizer:
    """Characters to ids and back; the vocabulary is every character of `text`, sorted."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        self.id_of = {character: i for i, character in enumerate(self.characters)}
        self.vocab_size = len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Convert text to ids. Raises InputError for a character that is not in the vocabulary."""
        try:
            return [self.id_of[character] for character in text]
        except KeyError as error:
            raise InputError(f"the character {error.args[0]!r} is not in this text; leave it out") from None

    def decode(self, ids: list[int]) -> str:
        """Convert ids to text."""
        return "".join(self.characters[i] for i in ids)


def show_characters() -> None:
    """Convert `hello` to ids and back."""
    tokenizer = CharTokenizer("hello")
    ids = tokenizer.encode("hello")
    assert tokenizer.characters == ["e", "h", "l", "o"]
    assert ids == [1, 0, 2, 2, 3]
    assert tokenizer.decode(ids) == "hello"
    print(f"alphabet {tokenizer.characters}, 'hello' is {ids}, and back: {tokenizer.decode(ids)!r}")


# %%
if __name__ == "__main__":
    show(show_characters)

# %% [markdown]
# ## What it may see, and what it is tested on
#
# A model that only repeats what it saw is of no use, and we want to notice. So the last tenth of the text is put
# aside and never trained on: the *validation* part. The loss there is the number this course is about.
#
# Training does not read the text from front to back. Each step takes a *batch* of short pieces from random places,
# `batch_size` (B) of them, each `block_size` (T) characters long. The target at every place is simply the character
# that follows, so the targets are the inputs shifted by one, and a piece of eight characters holds eight examples
# at once: after `F`, expect `i`; after `Fi`, expect `r`; after `Fir`, expect `s`...


# %%
def split(data: Tensor) -> tuple[Tensor, Tensor]:
    """Split off the last tenth for validation: (N,) -> (0.9 N,), (0.1 N,)."""
    n = int(0.9 * len(data))
    return data[:n], data[n:]


def get_batch(data: Tensor, batch_size: int, block_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences from `data` (N,): inputs (B, T), and targets (B, T), each the character that follows."""
    starts = torch.randint(len(data) - block_size, (batch_size, 1), generator=generator)  # (B, 1)
    sequences = data[starts + torch.arange(block_size + 1)]  # (B, T + 1)
    return sequences[:, :-1], sequences[:, 1:]


def show_examples() -> None:
    """Print the examples in one sequence."""
    tokenizer = CharTokenizer("First Citizen")
    data = torch.tensor(tokenizer.encode("First Citizen"))
    inputs, targets = get_batch(data, batch_size=1, block_size=8, generator=torch.Generator().manual_seed(1))
    for t in range(8):
        context, target = tokenizer.decode(inputs[0, : t + 1].tolist()), tokenizer.decode([int(targets[0, t])])
        print(f"after {context!r:>10} comes {target!r}")
    assert torch.equal(inputs[0, 1:], targets[0, :-1])  # each target is the next input


# %%
if __name__ == "__main__":
    show(show_examples)

# %% [markdown]
# ## How wrong is a guess? Cross-entropy
#
# The model does not name one next character, it gives each a probability. If the character that really came had
# probability $p$, the model pays $-\ln p$: nothing for certainty, 0.69 for a coin toss ($p = 1/2$), much for having
# thought it impossible. The loss is the mean over all examples, in *nats* per character.
#
# A network puts out any numbers it likes, the *logits*; *softmax*, $p_i = e^{z_i} / \sum_j e^{z_j}$, turns them
# into probabilities. Take logits $(1, 2, 0)$: the powers are $2.718, 7.389, 1$, their sum is $11.107$, so the
# probabilities are $0.245, 0.665, 0.090$. If the second came true the loss is $-\ln 0.665 = 0.408$; if the third
# did, $2.408$.
#
# One number to remember: a model that knows nothing gives each of V characters $1/V$ and pays $\ln V$, for the 65
# characters of Shakespeare 4.17. A loss far above that, before any training, means that a model is *sure of
# nonsense*.
#
# That is what happens if its table starts with random numbers of *size* 1. (In this book the size of random numbers
# is their standard deviation: the root of their mean square, where their mean is 0.) The mean of $e^z$ is then
# $e^{1/2}$, and the loss begins about half a nat higher. Size $s$ costs about $s^2 / 2$, and somewhat less where $s$
# is large and characters are few.


# %%
def show_cross_entropy(vocab_size: int = 65) -> None:
    """Compute the loss above by hand and with torch, then that of random logits."""
    logits = torch.tensor([1.0, 2.0, 0.0])
    powers = [math.exp(1), math.exp(2), math.exp(0)]
    by_hand = -math.log(powers[1] / sum(powers))
    by_torch = F.cross_entropy(logits, torch.tensor(1)).item()
    assert abs(by_hand - by_torch) < 1e-6
    assert abs(by_hand - 0.408) < 1e-3
    print(f"logits 1 2 0, target the second: {by_hand:.3f} by hand, {by_torch:.3f} by torch")

    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(vocab_size, (10_000,), generator=generator)
    print(f"equal probabilities for {vocab_size} characters cost ln {vocab_size} = {math.log(vocab_size):.3f}")
    for size in (0.0, 0.02, 1.0, 3.0):
        table = size * torch.randn(10_000, vocab_size, generator=generator)  # (N, V)
        loss = F.cross_entropy(table, targets).item()
        print(f"  random logits of size {size:4}: {loss:.3f}")
        if size <= 0.02:
            assert abs(loss - math.log(vocab_size)) < 0.01
        if size == 1.0:
            assert abs(loss - math.log(vocab_size) - 0.5) < 0.05  # mean of e^z is e^(1/2) for normal z


# %%
if __name__ == "__main__":
    show(show_cross_entropy)

# %% [markdown]
# ## The model
#
# The least that a model can look at is the last character. Then it needs one row of V logits for each of the V
# characters: a table of V × V numbers, in which it looks up row after row. torch's name for such a table is
# `nn.Embedding`. It starts near zero, so that it begins by knowing nothing instead of being sure of nonsense.


# %%
class Bigram(nn.Module):
    """A table from each token to the logits of the next one: (B, T) -> (B, T, V)."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, idx: Tensor) -> Tensor:
        return self.table(idx)  # (B, T, V)


# %% [markdown]
# ## Training
#
# Every step is the same four lines, here and in the largest models: the loss of a batch, the old gradients set to
# zero, the new gradient of every parameter (`backward`), a small move of every parameter against its gradient
# (`step`).
#
# The *gradient* says, for each number of the model, how fast the loss rises when that number does. **By hand:** one
# parameter $w = 1$ and the loss $(w - 3)^2 = 4$. The gradient is $2 (w - 3) = -4$: more $w$, less loss. A step
# against it with a *learning rate* of 0.1 gives $w = 1 + 0.4 = 1.4$, and the loss 2.56. For the logits $(1, 2, 0)$
# above, where the second came true, the gradient is the probabilities, less 1 at the truth: $(0.245, -0.335, 0.090)$.
# The true one will be raised, the others lowered.
#
# `backward` finds all gradients, from the loss back through every operation; where one operation feeds the next,
# their rates multiply (the *chain rule*). It adds them to what is there, hence `zero_grad` before it. The *optimizer*
# AdamW keeps for each parameter a running mean of its gradient and of its square, and divides the one by the root of
# the other, so that all parameters move at about one pace.
#
# `train` is a generator: it hands back the loss after each step, and whoever called it decides what to do in
# between (draw a progress bar, evaluate, stop).


# %%
def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Return the loss of logits (B, T, V) for targets (B, T), over all positions of all sequences; a scalar."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def train(
    model: nn.Module, data: Tensor, *, steps: int, batch_size: int, block_size: int, learning_rate: float, seed: int
) -> Iterator[tuple[int, float]]:
    """Train `model` on `data` (N,); yields (step, loss of its batch) after each step. The seed decides the batches."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    for step in range(1, steps + 1):
        model.train()  # on every step, because the caller may have evaluated in between
        inputs, targets = get_batch(data, batch_size, block_size, generator)  # (B, T), (B, T)
        loss = cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step, loss.item()


# %% [markdown]
# ## Measuring
#
# The mean over a few random batches would be a different number each time. We cut the *whole* validation part into
# consecutive windows of `block_size`, the last one shorter, so that every character but the first is predicted
# exactly once, and take the mean. This is the loss that every table in this course shows. (The lecture's figures
# are means of random batches; the two differ by a few hundredths.)


# %%
@torch.no_grad()
def evaluate(model: nn.Module, data: Tensor, block_size: int, batch_size: int = 1024) -> float:
    """Return the mean loss, in nats, over all predictions in `data` (N,), in consecutive windows of `block_size`."""
    model.eval()
    inputs, targets = data[:-1], data[1:]  # (N - 1,) each
    whole = len(inputs) // block_size * block_size
    total = 0.0
    for start in range(0, whole, batch_size * block_size):
        end = min(whole, start + batch_size * block_size)
        windows = (part[start:end].view(-1, block_size) for part in (inputs, targets))  # (batch, T) each
        total += cross_entropy(model(next(windows)), next(windows), reduction="sum").item()
    if whole < len(inputs):  # the last, shorter window
        total += cross_entropy(model(inputs[None, whole:]), targets[None, whole:], reduction="sum").item()
    return total / len(inputs)


# %% [markdown]
# ## Writing
#
# The model gives the probabilities of the next character; we draw one, append it, and ask again. No model here
# reads more than `block_size` characters back, so the context is cropped to that before each question. Drawing,
# rather than always taking the likeliest, is what keeps the text from running in circles.


# %%
@torch.no_grad()
def generate(model: nn.Module, idx: Tensor, new_tokens: int, block_size: int, seed: int = 1337) -> Tensor:
    """Continue the sequences `idx`: (B, T) -> (B, T + new_tokens). The seed decides what is drawn."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(new_tokens):
        logits = model(idx[:, -block_size:])[:, -1]  # (B, V): only the last position predicts the next token
        probabilities = F.softmax(logits, dim=-1).cpu()  # (B, V)
        drawn = torch.multinomial(probabilities, 1, generator=generator)  # (B, 1)
        idx = torch.cat([idx, drawn.to(idx.device)], dim=1)  # (B, T + 1)
    return idx


# %% [markdown]
# ## One experiment
#
# A model, a text, a setting: train, measure before and after, write a sample. Every section ends by calling this
# with its own model, so that their losses compare.


# %%
@dataclass(frozen=True, kw_only=True)
class Setting:
    """Training settings; the defaults are the lecture's toy setting, for sections 1 to 8."""

    batch_size: int = 32
    block_size: int = 8
    learning_rate: float = 1e-3


class Losses(NamedTuple):
    """Losses after `step` steps: of a fixed slice of the training part, and of the whole validation part."""

    step: int
    train: float
    val: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an experiment, with the trained model."""

    label: str
    steps: int
    parameters: int
    curve: tuple[Losses, ...]
    """the first before training, the last after it"""
    seconds: float
    """training time, without evaluation"""
    sample: str
    protocol: str
    model: Any = field(repr=False)
    """Any, because the model of each section has parts that `nn.Module` does not have"""
    tokenizer: CharTokenizer = field(repr=False)
    validation: Tensor = field(repr=False)
    """the validation part, (N,)"""
    others: "tuple[Result, ...]" = ()
    """variants trained for comparison"""

    @property
    def before(self) -> Losses:
        return self.curve[0]

    @property
    def after(self) -> Losses:
        return self.curve[-1]


def prepare_text(text: str | None, block_size: int) -> tuple[CharTokenizer, Tensor, Tensor]:
    """Return tokenizer and both parts of a text (None: the default corpus). Raises InputError if it is too short."""
    text = load_corpus().text if text is None else text
    shortest = 10 * (block_size + 1)  # so that the last tenth holds a whole window
    if len(text) < shortest:
        raise InputError(
            f"the text has {len(text):,} characters, too few for sequences of {block_size} and a validation part; "
            f"give one of at least {shortest:,}, better 100,000"
        )
    tokenizer = CharTokenizer(text)
    return tokenizer, *split(torch.tensor(tokenizer.encode(text)))


def run_experiment(
    build: Callable[[int], nn.Module],
    *,
    label: str,
    steps: int,
    seed: int,
    text: str | None,
    report: Report,
    setting: Setting | None = None,
    evaluate_every: int | None = None,
    device: str = "cpu",
) -> Result:
    """Build a model for the text's vocabulary size, train and evaluate it, and generate a sample.

    The seed sets torch's global generator (weights, dropout) and those of batches and sample. Raises InputError for
    fewer than one step or a text that is too short.
    """
    if steps < 1:
        raise InputError(f"{steps} steps: give a whole number from 1, such as 500")
    setting = setting or Setting()
    tokenizer, training, validation = prepare_text(text, setting.block_size)
    training, validation = training.to(device), validation.to(device)
    training_slice = training[: min(len(validation), 100_000)]  # on which the training loss is measured
    torch.manual_seed(seed)
    model = build(tokenizer.vocab_size).to(device)

    def measure(step: int) -> Losses:
        losses = Losses(step, *(evaluate(model, data, setting.block_size) for data in (training_slice, validation)))
        report("loss", label=label, **losses._asdict())
        return losses

    curve, seconds, resumed = [measure(0)], 0.0, time.perf_counter()
    for step, loss in train(
        model,
        training,
        steps=steps,
        batch_size=setting.batch_size,
        block_size=setting.block_size,
        learning_rate=setting.learning_rate,
        seed=seed,
    ):
        if step in (1, steps) or step % max(1, steps // 100) == 0:
            report("step", label=label, step=step, steps=steps, loss=loss)
        if step == steps or (evaluate_every and step % evaluate_every == 0):
            seconds += time.perf_counter() - resumed
            curve.append(measure(step))
            resumed = time.perf_counter()

    start = torch.zeros((1, 1), dtype=torch.long, device=device)  # the first character: in Shakespeare, newline
    written = generate(model, start, 300, setting.block_size, seed)[0, 1:].tolist()
    return Result(
        label=label,
        steps=steps,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        curve=tuple(curve),
        seconds=seconds,
        sample=tokenizer.decode(written),
        protocol=f"mean nats per character over all {len(validation) - 1:,} predictions in the last 10 % of the text, "
        f"read in windows of {setting.block_size}; train: the same over its first {len(training_slice):,} characters",
        model=model,
        tokenizer=tokenizer,
        validation=validation,
    )


# %%
def main(steps: int = 3000, seed: int = 1337, text: str | None = None, report: Report = quiet) -> Result:
    """Train the bigram table with ten times the later learning rate, which a single layer can take."""
    setting = Setting(learning_rate=1e-2)
    return run_experiment(Bigram, label="bigram", steps=steps, seed=seed, text=text, report=report, setting=setting)


# %%
if __name__ == "__main__":
    result = run(main)

# %% [markdown]
# ## The table as a picture
#
# The table is all that the model has learned, and it can be looked at as a whole: each row is a character, each column
# the one that comes next. In Shakespeare the row of `q` has one bright place, at `u`.


# %%
@torch.no_grad()
def draw_table(result: Result, most: int = 70) -> "Figure":
    """Draw the trained table as probabilities: a row per character, a column per next character, bright is likely."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    probabilities = result.model.table.weight.softmax(dim=-1)  # (V, V)
    assert torch.allclose(probabilities.sum(dim=-1), torch.ones(len(probabilities)), atol=1e-5)
    counts = result.validation.bincount(minlength=len(probabilities))  # (V,)
    drawn = counts.topk(min(most, len(counts))).indices.sort().values  # of a large vocabulary, the most frequent
    labels = [character_label(result.tokenizer.characters[i]) for i in drawn]
    figure = Figure(figsize=(8, 7.2), layout="constrained")
    axes = figure.add_subplot()
    norm = PowerNorm(0.5, vmin=0, vmax=1)  # square roots: most probabilities are small, and would look like 0
    image = axes.imshow(probabilities[drawn][:, drawn].numpy(), cmap="cividis", norm=norm)
    axes.set_xticks(range(len(labels)), labels, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set(xlabel="next character", ylabel="character", title="What follows what, in the trained table of pairs")
    figure.colorbar(image, label="probability", shrink=0.8)
    return figure


def character_label(character: str) -> str:
    """Return a character as a label in a picture, with signs for spaces and newlines."""
    return repr(character)[1:-1] if character.strip() else {" ": "␣", "\n": "⏎"}.get(character, "·")


# %%
if __name__ == "__main__":
    show(draw_table, result)

# %% [markdown]
# ## What we have
#
# The loss fell from 4.17 to about 2.49, and the sample has changed from noise to something with the look of words:
# spaces at plausible distances, vowels after consonants, capitals after line ends. Nothing in it hangs together over
# more than two letters, because nothing in the model does.
#
# All but the table is today's practice: tokens, targets shifted by one, cross-entropy, AdamW, drawing the next token.
# Only the model inside has grown.
#
# **Try it**
# 1. A table of pairs can also be had by counting. Count how often each character follows each in the training part,
#    add one to every count, divide by the row's sum, and evaluate the logarithms as a `Bigram`'s table. *Expect*
#    about 2.48: training found, by small steps, what counting finds at once.
# 2. Start the table at size 3 instead of 0.02. *Expect* a first loss of about 8, and nearly the same last one: the
#    model only loses the time that it takes to unlearn.
# 3. Write with `logits / 0.5` in place of `logits` in `generate`. *Expect* fewer odd pairs, and circles: `the the
#    the`.

# %%
if __name__ == "__main__":
    finish(result)
