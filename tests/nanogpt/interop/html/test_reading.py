"""A page read back: the same model, and nothing that is not one."""

import json

import pytest
import torch
from tiny import PRESETS, refuses

from nanogpt.interop.html import reading
from nanogpt.interop.html.export import export_html
from nanogpt.interop.html.reading import load_html
from nanogpt.runs.weights import model_tensors


@pytest.mark.parametrize("preset", PRESETS)
def test_config_and_weights_come_back(make_run, tmp_path, preset):
    run = make_run(preset)
    model = load_html(export_html(run, tmp_path / "a.html"))
    assert model.config == run.config.model
    own, weights = model_tensors(run.model), model_tensors(model)
    assert weights.keys() == own.keys()
    for name, weight in weights.items():
        limit = own[name].abs().amax(-1, keepdim=True) / 127 * 0.51 if weight.dim() == 2 else 0.0
        assert ((weight - own[name]).abs() <= limit).all(), name


def test_the_model_read_is_nearly_the_one_exported(make_run, tmp_path, ids):
    run = make_run()
    model = load_html(export_html(run, tmp_path / "a.html"))
    theirs, ours = model(ids[None]), run.model(ids[None])
    assert 0 < (theirs - ours).abs().max() < 0.1 * ours.abs().max()


def damaged(page, old, new):
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new, 1), encoding="utf-8")
    return page


def test_other_files_are_refused(make_page, tmp_path):
    refuses(lambda: load_html(tmp_path / "none.html"), "none.html", "no such file")
    other = tmp_path / "other.html"
    other.write_text("<!doctype html><p>Hello")
    refuses(lambda: load_html(other), "other.html", "not a page of this program")
    other.write_bytes(b"\xff\xfe\x00")
    refuses(lambda: load_html(other), "other.html")
    page = make_page()
    doubled = page.read_text(encoding="utf-8") + reading.MODEL + "{}</script>"
    page.write_text(doubled, encoding="utf-8")
    refuses(lambda: load_html(page), "not a page of this program")


def test_too_large_a_file_is_refused(make_page, monkeypatch):
    page = make_page()
    monkeypatch.setattr(reading, "PAGE_LIMIT", 1000)
    refuses(lambda: load_html(page), "larger than 1,000 bytes")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (reading.WEIGHTS, reading.WEIGHTS + "!", "not base64"),
        (reading.WEIGHTS, reading.WEIGHTS + "AAAA", "not those that its config asks for"),
        (reading.MODEL + "{", reading.MODEL + "[", "not JSON"),
        (reading.MODEL + "{", reading.MODEL + "[1]</script><i>{", "not a table"),
        ('"format":1', '"format":2', "newer"),
        ('"n_layer":2', '"n_layer":3', "not those that its config asks for"),
        ('"n_layer":2', '"n_layer":"2"', "n_layer"),
        ('"n_layer":2', '"layers":2', "unknown key"),
        ('"n_layer":2', '"n_layer":2000000', "parameters"),
        ('"block_size":11', '"block_size":99999999999', "no page holds"),
        ('"offset":0', '"offset":4', "not those that its config asks for"),
    ],
)
def test_damaged_pages_are_refused(make_page, old, new, word):
    refuses(lambda: load_html(damaged(make_page(), old, new)), word)


def test_no_memory_is_taken_for_sizes_that_a_stranger_names(make_page, monkeypatch):
    page = damaged(make_page(), '"vocab_size":37', '"vocab_size":99999999')

    def fail(*_):
        raise AssertionError("a model was made")

    monkeypatch.setattr(reading, "GPT", fail)
    refuses(lambda: load_html(page), "parameters")


def test_infinite_weights_are_refused(make_page):
    page = make_page()
    text = page.read_text(encoding="utf-8")
    place = text.index(reading.WEIGHTS) + len(reading.WEIGHTS)
    page.write_text(text[:place] + "AHwA" + text[place + 4 :], encoding="utf-8")  # the first scale is infinite
    refuses(lambda: load_html(page), "holds what is not a number")


def test_the_data_is_what_the_browser_parses(make_page):
    """The two elements are found by letters that a browser finds too: one each, before the page's script."""
    text = make_page().read_text(encoding="utf-8")
    model = text.split(reading.MODEL)[1].split("</script>")[0]
    assert json.loads(model)["about"] == {
        "text": "tale",
        "preset": "modern",
        "step": 1,
        "parameters": _parameters(model),
    }
    assert text.count("<script") == text.count("</script>") == 3


def _parameters(model: str) -> int:
    return sum(int(torch.tensor(place["shape"]).prod()) for place in json.loads(model)["tensors"])
