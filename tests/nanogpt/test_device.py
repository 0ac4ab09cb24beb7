"""Which device, which precision, compiled or not."""

import contextlib

import pytest
import torch
from torch import nn

from nanogpt.device import autocast, compile_or_not, pick_device
from nanogpt.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch):
    def has(*kinds):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)

    return has


@pytest.mark.parametrize(("kinds", "best"), [((), "cpu"), (("mps",), "mps"), (("mps", "cuda"), "cuda")])
def test_auto_takes_the_fastest_there_is(machine, kinds, best):
    machine(*kinds)
    assert pick_device("auto").type == best
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there(machine, name):
    machine()
    with pytest.raises(UserError, match=f"device '{name}' is not on this machine.*choose cpu"):
        pick_device(name)


@pytest.mark.parametrize(
    ("kind", "precision", "bf16", "expected"),
    [
        ("cpu", "auto", True, torch.float32),
        ("cpu", "float32", True, torch.float32),
        ("cpu", "bfloat16", True, torch.bfloat16),
        ("mps", "auto", True, torch.float32),
    ],
)
def test_precision(monkeypatch, kind, precision, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16 or including_emulation)
    context = autocast(torch.device(kind), precision)
    if expected is torch.float32:
        assert isinstance(context, contextlib.nullcontext)
    else:
        with context:
            assert nn.Linear(3, 5)(torch.randn(2, 3)).dtype == expected


@pytest.mark.parametrize(("bf16", "mixed"), [(True, True), (False, False)])
def test_a_gpu_takes_bfloat16_where_it_has_it(monkeypatch, bf16, mixed):
    seen = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16 or including_emulation)
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: seen.append((kind, dtype)))
    autocast(torch.device("cuda"), "auto")
    assert seen == ([("cuda", torch.bfloat16)] if mixed else [])


def attempt(candidate):
    candidate(torch.randn(2, 3))


@pytest.mark.parametrize(("mode", "kind"), [("off", "cuda"), ("auto", "cpu"), ("auto", "mps")])
def test_compilation_is_not_tried(monkeypatch, mode, kind):
    monkeypatch.setattr(torch, "compile", None)
    layer = nn.Linear(3, 5)
    assert compile_or_not(layer, mode, torch.device(kind), attempt) == (layer, None)


@pytest.mark.parametrize(("mode", "kind"), [("on", "cpu"), ("auto", "cuda")])
def test_compilation_is_tried_and_used(monkeypatch, mode, kind):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model, **options: lambda x: calls.append(x) or model(x))
    layer = nn.Linear(3, 5)
    forward, note = compile_or_not(layer, mode, torch.device(kind), attempt)
    assert forward is not layer
    assert note is None
    assert len(calls) == 1


@pytest.mark.parametrize("when", ["at once", "at the first call"])
@pytest.mark.parametrize(("message", "shown"), [("no compiler\nmore", "(no compiler)"), ("", "(RuntimeError)")])
def test_a_compilation_that_fails_is_a_note(monkeypatch, when, message, shown):
    def fail(*args, **options):
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "compile", fail if when == "at once" else lambda model, **options: fail)
    layer = nn.Linear(3, 5)
    forward, note = compile_or_not(layer, "on", CPU, attempt)
    assert forward is layer
    assert note is not None
    assert note.endswith(shown)
