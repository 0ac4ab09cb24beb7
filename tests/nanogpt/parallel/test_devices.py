"""Which device, which precision, compiled or not."""

import pytest
import torch
from torch import nn

from nanogpt.errors import UserError
from nanogpt.parallel.devices import autocast, compile_or_not, pick_device, pick_precision, threads, to_device

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


@pytest.fixture
def processor(monkeypatch):
    """A processor with these instructions for bfloat16, and none else."""

    def has(*names, library=True):
        for name in ("avx512_bf16", "amx_tile"):
            monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in names)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: library)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or names)

    return has


@pytest.mark.parametrize(
    ("kind", "has", "expected"),
    [
        ("cpu", [], "float32"),
        ("cpu", ["avx512_bf16"], "bfloat16"),
        ("cpu", ["amx_tile"], "bfloat16"),
        ("cuda", [], "float32"),  # where it is emulated it counts as supported unless asked
        ("cuda", ["any"], "bfloat16"),
        ("mps", ["avx512_bf16"], "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(processor, kind, has, expected):
    processor(*has)
    assert pick_precision(torch.device(kind), "auto") == expected
    for named in ("float32", "bfloat16"):
        assert pick_precision(torch.device(kind), named) == named


def test_without_a_library_for_it_bfloat16_is_not_chosen(processor):
    processor("avx512_bf16", library=False)
    assert pick_precision(CPU) == "float32"


def test_products_in_the_precision():
    layer, x = nn.Linear(3, 5), torch.randn(2, 3)
    for precision in ("float32", "bfloat16"):
        with autocast(CPU, precision):
            assert layer(x).dtype == getattr(torch, precision)
    assert layer.weight.dtype == torch.float32


def test_a_gpu_takes_batches_from_pinned_memory_without_waiting(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: seen.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **options: seen.append((device.type, options)) or self)
    x = torch.ones(3)
    assert to_device(x, torch.device("cuda")) is x
    assert seen == ["pinned", ("cuda", {"non_blocking": True})]
    seen.clear()
    for kind in ("cpu", "mps"):
        to_device(x, torch.device(kind))
    assert seen == [("cpu", {}), ("mps", {})]


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


def test_threads_are_given_back_whatever_happens():
    def fail():
        with threads(2), threads(None):
            seen.append(torch.get_num_threads())
            raise KeyError

    seen = []
    with pytest.raises(KeyError):
        fail()
    assert (seen, torch.get_num_threads()) == ([2], 1)
