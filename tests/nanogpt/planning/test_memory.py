"""The memory estimate against what torch keeps; `benchmarks.memory` compares it with real processes."""

import os
import re
from pathlib import Path

import pytest
import torch
from tiny import PRESETS, SMALL_RUN, refuses, start, start_run, tiny_config, token_ids, write_text

from nanogpt.data.tokenize import Dataset
from nanogpt.model.gpt import GPT
from nanogpt.model.parameters import Parameters, count_parameters
from nanogpt.parallel.world import ALONE
from nanogpt.planning import memory as planned
from nanogpt.training.options import train
from nanogpt.training.trainer import TrainStep, build_model

CPU = torch.device("cpu")
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZES = {"n_layer": 3, "n_head": 6, "n_embd": 84, "head_size": None, "mlp_hidden": None, "block_size": 44}


def really_kept(config):
    """Return the bytes that a forward pass keeps, each storage once, without the model's own."""
    ids = token_ids(500, vocab_size=config.model.vocab_size).numpy()
    train_step = TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids, key="k"), ALONE)
    kept, alive = {}, []

    def pack(tensor):
        alive.append(tensor)  # or another tensor could get its address
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        train_step.loss(train_step.forward, 0, range(config.train.batch_size))
    own = {t.untyped_storage().data_ptr() for t in (*train_step.model.parameters(), *train_step.model.buffers())}
    return sum(size for address, size in kept.items() if address not in own)


OPTIONS = [{}, *({"dropout": 0.1, "attention_dropout": p} for p in (0.0, 0.1)), {"n_kv_head": 2}]
OPTIONS += [{"norm_position": "post"}, {"vocab_size": 1009}, {"activation": "gelu"}]
OPTIONS += [{"position": "learned", "qk_norm": False}, {"block_size": 173}]
OPTIONS += [{"block_size": 173, "precision": "float32"}, {"precision": "float32"}]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_kept_is_counted(preset, options):
    config = tiny_config(preset, batch_size=7, **SIZES | {"precision": "bfloat16"} | options)
    half = config.train.precision == "bfloat16"
    counted = planned.activation_bytes(config.model, 7 * config.model.block_size, half)
    assert 0.98 <= counted / really_kept(config) <= 1.08


def test_by_hand():
    config = tiny_config(optimizer="muon", batch_size=3, accumulation=5)
    count = count_parameters(config.model)
    memory = planned.estimate_memory(config)
    assert count == Parameters(
        matrices=2 * (13 * 3 * 30 + 30 * 13 + 13 * 2 * 17 + 17 * 13), rest=2 * (2 * 13 + 2 * 10) + 2 * 37 * 13 + 13
    )
    assert memory.weights == memory.gradients == 4 * count.total
    assert memory.optimizer == 4 * (count.matrices + 2 * count.rest)
    assert memory.evaluation == 8192 * 4 * max(2 * 13 + 4 * 17, 13 + 2 * 37)
    assert planned.estimate_memory(config.override(optimizer="adamw")).optimizer == 8 * count.total
    assert planned.estimate_memory(config, "cuda").process == 0


def test_the_peak_by_hand():
    parts = {"process": 1, "weights": 2, "gradients": 4, "optimizer": 8}
    assert planned.MemoryEstimate(**parts, activations=100, evaluation=50, update=3).peak == 165
    assert planned.MemoryEstimate(**parts, activations=100, evaluation=50, update=300).peak == 365


def test_a_larger_batch_block_or_model_takes_more_and_accumulation_none():
    config = tiny_config(n_layer=3, batch_size=64, precision="float32")
    peak = planned.estimate_memory(config).peak
    for name, value in {"batch_size": 128, "block_size": 97, "n_layer": 7, "n_embd": 103}.items():
        assert planned.estimate_memory(config.override(**{name: value})).peak > peak, name
    assert planned.estimate_memory(config.override(accumulation=9)).peak == peak
    assert planned.estimate_memory(config, half=True).peak < peak


