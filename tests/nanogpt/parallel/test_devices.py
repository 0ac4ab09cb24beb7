"""Which device and which precision; batches on a GPU; threads."""

import pytest
import torch
from tiny import refuses
from torch import nn

from nanogpt.parallel.devices import autocast, pick_device, pick_precision, threads, to_device

CPU = torch.device("cpu")


@pytest.mark.parametrize(("kinds", "best"), [((), "cpu"), (("mps",), "mps"), (("mps", "cuda"), "cuda")])
def test_auto_takes_the_fastest_device(monkeypatch, kinds, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in kinds)
    assert pick_device("auto").type == best
    for name in ("cpu", *kinds):
        assert pick_device(name).type == name
    for name in {"cuda", "mps"} - set(kinds):
        refuses(lambda name=name: pick_device(name), f"--device {name}", "choose")


@pytest.mark.parametrize(
    ("kind", "has", "library", "expected"),
    [
        ("cpu", [], True, "float32"),
        ("cpu", ["avx512_bf16"], True, "bfloat16"),
        ("cpu", ["amx_tile"], True, "bfloat16"),
        ("cpu", ["avx512_bf16"], False, "float32"),
        ("cuda", [], True, "float32"),  # where it is emulated it counts as supported unless asked
        ("cuda", ["any"], True, "bfloat16"),
        ("mps", ["avx512_bf16"], True, "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(monkeypatch, kind, has, library, expected):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in has)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: library)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or has)
    assert pick_precision(torch.device(kind), "auto") == expected
    for named in ("float32", "bfloat16"):
        assert pick_precision(torch.device(kind), named) == named


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
    for kind in ("cuda", "cpu", "mps"):
        to_device(torch.ones(3), torch.device(kind))
    assert seen == ["pinned", ("cuda", {"non_blocking": True}), ("cpu", {}), ("mps", {})]


def test_the_number_of_threads_is_restored_whatever_happens():
    def fail():
        with threads(2), threads(None):
            seen.append(torch.get_num_threads())
            raise KeyError

    seen = []
    with pytest.raises(KeyError):
        fail()
    assert (seen, torch.get_num_threads()) == ([2], 1)
