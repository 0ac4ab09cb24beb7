"""What a machine has free, read from a machine made up of files; what is refused, and what is advised instead."""

import os
import re
from pathlib import Path

import pytest
import torch
from tiny import SMALL_RUN, refuses, start, tiny_config, write_text

from nanogpt.parallel.world import World
from nanogpt.planning import machine
from nanogpt.planning.machine import Room, check_memory, find_room, fits, free_bytes, peak_bytes
from nanogpt.planning.memory import PROCESS
from nanogpt.training.launch import start_run, train
from nanogpt.training.step import Stepper

CPU = torch.device("cpu")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def linux(monkeypatch):
    """Files as Linux has them: 7,000 kB available, 11 pages of this process in memory."""
    monkeypatch.setattr(machine, "PROC", Path("proc"))
    monkeypatch.setattr(machine, "CGROUPS", Path("cgroup"))
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    7000 kB\n")
    write("proc/self/statm", "500 11 5 1 0 100 0")
    return 11 * PAGE


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(str(text))


def test_what_is_available_and_what_this_process_has_already(linux):
    assert free_bytes(CPU) == 7000 * 1024 + linux


def test_a_control_group_counts_and_so_do_those_above_it(linux):
    write("proc/self/cgroup", "0::/job/step")
    write("cgroup/job/step/memory.max", "max")
    write("cgroup/job/step/memory.current", 10)
    write("cgroup/job/memory.max", 5_000_000)
    write("cgroup/job/memory.current", 3_000_000)
    write("cgroup/job/memory.stat", "anon 5\ninactive_file 400000\n")
    assert free_bytes(CPU) == 5_000_000 - (3_000_000 - 400_000) + linux


def test_a_control_group_of_the_first_version(linux):
    write("proc/self/cgroup", "9:name=systemd:/\n4:memory,cpu:/a\n1:cpu:/")
    write("cgroup/memory/a/memory.limit_in_bytes", 2_000_000)
    write("cgroup/memory/a/memory.usage_in_bytes", 1_500_000)
    write("cgroup/memory/a/memory.stat", "total_inactive_file 300000\n")
    assert free_bytes(CPU) == 800_000 + linux


def test_a_control_group_without_a_limit_is_none(linux):
    write("proc/self/cgroup", "4:memory:/a\n0::/")
    write("cgroup/memory/a/memory.limit_in_bytes", 9223372036854771712)
    write("cgroup/memory/a/memory.usage_in_bytes", 1)
    write("cgroup/memory/a/memory.stat", "")
    assert free_bytes(CPU) == 7000 * 1024 + linux


def test_a_system_that_tells_only_what_is_built_in(monkeypatch):
    monkeypatch.setattr(machine, "PROC", Path("nowhere"))
    monkeypatch.setattr(machine.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 7}.__getitem__)
    assert free_bytes(CPU) == 7000


def test_where_nothing_tells_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(machine, "PROC", Path("nowhere"))
    monkeypatch.delattr(machine.os, "sysconf")  # as on Windows
    assert free_bytes(CPU) is None
    assert find_room(None, CPU) is None
    assert fits(tiny_config(n_layer=10**6), None, CPU)
    check_memory(tiny_config(n_layer=10**6), None, CPU)


def test_processes_of_one_machine_share_it(linux):
    four = World(rank=1, size=8, local_rank=1, local_size=4)
    assert find_room(2.0, CPU).size == 2e9
    assert find_room(2.0, CPU, four).size == 5e8
    assert find_room(None, CPU, four).size == pytest.approx(0.95 * (7000 * 1024 + linux) / 4)


def test_a_gpu_tells_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3_000, 9_000))
    assert free_bytes(torch.device("cuda", 1)) == 3_000


def advised(message):
    """The settings of the flags in a message."""
    return {flag.replace("-", "_"): int(value) for flag, value in re.findall(r"--([a-z-]+) (\d+)(?![.\d])", message)}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("batch", [60, 61])
def test_what_is_advised_fits_and_keeps_the_effective_batch(share, batch):
    config = tiny_config(n_layer=6, n_embd=256, head_size=None, mlp_hidden=None, n_head=4, block_size=128)
    config = config.override(batch_size=batch, accumulation=2)
    process = PROCESS
    room = Room(process + share * (peak_bytes(config, CPU) - process), "--memory x allows")
    message = refuses(lambda: check_memory(config, room, CPU), "would take about", "--memory x allows", "--batch-size")
    changed = config.override(**advised(message))
    assert changed.train.batch_sequences == 2 * batch
    check_memory(changed, room, CPU)
    assert batch == 61 or peak_bytes(changed, CPU) > 0.5 * room.size  # few numbers divide 2 x 61


def test_a_smaller_model_is_advised_where_no_batch_is_small_enough():
    config = tiny_config(n_layer=24, n_embd=1024, head_size=None, mlp_hidden=None, n_head=16, batch_size=2)
    message = refuses(lambda: check_memory(config, Room(0.9e9, "this machine now has"), CPU), "now has 0.90 GB")
    assert "n_embd" in advised(message)
    check_memory(config.override(**advised(message)), Room(0.9e9, ""), CPU)


def test_no_size_fits():
    refuses(lambda: check_memory(tiny_config(), Room(1e6, "--memory 0.001 allows"), CPU), "no size fits")


@pytest.mark.parametrize("length", [{"steps": 3}, {"minutes": 0.1}], ids=str)
def test_too_large_is_refused_before_anything_is_allocated(monkeypatch, length):
    write_text()
    monkeypatch.setattr(Stepper, "__init__", None)
    sizes = {"n_layer": 400, "n_embd": 8192, "n_head": 64}
    refuses(lambda: train("tale.txt", **length, **sizes, progress=False), "would take about", "choose --n-layer")
    assert not Path("runs").exists()
    refuses(lambda: train("tale.txt", **length, memory=0.1, progress=False), "--memory 0.1 allows", "no size fits")


@pytest.mark.parametrize("memory", [0, -1.0, float("inf")])
def test_memory_that_is_none(memory):
    write_text()
    refuses(lambda: train("tale.txt", steps=1, memory=memory), f"memory is {memory}", "above 0")


def test_what_fits_is_trained():
    write_text()
    assert start_run("tale.txt", steps=1, memory=1.0, **SMALL_RUN).plan.steps == 1
    refuses(lambda: start("x", memory=0.33), "--memory 0.33 allows 0.33 GB")


def test_resuming_takes_no_memory():
    refuses(lambda: train(resume="x", memory=2.0), "leave memory out")