def test_several_processes_share_a_batch_and_under_fsdp_the_weights():
    config = tiny_config(batch_size=64)
    alone, four = planned.estimate_memory(config), planned.estimate_memory(config, processes=4)
    divided = planned.estimate_memory(config.override(parallel="fsdp"), processes=4)
    assert four.activations * 4 == pytest.approx(alone.activations, rel=1e-6)
    assert (four.weights, divided.weights) == (alone.weights, alone.weights // 4)


@pytest.mark.parametrize(("batch_size", "chunk"), [(2, 2 * 4 * 2 * 44 * 50_257), (50, 2 * 4 * 2**26), (300, 0)])
def test_a_gpus_loss_takes_two_float32_chunks_or_the_whole_gradient(batch_size, chunk):
    config = tiny_config(**SIZES, vocab_size=50_257, batch_size=batch_size)
    tokens = batch_size * 44
    kept = planned.activation_bytes(config.model, tokens, half=True, on_cpu=False)
    counted = planned.estimate_memory(config, "cuda", half=True).activations - int(1.1 * kept)
    each = 2 * tokens * 50_257
    assert counted == each + max(each, chunk)


@pytest.fixture
def linux(monkeypatch):
    """Make the files of a Linux system: 7,000 kB available, 11 pages of this process in memory."""
    monkeypatch.setattr(planned, "PROC", Path("proc"))
    monkeypatch.setattr(planned, "CGROUPS", Path("cgroup"))
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    7000 kB\n")
    write("proc/self/statm", "500 11 5 1 0 100 0")
    return 11 * PAGE


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(str(text))


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 7000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/job/step",
                "cgroup/job/step/memory.max": "max",
                "cgroup/job/step/memory.current": 10,
                "cgroup/job/memory.max": 5_000_000,
                "cgroup/job/memory.current": 3_000_000,
                "cgroup/job/memory.stat": "anon 5\ninactive_file 400000\n",
            },
            5_000_000 - (3_000_000 - 400_000),
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory,cpu:/a\n1:cpu:/",
                "cgroup/memory/a/memory.limit_in_bytes": 2_000_000,
                "cgroup/memory/a/memory.usage_in_bytes": 1_500_000,
                "cgroup/memory/a/memory.stat": "total_inactive_file 300000\n",
            },
            800_000,
        ),
    ],
    ids=["no group", "a parent's limit", "version 1"],
)
def test_free_memory_on_linux(linux, files, free):
    for path, text in files.items():
        write(path, text)
    assert planned.free_bytes(CPU) == free + linux


def test_free_memory_elsewhere(monkeypatch):
    monkeypatch.setattr(planned, "PROC", Path("nowhere"))
    monkeypatch.setattr(planned.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 7}.__getitem__)
    assert planned.free_bytes(CPU) == 7000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3_000, 9_000))
    assert planned.free_bytes(torch.device("cuda", 1)) == 3_000


def test_nothing_is_refused_where_free_memory_is_unknown(monkeypatch):
    monkeypatch.setattr(planned, "PROC", Path("nowhere"))
    monkeypatch.delattr(planned.os, "sysconf")  # as on Windows
    assert planned.free_bytes(CPU) is None
    assert planned.find_memory_limit(None, CPU) is None
    assert planned.fits(tiny_config(n_layer=10**6), None, CPU)
    planned.check_memory(tiny_config(n_layer=10**6), None, CPU)


def test_processes_of_one_machine_share_its_memory(linux):
    assert planned.find_memory_limit(2.0, CPU).bytes == 2e9
    assert planned.find_memory_limit(2.0, CPU, 4).bytes == 5e8
    assert planned.find_memory_limit(None, CPU, 4).bytes == pytest.approx(0.95 * (7000 * 1024 + linux) / 4)


def advised(message):
    return {flag.replace("-", "_"): int(value) for flag, value in re.findall(r"--([a-z-]+) (\d+)(?![.\d])", message)}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("batch", [60, 61])
def test_the_advised_batch_fits_and_keeps_the_effective_batch(share, batch):
    config = tiny_config(n_layer=6, n_embd=256, head_size=None, mlp_hidden=None, n_head=4, block_size=128)
    config = config.override(batch_size=batch, accumulation=2)
    limit = planned.MemoryLimit(
        planned.PROCESS + share * (planned.peak_bytes(config, CPU) - planned.PROCESS), "--memory x allows"
    )
    message = refuses(lambda: planned.check_memory(config, limit, CPU), "--memory x allows", "--batch-size")
    changed = config.override(**advised(message))
    assert changed.train.batch_sequences == 2 * batch
    planned.check_memory(changed, limit, CPU)
    assert batch == 61 or planned.peak_bytes(changed, CPU) > 0.5 * limit.bytes  # few numbers divide 2 x 61


def test_a_smaller_model_is_advised_where_no_batch_is_small_enough():
    config = tiny_config(n_layer=24, n_embd=1024, head_size=None, mlp_hidden=None, n_head=16, batch_size=2)
    message = refuses(
        lambda: planned.check_memory(config, planned.MemoryLimit(0.9e9, "this machine now has"), CPU), "now has 0.90 GB"
    )
    assert "n_embd" in advised(message)
    planned.check_memory(config.override(**advised(message)), planned.MemoryLimit(0.9e9, ""), CPU)


@pytest.mark.parametrize("length", [{"steps": 3}, {"minutes": 0.1}], ids=str)
def test_too_large_is_refused_before_anything_is_allocated(monkeypatch, length):
    write_text()
    monkeypatch.setattr(GPT, "__init__", None)
    sizes = {"n_layer": 400, "n_embd": 8192, "n_head": 64}
    refuses(lambda: train("tale.txt", **length, **sizes, progress=False), "choose --n-layer")
    assert not Path("runs").exists()
    refuses(lambda: train("tale.txt", **length, memory=0.1, progress=False), "--memory 0.1 allows", "no size fits")


def test_what_fits_is_trained():
    write_text()
    assert start_run("tale.txt", steps=1, memory=1.0, **SMALL_RUN).plan.steps == 1
    refuses(lambda: start("x", memory=0.33), "--memory 0.33 allows 0.33 GB")
