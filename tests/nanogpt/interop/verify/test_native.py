"""The library's own ways to run a model agree, and a broken one is seen."""

import pytest
import torch
from tiny import make_run, raising

from nanogpt.interop.verify.compare import Batched, Cached, compare, make_contexts, native_rows
from nanogpt.model.kv_cache import LayerCache


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


def test_a_broken_cache_is_seen(monkeypatch):
    run = make_run("run")
    contexts, append = make_contexts(run.model, run.tokenizer), LayerCache.append

    def forgetful(self, k, v):
        k, v = append(self, k, v)
        return k.index_fill(2, torch.tensor(0), 0), v

    monkeypatch.setattr(LayerCache, "append", forgetful)
    row = compare("cached", run.model, Cached(run.model), contexts)
    assert not row.passed
    assert row.difference > 0.01


def test_a_compiler_that_fails_does_not_pass(monkeypatch):
    monkeypatch.setattr(torch, "compile", raising(RuntimeError("no compiler here\nat line 3")))
    run = make_run("run")
    *_, row = native_rows(run.model, make_contexts(run.model, run.tokenizer))
    assert "(no compiler here)" in row.not_run
    assert not row.passed
