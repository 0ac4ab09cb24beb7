"""Each idea changes what it should; with strength zero a training is the library's."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import refuses, shake, write_text
from torch.nn import functional as F

from benchmarks import ideas
from benchmarks.ideas import IDEAS
from benchmarks.trials import hold_out, open_trial
from nanogpt.data.batches import get_batch
from nanogpt.evaluation.loss import evaluate
from nanogpt.optim import muon

TINY = {"n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 12, "batch_size": 3, "precision": "float32"}
STEPS = 5


@pytest.fixture
def trainer(tmp_path):
    """A function that makes trainings which differ only in the change."""
    write_text("tale.txt", 4000)
    text = hold_out("tale.txt", Path("work"))
    made = []

    def make(change=None, **settings):
        made.append(change)
        named = {"steps": STEPS, "seed": 3, **TINY, **settings}
        return open_trial(text, named, tmp_path / f"run-{len(made)}", change)

    return make


def steps_of(trainer, count=STEPS):
    return [trainer.train_step(step, 0.01).tolist() for step in range(count)]


def weights_of(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def is_same(one, other):
    """Return whether the second training has all weights of the first, bit for bit."""
    second = weights_of(other)
    return all(torch.equal(value, second[name]) for name, value in weights_of(one).items())


def logits_of(trainer, ids):
    trainer.model.eval()
    return trainer.model(ids)


IDS = torch.arange(10).view(2, 5) % 7


@pytest.mark.parametrize("name", IDEAS)
def test_every_idea_trains_and_is_another_training(name, trainer):
    idea, common = IDEAS[name], {"steps": 101, "dropout": 0.05}
    base, tried = trainer(**common), trainer(idea.change, **common | idea.settings)
    for step in (0, 25, 50, 75, 100):  # values reach the loss with the fourth
        base.train_step(step, 0.01)
        assert tried.train_step(step, 0.01).isfinite().all()
    before, after = weights_of(base), weights_of(tried)
    assert before.keys() - after.keys() <= {"lm_head.weight"}
    assert not all(torch.equal(before[key], after[key]) for key in before.keys() & after.keys() if "up" not in key)


@pytest.mark.parametrize(
    "change",
    [
        partial(ideas.shorten_sequences, stages=()),
        ideas.average_weights,
        partial(ideas.predict_two_tokens, weight=0.0),
        partial(ideas.limit_iterations, iterations=5),
        partial(ideas.replace_tokens, share=0.0),
    ],
)
def test_with_strength_zero_a_training_is_the_librarys(change, trainer):
    base, tried, whole = trainer(), trainer(change), muon.orthogonalise
    assert steps_of(base) == steps_of(tried)
    assert is_same(base, tried)
    assert muon.orthogonalise is whole


def test_what_cannot_be_changed_is_refused(trainer):
    refuses(lambda: trainer(ideas.shorten_sequences, block_size=10), "10", "multiple of 4")
    refuses(lambda: trainer(ideas.start_from_pairs, init="scaled"), "init 'zero'")


def test_pieces_of_windows_are_the_same_tokens(trainer):
    read = []

    def watch(model, words):
        read.append(words[0])

    tried = trainer(ideas.shorten_sequences, dropout=0.05)
    tried.model.register_forward_pre_hook(watch)
    steps_of(tried)
    assert [tuple(ids.shape) for ids in read] == [(12, 3), (6, 6), (3, 12), (3, 12), (3, 12)]
    for step, ids in enumerate(read):
        assert torch.equal(ids.reshape(3, 12), get_batch(tried.data.train, 12, 3, step * 3, 3)[0])


def test_a_first_token_of_a_piece_does_not_see_the_piece_before(trainer):
    """The loss in quarters is the mean loss of the quarters by themselves."""
    tried = trainer(ideas.shorten_sequences)
    shake(tried.model)
    inputs, targets = get_batch(tried.data.train, 12, tried.config.train.seed, 0, 3)
    logits = tried.model(inputs.reshape(12, 3))
    expected = F.cross_entropy(logits.flatten(0, 1), targets.reshape(-1)).item()
    assert tried.train_step(0, 0.0)[0].item() == pytest.approx(expected, abs=1e-5)


def test_value_embeddings_change_nothing_by_a_gain_of_0(trainer):
    base, tried = trainer(), trainer(ideas.embed_values)
    assert torch.equal(logits_of(base, IDS), logits_of(tried, IDS))
    shake(tried.model)
    base.model.load_state_dict(
        {name: value for name, value in tried.model.state_dict().items() if not name.startswith("value_embeddings")}
    )
    assert not torch.allclose(logits_of(base, IDS), logits_of(tried, IDS))
    for gain in tried.model.value_embeddings.gains:
        torch.nn.init.zeros_(gain)
    assert torch.equal(logits_of(base, IDS), logits_of(tried, IDS))


def test_a_value_embedding_is_added_to_the_values_alone(trainer):
    tried = trainer(ideas.embed_values, n_kv_head=1)
    added = tried.model.value_embeddings
    added.tables[1].weight.data.fill_(0.25)
    added.gains[1].data.fill_(2.0)
    added.read(tried.model.token_embedding, (IDS,))
    row = torch.zeros(2, 5, 72)  # four heads of queries, one of keys, one of values, 12 channels each
    assert torch.equal(added.add(1, row)[0, 0], torch.cat([torch.zeros(60), torch.full((12,), 0.5)]))


def test_an_average_is_that_of_the_weights_after_each_step(trainer):
    base, tried = trainer(), trainer(partial(ideas.average_weights, decay=0.75))
    after = []
    for step in range(STEPS):
        base.train_step(step, 0.01)
        after.append(weights_of(base)["lm_head.weight"].double())
    average = after[0]
    for weight in after[1:]:
        average = 0.75 * average + 0.25 * weight
    steps_of(tried)
    torch.testing.assert_close(tried.model.lm_head.weight.double(), average, atol=1e-6, rtol=0)
    steps_of(same := trainer(partial(ideas.average_weights, share=0.8)))
    assert is_same(tried, same)


def test_a_cap_bounds_logits_and_leaves_gradients(trainer):
    tried = trainer(partial(ideas.cap_logits, cap=3.0))
    shake(tried.model)
    tried.model.lm_head.weight.data.mul_(100)
    logits = logits_of(tried, IDS)
    assert logits.abs().max() <= 3
    assert logits.abs().max() > 2.9
    loss, norm = tried.train_step(0, 0.01).tolist()
    assert math.isfinite(loss)
    assert 0 < norm < math.inf


def test_the_charge_for_a_uniform_prediction_is_the_squared_logarithm_of_the_vocabulary(trainer):
    base, tried = trainer(), trainer(partial(ideas.add_z_loss, weight=0.5))
    V = base.model.config.vocab_size
    difference = tried.train_step(0, 0.0)[0] - base.train_step(0, 0.0)[0]
    assert difference.item() == pytest.approx(0.5 * math.log(V) ** 2, abs=1e-4)


def test_further_tokens_are_charged_less_and_less(trainer):
    base, tried = trainer(), trainer(partial(ideas.predict_two_tokens, weight=0.5))
    V = base.model.config.vocab_size
    for step, share in ((0, 0.5), (2, 0.3)):
        difference = tried.train_step(step, 0.0)[0] - base.train_step(step, 0.0)[0]
        assert difference.item() == pytest.approx(share * math.log(V), abs=1e-4)


def test_the_second_head_learns_the_token_after_the_next(trainer):
    """Of a text in which that follows from the token alone, its layer by itself comes to know it."""
    tried = trainer(ideas.predict_two_tokens, steps=300)
    tried.train_step.data = type(tried.data)(train=np.arange(3000) % 7, val=np.arange(100) % 7, key="cycle")
    for step in range(60):
        tried.train_step(step, 0.05)
    state = []
    hook = tried.model.final_norm.register_forward_hook(lambda module, words, x: state.append(x))
    logits_of(tried, IDS)
    hook.remove()
    assert torch.equal(tried.model.second_head(state[0]).argmax(-1), (IDS + 2) % 7)


def test_a_window_hides_what_is_older(trainer):
    """One layer with a window of three: a token's logits depend on itself and the two before."""
    tried = trainer(partial(ideas.slide_windows, share=4), n_layer=1)
    shake(tried.model)
    ids = torch.arange(12)[None] % 7
    for changed in range(12):
        other = ids.clone()
        other[0, changed] = 8
        moved = (logits_of(tried, ids) - logits_of(tried, other)).abs().amax(-1)[0] > 1e-6
        assert moved.nonzero().flatten().tolist() == list(range(changed, min(12, changed + 3)))


