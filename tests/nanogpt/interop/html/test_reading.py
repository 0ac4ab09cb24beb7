"""A page read back: the same model, and nothing else is accepted."""

import pytest
from tiny import PRESETS, raising, refuses

from nanogpt.interop.html import reading
from nanogpt.interop.html.export import export_html
from nanogpt.interop.html.reading import MODEL, WEIGHTS, load_html
from nanogpt.runs.weights import model_tensors


@pytest.mark.parametrize("preset", PRESETS)
def test_config_and_weights_come_back(make_run, tmp_path, ids, preset):
    run = make_run(preset)
    model = load_html(export_html(run, tmp_path / "a.html"))
    assert model.config == run.config.model
    own, weights = model_tensors(run.model), model_tensors(model)
    assert weights.keys() == own.keys()
    for name, weight in weights.items():
        limit = own[name].abs().amax(-1, keepdim=True) / 127 * 0.51 if weight.dim() == 2 else 0.0
        assert ((weight - own[name]).abs() <= limit).all(), name
    theirs, ours = model(ids[None]), run.model(ids[None])
    assert 0 < (theirs - ours).abs().max() < 0.1 * ours.abs().max()


def changed(page, old, new):
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new, 1), encoding="utf-8")
    return page


@pytest.mark.parametrize("content", [None, b"<!doctype html><p>Hello", b"\xff\xfe\x00"])
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "other.html"
    if content is not None:
        file.write_bytes(content)
    refuses(lambda: load_html(file), "other.html")


def test_too_large_a_file_is_refused(make_page, monkeypatch):
    page = make_page()
    monkeypatch.setattr(reading, "PAGE_LIMIT", 1000)
    refuses(lambda: load_html(page), "1,000 bytes")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (WEIGHTS, WEIGHTS + "!", "not base64"),
        (WEIGHTS, WEIGHTS + "AAAA", "do not match its config"),
        (MODEL + "{", MODEL + "[", "not JSON"),
        (MODEL + "{", MODEL + "[1]</script><i>{", "not a JSON object"),
        ('"format":1', '"format":2', "newer"),
        ('"n_layer":2', '"n_layer":3', "do not match its config"),
        ('"n_layer":2', '"n_layer":"2"', "layer"),
        ('"n_layer":2', '"layers":2', "unknown"),
        ('"n_layer":2', '"n_layer":2000000', "parameters"),
        ('"block_size":11', '"block_size":99999999999', "no page can hold"),
        ('"offset":0', '"offset":4', "do not match its config"),
    ],
)
def test_damaged_pages_are_refused(make_page, old, new, word):
    refuses(lambda: load_html(changed(make_page(), old, new)), word)


def test_no_memory_is_allocated_for_sizes_that_a_file_claims(make_page, monkeypatch):
    page = changed(make_page(), '"vocab_size":37', '"vocab_size":99999999')
    monkeypatch.setattr(reading, "GPT", raising(AssertionError("a model was made")))
    refuses(lambda: load_html(page), "parameters")


def test_infinite_weights_are_refused(make_page):
    page = make_page()
    text = page.read_text(encoding="utf-8")
    place = text.index(WEIGHTS) + len(WEIGHTS)
    page.write_text(text[:place] + "AHwA" + text[place + 4 :], encoding="utf-8")  # the first scale is infinite
    refuses(lambda: load_html(page), "not finite")
