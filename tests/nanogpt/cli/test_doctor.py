"""`nanogpt doctor`: each check by itself, with the thing it looks at put right and wrong."""

import json
import sys
from importlib import metadata

import pytest

from nanogpt.cli import doctor
from nanogpt.cli.doctor import Finding


def only(check, *arguments):
    [found] = check(*arguments)
    return found


def test_the_whole(nanogpt):
    found = nanogpt("doctor", "--json")
    told = json.loads(found.out)["findings"]
    names = {one["name"] for one in told}
    assert {"Python", "torch", "threads", "device", "compile", "memory", "disk", "cache", "starter"} <= names
    assert found.code == int(any(one["state"] == "off" for one in told))
    assert all((one["state"] == "ok") == (one["remedy"] is None) for one in told)


def test_its_exit_code(nanogpt, monkeypatch):
    off = Finding("disk", "full", "free some space", required=True)
    could = Finding("studio", "the page: missing", "pip install it")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: [could],))
    assert nanogpt("doctor").code == 0
    monkeypatch.setattr(doctor, "CHECKS", (lambda: [could, off],))
    found = nanogpt("doctor")
    assert (found.code, found.out.splitlines()[-1]) == (1, "to fix: disk")
    assert "OFF disk    full\n            free some space\n" in found.out


def test_packages(monkeypatch):
    monkeypatch.setattr(doctor, "requirements", lambda: [("torch", "2.0"), ("no-such-package", "1"), ("numpy", "99")])
    _, packages, torch = doctor.check_packages()
    assert packages.state == "off"
    assert "no-such-package is missing; numpy is " in packages.found
    assert torch.state == "ok"


def test_without_torch_the_rest_is_checked(monkeypatch, nanogpt):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(doctor, "requirements", lambda extra=None: [])
    found = nanogpt("doctor")
    assert found.code == 1
    assert "disk" in found.out
    assert found.out.splitlines()[-1] == "to fix: torch"


def test_requirements(monkeypatch):
    asked = [
        "torch>=2.8", "numpy", "zstd>=0.22; extra == 'data'", 'nanogpt[gguf]; extra == "llama"',
        'llama-cpp-python>=0.3.16; extra == "llama"', "uvicorn[standard]>=0.30; extra == 'studio'",
    ]  # fmt: skip
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    assert doctor.requirements() == [("torch", "2.8"), ("numpy", "0")]
    assert doctor.requirements("data") == [("zstd", "0.22")]
    assert doctor.requirements("llama") == [("llama-cpp-python", "0.3.16")]
    assert doctor.requirements("studio") == [("uvicorn", "0.30")]


@pytest.mark.parametrize(
    ("threads", "cores", "variable", "words"),
    [(2, 2, None, None), (4, 2, None, "--threads 2"), (1, 4, "1", "unset OMP_NUM_THREADS"), (1, 1, "1", None)],
)
def test_threads(monkeypatch, threads, cores, variable, words):
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setattr("nanogpt.text.chunks.usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    found = only(doctor.check_threads)
    assert (found.state == "ok") == (words is None)
    assert words is None or words in found.remedy


def test_a_gpu_that_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert only(doctor.check_device, tmp_path / "none").state == "ok"
    assert "CUDA build" in only(doctor.check_device, tmp_path).remedy


@pytest.mark.parametrize(("free", "state"), [(None, "ok"), (3e8, "off"), (3e9, "ok")])
def test_memory(monkeypatch, free, state):
    monkeypatch.setattr("nanogpt.planning.memory.free_bytes", lambda device: free)
    assert only(doctor.check_memory).state == state


def test_the_disk(monkeypatch):
    assert [one.state for one in doctor.check_disk()] == ["ok", "ok"]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**7}))
    full, cache = doctor.check_disk()
    assert full.state == cache.state == "off"
    assert "--out" in full.remedy
    assert "NANOGPT_CACHE" in cache.remedy
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "cannot be written to" in next(doctor.check_disk()).found


def test_versions_are_compared_as_numbers(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "2.13.0+cpu")
    assert doctor.problems_with([("torch", "2.8")]) == []
    assert doctor.problems_with([("torch", "2.14")]) == ["torch is 2.13.0+cpu, older than 2.14"]