def test_a_window_as_wide_as_the_block_is_none(trainer):
    base, tried = trainer(), trainer(partial(ideas.slide_windows, share=1))
    np.testing.assert_allclose(steps_of(base), steps_of(tried), rtol=1e-4)
    assert ideas.window_mask(5, 5, torch.device("cpu")).sum() == 15


def test_the_start_from_pairs_has_the_tables_loss(trainer):
    tried = trainer(ideas.start_from_pairs)
    V = tried.model.config.vocab_size
    assert V <= 48
    shares = logits_of(tried, torch.arange(V)[:, None])[:, 0].log_softmax(-1).double()
    assert torch.allclose(shares, ideas.log_pairs(tried.data.train, V), atol=1e-4)
    ids = np.asarray(tried.data.val, dtype=np.int64)
    expected = -ideas.log_pairs(tried.data.train, V)[ids[:-1], ids[1:]].mean().item()
    assert evaluate(tried.model, tried.data.val, tried.tokenizer).loss == pytest.approx(expected, abs=1e-4)


def test_pairs_are_counted_by_hand():
    shares = ideas.log_pairs(np.array([0, 1, 0, 1, 1], dtype=np.uint16), 2).exp()
    expected = [[ideas.UNSEEN, 2 + ideas.UNSEEN], [1 + ideas.UNSEEN, 1 + ideas.UNSEEN]]
    torch.testing.assert_close(shares, torch.tensor([[n / sum(row) for n in row] for row in expected]).double())


def test_momentum_rises_and_stays(trainer):
    tried = trainer(partial(ideas.raise_momentum, first=0.5, last=0.9, steps=4))
    seen = []
    for step in (0, 1, 4, 9):
        tried.train_step(step, 0.01)
        seen += [group["peak_momentum"] for group in tried.train_step.optimizers[0].param_groups[:1]]
    assert seen == pytest.approx([0.5, 0.6, 0.9, 0.9])


def test_squared_relu_by_hand(trainer):
    idea = IDEAS["ReLU squared for SwiGLU"]
    mlp = trainer(idea.change, **idea.settings).model.blocks[0].mlp
    shake(mlp)
    x = torch.randn(3, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mlp(x), F.linear(F.linear(x, mlp.up.weight).relu() ** 2, mlp.down.weight))


def test_noise_replaces_its_share_of_what_is_read_and_nothing_of_what_is_predicted(trainer):
    one = trainer(partial(ideas.replace_tokens, share=0.25), batch_size=97)
    read = []

    def forward(ids):
        read.append(ids)
        return one.model(ids)

    one.train_step.loss(forward, 2, range(97))
    inputs, _ = get_batch(one.data.train, 12, 3, 2 * 97, 97)
    # Of a quarter some are replaced by the same token: the text has a few letters.
    changed = (read[0] != inputs).float().mean().item()
    assert 0.12 < changed < 0.25
