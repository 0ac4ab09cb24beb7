"""A run as a page: its size, what is refused, and that no data breaks out of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from tiny import refuses
from vocabularies import END, TOOL, qwen_tables

from nanogpt.config import load_preset
from nanogpt.interop.html.export import SCRIPTS, check_size, embed, export_html, part, policy
from nanogpt.interop.html.reading import MODEL
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

HOSTILE = "</script><script>document.title='taken'</script><!-- <script> \u2028\u2029 & {{weights}} \\u003c"


class Elements(HTMLParser):
    """Start tags, and the attributes and text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1][1] += data


def test_models_above_thirty_million_parameters_are_refused(make_run, tmp_path, monkeypatch):
    large = load_preset("gpt2").override(vocab_size=50257, n_embd=768, n_layer=12, n_head=12, block_size=1024)
    refuses(lambda: check_size(large.model), "124,439,808", "30,000,000")
    run = make_run()
    monkeypatch.setattr(run, "config", large)  # checked before the weights are touched
    refuses(lambda: export_html(run, tmp_path / "a.html"), "124,439,808")
    assert not (tmp_path / "a.html").exists()
    check_size(load_preset("modern").override(vocab_size=1000, n_embd=512, n_layer=9, n_head=8).model)  # 29.3 million


def test_a_page_has_at_most_1_4_bytes_per_parameter(make_run, tmp_path):
    """Of two million parameters, less than 3 MB, scripts and all."""
    sizes = {"n_layer": 4, "n_head": 4, "n_embd": 208, "head_size": None, "mlp_hidden": None, "block_size": 256}
    run = make_run("modern", **sizes)
    count = run.model.parameter_count
    assert 2.0e6 < count < 2.1e6
    assert export_html(run, tmp_path / "a.html").stat().st_size <= 1.4 * count < 3e6


def test_the_same_run_gives_the_same_bytes(make_run, tmp_path):
    run = make_run()
    assert export_html(run, tmp_path / "a.html").read_bytes() == export_html(run, tmp_path / "b.html").read_bytes()


def test_targets_that_are_refused(make_run, tmp_path):
    run, mine, dangling = make_run(), tmp_path / "mine.html", tmp_path / "link.html"
    mine.write_text("my own")
    dangling.symlink_to(tmp_path / "nowhere")
    refuses(lambda: export_html(run, mine), "mine.html", "exists")
    refuses(lambda: export_html(run, dangling), "link.html", "exists")
    refuses(lambda: export_html(run, mine / "a.html"), "cannot write", "a.html")
    refuses(lambda: export_html(run, tmp_path / "a.htm"), "a.htm", ".html")
    assert mine.read_text() == "my own"


def with_nan(run):
    with torch.no_grad():
        run.model.blocks[1].mlp.up.weight[0, 0] = float("nan")


def with_block(run):
    object.__setattr__(run.plan, "block", "my.module.Mine")


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({}, with_nan, ["blocks.1.mlp.up.weight", "diverged"]),
        ({}, with_block, ["my.module.Mine"]),
        ({"mask_documents": True, "document_token": 3}, None, ["mask"]),
        ({"tokenizer": ForeignTokenizer(qwen_tables(), TOOL + 2, END)}, None, ["tokenizer"]),
    ],
)
def test_models_that_are_refused(make_run, tmp_path, settings, change, words):
    run = make_run(**settings)
    if change is not None:
        change(run)
    refuses(lambda: export_html(run, tmp_path / "a.html"), *words)
    assert not list(tmp_path.glob("*a.html*"))


@pytest.mark.parametrize("where", ["text", "characters", "tokens"])
def test_no_name_and_no_vocabulary_breaks_out(make_page, where):
    """An HTML parser sees the same elements as in a harmless page, and the data is unchanged."""
    harmless = Elements(make_page().read_text(encoding="utf-8"))
    characters = "".join(sorted(set(HOSTILE + "\n\0\x7f\x85\ufeff\r")))
    tokenizer = {
        "text": lambda: None,
        "characters": lambda: CharTokenizer(characters),
        "tokens": lambda: BpeTokenizer.train(["</script><!-- <script>"] * 99, 280),
    }[where]()
    text = HOSTILE if where == "text" else "tale"
    page = make_page("modern", tokenizer, text=text).read_text(encoding="utf-8")
    found = Elements(page)
    assert found.tags == harmless.tags
    assert found.scripts[2] == harmless.scripts[2]  # the program
    data = json.loads(found.scripts[0][1])
    assert data["about"]["text"] == text
    if where == "characters":
        assert data["tokenizer"]["characters"] == characters
    if where == "tokens":
        assert any("script" in (token or "") for token in data["tokenizer"]["tokens"])
    assert not re.search("[<>&\u2028\u2029]", page.split(MODEL)[1].split("</script>")[0])


def test_lone_surrogates_can_be_written():
    assert json.loads(embed({"text": "a\ud800b"})) == {"text": "a\ud800b"}
    assert embed("\ud800").encode() == b'"\\ud800"'


@pytest.mark.parametrize(("script", "style"), [("x = '</SCRIPT>'", ""), ("", "a {} <!--")])
def test_scripts_and_style_cannot_end_early(script, style):
    with pytest.raises(AssertionError, match="would end early"):
        policy(script, style)


@pytest.mark.parametrize("name", [*(f"{name}.js" for name in SCRIPTS), "page.html", "page.css"])
def test_no_part_of_the_page_has_an_address_or_writes_html(name):
    forbidden = (
        r"https?:|//[a-z]|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|fetch\(|import\(|url\("
    )
    assert not re.search(forbidden, part(name))


def test_the_folder_of_a_preset_file_stays_private(make_run, tmp_path):
    run = make_run()
    run.config = replace(run.config, preset="/home/ada/secret/mine.toml")
    page = export_html(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "mine.toml" in page
    assert "ada" not in page.replace("abcdefg", "").split(MODEL)[1].split("</script>")[0]
