"""What a training keeps: the same whether one process does it, or the first of several."""

from pathlib import Path

import torch
from groups import together
from nanogpt.training.keeper import Keeper
from safetensors.torch import load_file
from tiny import refuses, tiny_config, tiny_model

from nanogpt.errors import ReportedElsewhere, UserError
from nanogpt.optim.optimizers import make_optimizers
from nanogpt.parallel.world import ALONE
from nanogpt.runs.checkpoint import State
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan


def keeper(world=ALONE):
    world.lead(lambda: None if Path("run").exists() else RunFolder.create("run") and None)
    return Keeper(RunFolder("run"), world)


def save(kept, step, best_step=0, **settings):
    """Keep a step whose weights are all that number."""
    model = tiny_model()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(step)
    state = State(step=step, best_step=best_step, best_loss=1.5, **settings)
    return kept.save(state, model, make_optimizers(model, tiny_config().train))


def test_what_is_saved_is_found_again():
    kept = keeper()
    assert kept.find("last") is None
    paths = [save(kept, 3, best_step=3), save(kept, 5, best_step=3, stale=1, pending=(2.5,))]
    assert paths == ["run/checkpoints/step-3", "run/checkpoints/step-5"]
    best, last = kept.find("best"), kept.find("last")
    assert [str(best.path), str(last.path)] == paths
    assert last.state == State(step=5, best_step=3, best_loss=1.5, stale=1, pending=(2.5,))
    for found in (best, last):
        for tensor in load_file(found.model).values():
            assert (tensor == found.state.step).all()
    Path("run/checkpoints/step-5/model.safetensors").write_bytes(b"")
    found = kept.find("last")
    assert found.state.step == 3
    assert "step 3 is used instead" in found.notes[-1]


def test_a_folder_is_brought_to_where_the_training_was_restored():
    kept = keeper()
    kept.log("step", State(), loss=3.0)
    for step in (2, 3):
        save(kept, step, best_step=step)
        kept.log("step", State(step=step, seconds=step + 0.12345), loss=1.0)
    assert [line["seconds"] for line in kept.folder.metrics()] == [0.0, 2.123, 3.123]
    kept.settle(State(step=2, best_step=2, best_loss=1.5))
    assert [line["step"] for line in kept.folder.metrics()] == [0, 2]
    assert kept.find("best").state.step == 2
    kept.settle(None)
    assert list(kept.folder.metrics()) == []


def test_a_run_that_changed_is_not_the_one_that_was_opened():
    kept, plan = keeper(), Plan(text="tale", source="tale.txt", data_key="ab" * 16, steps=11)
    kept.write_plan(plan)
    kept.check_unchanged(plan, None)
    save(kept, 3)
    assert kept.pointer("last") == 3
    refuses(lambda: kept.check_unchanged(plan, None), "'run' changed while it was opened", "--resume run")
    kept.check_unchanged(plan, 3)
    kept.write_plan(plan.change(3, 7))
    refuses(lambda: kept.check_unchanged(plan, 3), "try again")


def test_the_history_holds_weights_alone():
    kept = keeper()
    model = tiny_model()
    kept.save_history(2, model)
    assert [path.name for path in Path("run/history").iterdir()] == ["step-2.safetensors"]
    saved = load_file("run/history/step-2.safetensors")
    assert saved.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        assert torch.equal(saved[name], p)


def test_a_plan_is_kept():
    plan = Plan(text="tale", source="tale.txt", data_key="ab" * 16, steps=11)
    kept = keeper()
    kept.write_plan(plan)
    assert kept.folder.read_plan() == plan


# Several processes


def write_everything(world):
    """What each process is told, and what it wrote itself."""
    kept, written = keeper(world), []
    for name in ("append_metrics", "cut_metrics", "write_plan"):
        call = getattr(kept.folder, name)
        setattr(kept.folder, name, lambda *given, name=name, call=call: [written.append(name), call(*given)][1])
    with kept.locked():
        path = save(kept, 7, best_step=7)
        kept.log("step", State(step=7), loss=1.25)
        kept.write_plan(Plan(text="tale", source="tale.txt", data_key="ab" * 16, steps=11))
        kept.settle(State(step=7, best_step=7, best_loss=1.5))
    found = kept.find("last")
    return path, str(found.path), found.state, written


def test_the_first_process_writes_and_all_are_told():
    first, second = together(2, write_everything)
    assert first[:3] == second[:3] == ("run/checkpoints/step-7",) * 2 + (State(step=7, best_step=7, best_loss=1.5),)
    assert (first[3], second[3]) == (["append_metrics", "write_plan", "cut_metrics"], [])
    assert [line["loss"] for line in RunFolder("run").metrics()] == [1.25]


def lock(world):
    try:
        with keeper(world).locked():
            return "trained"
    except UserError as error:
        return type(error), str(error)


def test_a_run_is_trained_by_one_job_at_a_time():
    with keeper().locked():
        (told, words), (elsewhere, _) = together(2, lock)
        assert (told, elsewhere) == (UserError, ReportedElsewhere)
        assert "another process is training 'run'" in words
    assert together(2, lock) == ["trained", "trained"]


def save_where_none_can(world):
    kept = keeper(world)
    world.lead(lambda: str(Path("run").rename("elsewhere")))
    try:
        return save(kept, 2)
    except UserError as error:
        return type(error), str(error)


def test_what_cannot_be_written_ends_all_of_them():
    (told, words), (elsewhere, _) = together(2, save_where_none_can)
    assert (told, elsewhere) == (UserError, ReportedElsewhere)
    assert "run's folder 'run' is gone" in words
    Path("elsewhere").rename("run")
    refuses(lambda: Keeper(RunFolder("nowhere"), ALONE).save_history(1, tiny_model()), "cannot write", "step 1")
