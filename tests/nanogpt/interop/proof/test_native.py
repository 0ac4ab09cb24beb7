"""The library's own ways to run a model agree, for every preset, and a broken one is seen."""

import pytest
import torch
from tiny import make_run

from nanogpt.interop.proof.compare import compare, make_contexts
from nanogpt.interop.proof.native import Batched, Cached, native_rows
from nanogpt.sampling.cache import EqualLayer


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["lecture", "gpt2", "modern"])
def test_all_ways_agree(preset):
    run = make_run("run", preset)
    rows = list(native_rows(run.model, make_contexts(run.model, run.tokenizer)))
    assert [row.name for row in rows] == ["cached", "batched", "compiled"]
    assert all(row.passed for row in rows), rows


@pytest.mark.parametrize("way", [Cached, Batched])
@pytest.mark.parametrize("settings", [{}, {"mask_documents": True, "document_token": 12}, {"n_kv_head": 1}])
def test_cached_and_batched(way, settings):
    run = make_run("run", **settings)
    assert compare("way", run.model, way(run.model), make_contexts(run.model, run.tokenizer)).passed


def test_a_cache_that_forgets_is_seen(monkeypatch):
    run = make_run("run")
    contexts, append = make_contexts(run.model, run.tokenizer), EqualLayer.append

    def forgetful(self, k, v):
        k, v = append(self, k, v)
        k = k.clone()
        k[:, :, :1] = 0
        return k, v

    monkeypatch.setattr(EqualLayer, "append", forgetful)
    row = compare("cached", run.model, Cached(run.model), contexts)
    assert not row.passed
    assert row.difference > 0.01


def test_a_compiler_that_fails_is_told_and_no_pass(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no compiler here\nat line 3")

    monkeypatch.setattr(torch, "compile", fail)
    run = make_run("run")
    *_, row = native_rows(run.model, make_contexts(run.model, run.tokenizer))
    assert row.not_run == "torch.compile does not work here (no compiler here)"
    assert not row.passed
