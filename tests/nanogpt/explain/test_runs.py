"""A run and a text in, a trace out."""

import importlib

import torch
from tiny import make_run, refuses

from nanogpt.explain import look, trace

TEXT = "hello there, old world"


def test_a_short_text_is_looked_at_whole():
    run = make_run("run", text=TEXT)
    found = look(run, "hello")
    assert run.tokenizer.decode(found.ids) == "hello"
    assert found.skipped == 0
    assert torch.equal(found.logits, trace(run.model, run.tokenizer.encode("hello").tolist()).logits)


def test_of_a_long_one_the_newest_tokens():
    run = make_run("run", text=TEXT)  # block_size 11
    found = look(run, TEXT)
    assert run.tokenizer.decode(found.ids) == TEXT[-11:]
    assert found.skipped == len(TEXT) - 11


def test_or_as_many_as_there_is_room_for(monkeypatch):
    run = make_run("run", text=TEXT)
    monkeypatch.setattr(importlib.import_module("nanogpt.explain.trace"), "MOST_NUMBERS", 6 * 5 * 5)
    found = look(run, TEXT)
    assert (run.tokenizer.decode(found.ids), found.skipped) == (TEXT[-3:], len(TEXT) - 3)


def test_with_heads_off():
    run = make_run("run", text=TEXT)
    found = look(run, "hello", off=[(1, 2)])
    assert found.off == ((1, 2),)
    assert torch.equal(found.logits, trace(run.model, found.ids, [(1, 2)]).logits)


def test_an_empty_text_is_what_generation_begins_with():
    assert len(look(make_run("run", text=TEXT), "").ids) == 1
    run = make_run("lines", text="one\ntwo")
    assert run.tokenizer.decode(look(run, "").ids) == "\n"


def test_characters_that_the_model_never_saw():
    run = make_run("run", text=TEXT)
    refuses(lambda: look(run, "hello?"), "'?'")
    assert run.tokenizer.decode(look(run, "hello?", unknown="skip").ids) == "hello"
