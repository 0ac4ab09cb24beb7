"""Section 1 by numbers: its tools carry every later section, so an error here would be everyone's."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course import s01_bigram as s01
from course.console import InputError


def test_an_unknown_character_is_named() -> None:
    with pytest.raises(InputError, match="'z'"):
        s01.CharTokenizer("banana").encode("baz")


def test_split_is_the_lectures() -> None:
    first, last = s01.split(torch.arange(1_115_394))
    assert len(first) == 1_003_854
    assert last[0] == 1_003_854
    assert last[-1] == 1_115_393


def test_targets_are_inputs_shifted_by_one_and_every_start_is_drawn() -> None:
    data = torch.arange(23)
    inputs, targets = s01.get_batch(data, batch_size=997, block_size=5, generator=torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (997, 5)
    assert torch.equal(targets, inputs + 1)
    # The last possible sequence ends with the last token; 997 draws of 18 starts miss one with odds below 1e-22.
    assert sorted(set(inputs[:, 0].tolist())) == list(range(18))


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]])  # (1, 2, V)
    targets = torch.tensor([[1, 2]])
    second = -math.log(math.exp(2) / (math.e + math.exp(2) + 1))
    assert s01.cross_entropy(logits, targets).item() == pytest.approx((second + math.log(3)) / 2)


def test_untrained_bigram_knows_nothing() -> None:
    data = torch.randint(65, (5000,), generator=torch.Generator().manual_seed(0))
    assert s01.evaluate(s01.Bigram(65), data, block_size=8) == pytest.approx(math.log(65), abs=0.01)


class Context(nn.Module):
    """Logits that depend on the place in the window: windows cut otherwise give another loss."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
        self.longest = 0

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        self.longest = max(self.longest, idx.shape[1])
        places = torch.arange(1, idx.shape[1] + 1)
        return self.table(idx).cumsum(1) / places[:, None] ** 0.5


@pytest.mark.parametrize("length", [53, 50, 8, 7, 2], ids=lambda n: f"N{n}")
def test_evaluation_is_the_mean_over_every_prediction(length: int) -> None:
    """Guards the last, shorter window (53 and 7), its absence (50 = 7 * 7 + 1), and batches of windows."""
    torch.manual_seed(0)
    model, block_size = Context(11), 7
    data = torch.randint(11, (length,))
    losses = []
    for t in range(length - 1):
        start = t // block_size * block_size
        logits = model(data[None, start : t + 1])[0, -1]  # (V,)
        losses.append(-logits.log_softmax(-1)[data[t + 1]].item())
    expected = sum(losses) / (length - 1)
    for batch_size in (1, 2, 1024):
        assert s01.evaluate(model, data, block_size, batch_size) == pytest.approx(expected, rel=1e-5)


def test_train_is_adamw_on_the_seeds_batches() -> None:
    data = torch.randint(13, (211,), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    ours = s01.Bigram(13)
    torch.manual_seed(0)
    theirs = s01.Bigram(13)
    settings = {"batch_size": 5, "block_size": 3, "learning_rate": 0.1}
    seen = list(s01.train(ours, data, steps=7, seed=4, **settings))
    generator = torch.Generator().manual_seed(4)
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.1)
    for step in range(1, 8):
        inputs, targets = s01.get_batch(data, 5, 3, generator)
        loss = F.cross_entropy(theirs(inputs).view(15, 13), targets.reshape(15))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert seen[step - 1] == (step, pytest.approx(loss.item(), rel=1e-5))
    assert torch.allclose(ours.table.weight, theirs.table.weight, atol=1e-6)


def test_training_turns_dropout_on_again_after_an_evaluation() -> None:
    model = nn.Sequential(s01.Bigram(5), nn.Dropout(0.5))
    data = torch.arange(40) % 5
    modes = []
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    for _ in s01.train(model, data, steps=2, batch_size=2, block_size=3, learning_rate=0.1, seed=0):
        s01.evaluate(model, data, block_size=3, batch_size=1000)
    assert modes[0] is True
    assert modes.count(True) == 2
    assert modes[-1] is False


@pytest.mark.slow
def test_training_finds_what_counting_finds(text: str) -> None:
    """The claim of the first exercise, on a small text."""
    tokenizer, training, validation = s01.prepare_text(text, 8)
    counts = torch.ones(tokenizer.vocab_size, tokenizer.vocab_size)
    counts.index_put_((training[:-1], training[1:]), torch.tensor(1.0), accumulate=True)
    counted = s01.Bigram(tokenizer.vocab_size)
    with torch.no_grad():
        counted.table.weight.copy_((counts / counts.sum(1, keepdim=True)).log())
    trained = s01.main(steps=600, text=text)
    assert trained.after.val == pytest.approx(s01.evaluate(counted, validation, 8), abs=0.03)
    assert trained.after.val < trained.before.val - 0.5


def test_generation_reads_a_block_at_most_and_goes_on_from_the_prompt() -> None:
    torch.manual_seed(0)
    model = Context(11)
    prompt = torch.randint(11, (2, 9))
    out = s01.generate(model, prompt, new_tokens=5, block_size=7)
    assert out.shape == (2, 14)
    assert torch.equal(out[:, :9], prompt)
    assert model.longest == 7
    assert torch.equal(out, s01.generate(model, prompt, new_tokens=5, block_size=7))
    assert not torch.equal(out, s01.generate(model, prompt, new_tokens=5, block_size=7, seed=2))


def test_generation_draws_from_the_model() -> None:
    """A model that is sure of the next letter must be obeyed: a shift of one place would break the chain."""
    model = s01.Bigram(5)
    with torch.no_grad():
        model.table.weight.copy_(100 * torch.eye(5).roll(1, dims=1))  # after i comes i + 1
    assert s01.generate(model, torch.tensor([[3]]), 6, block_size=2).tolist() == [[3, 4, 0, 1, 2, 3, 4]]


def test_an_experiment_evaluates_before_and_after_and_reports(text: str) -> None:
    events: list[tuple[str, dict]] = []
    result = s01.run_experiment(
        s01.Bigram, label="x", steps=9, seed=5, text=text, evaluate_every=4,
        report=lambda event, **fields: events.append((event, fields)),
    )  # fmt: skip
    assert [losses.step for losses in result.curve] == [0, 4, 8, 9]
    assert [fields["step"] for event, fields in events if event == "step"] == list(range(1, 10))
    assert [fields["val"] for event, fields in events if event == "loss"] == [losses.val for losses in result.curve]
    assert result.parameters == len(set(text)) ** 2
    assert len(result.sample) == 300
    assert result.after.val == s01.evaluate(result.model, result.validation, 8)
    assert f"{len(result.validation) - 1:,} predictions" in result.protocol


def test_the_same_seed_gives_the_same_run_and_another_another(text: str) -> None:
    first, again, other = (s01.main(steps=20, seed=seed, text=text) for seed in (3, 3, 4))
    assert first.curve == again.curve
    assert first.sample == again.sample
    assert first.after != other.after


def test_bad_input_names_the_value() -> None:
    with pytest.raises(InputError, match="0 steps"):
        s01.main(steps=0, text="abc" * 100)
    with pytest.raises(InputError, match=r"89 characters.*at least 90"):
        s01.main(steps=1, text="a" * 89)
    assert s01.main(steps=1, text="ab" * 45).after.val > 0
