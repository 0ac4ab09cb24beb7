import pytest
import torch
from tiny import refuses, trained

pytest.importorskip("nicegui")

from nanogpt.explain.trace import trace_text
from nanogpt.runs.run import load
from nanogpt.studio.checkpoint_browser import MAX_SHOWN, SnapshotQuery, take_snapshot
from nanogpt.studio.learn_view import resolve_state
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State


@pytest.fixture
def registry(tmp_path):
    return RunRegistry(trained("runs/run", steps=8).parent)


def snapshot(registry, prompt, step=8, tokens=1):
    return take_snapshot(registry, "run", step, SnapshotQuery(prompt=prompt, tokens=tokens))


def test_each_snapshot_is_of_its_step(registry):
    [folder] = registry.runs()
    steps = list(folder.checkpoints.history())
    assert steps == [0, 1, 2, 4, 8]
    query = SnapshotQuery(prompt="cats", tokens=7, temperature=1.0, seed=5)
    found = {step: take_snapshot(registry, "run", step, query) for step in steps}
    for step, one in found.items():
        run = load(folder.path, checkpoint=step)
        assert one.text == run.generate("cats", tokens=7, temperature=1.0, seed=5)
        trace = trace_text(run, "cats")
        assert torch.equal(one.attention, trace.attention)
        assert one.lens[-1].final.probability == pytest.approx(trace.logits[-1].softmax(-1).max().item())
        assert len(one.lens) == 3
    assert not torch.equal(found[0].attention, found[8].attention)
    assert found[0].lens != found[8].lens


def test_a_long_prompt_shows_its_newest_tokens(registry):
    found = snapshot(registry, "cats and dogs ran " * 3)
    assert len(found.tokens) == found.attention.size(-1) == min(MAX_SHOWN, 12)
    assert found.skipped == 54 - len(found.tokens)


def test_unknown_characters_and_steps(registry):
    assert snapshot(registry, "c🦊at").tokens == ["c", "a", "t"]
    refuses(lambda: snapshot(registry, "", step=3), "0, 1, 2, 4, 8")
    refuses(lambda: take_snapshot(registry, "../run", 8, SnapshotQuery()), "no run")


def test_an_address_is_resolved_to_a_run_that_exists(registry):
    for state in (State(), State(run="run", step=1, model="0" * 12, compared=("run",)), State(step=1)):
        assert resolve_state(registry, state, ["run", "older"]) == (state, [])
    model = registry.hash_of(registry.open("run", checkpoint=8))  # the same weights under another name
    for step, wanted in ((5, 8), (None, None)):
        state, problems = resolve_state(registry, State(run="renamed", step=step, model=model), ["run"])
        assert (state.run, state.step, problems) == ("run", wanted, [])
    state, (run, compared) = resolve_state(
        registry, State(run="gone", step=1, model="0" * 12, compared=("run", "one", "two")), ["run"]
    )
    assert (state.run, state.step, state.model) == ("", None, "")
    assert "'gone'" in run
    assert run.endswith("this is run.")
    assert "'one', 'two'." in compared
