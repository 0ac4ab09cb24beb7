"""A run as a page: what is written, how large it is, what is refused, and that no data breaks out of it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
import torch
from tiny import refuses
from vocabularies import END, TOOL, qwen_tables

from nanogpt.config import load_preset
from nanogpt.interop.html import export as template
from nanogpt.interop.html.export import check_size, export_html
from nanogpt.interop.html.reading import MODEL
from nanogpt.model.gpt import Block
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

HOSTILE = "</script><script>document.title='taken'</script><!-- <script> \u2028\u2029 & {{weights}} \\u003c"


class Elements(HTMLParser):
    """Start tags, and the text inside each script."""

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


def exported(make_run, tmp_path, *words, **settings):
    return export_html(make_run(*words, **settings), tmp_path / "a.html").read_text(encoding="utf-8")


def test_an_existing_file_is_kept(make_run, tmp_path):
    place = tmp_path / "mine.html"
    place.write_text("my own")
    refuses(lambda: export_html(make_run(), place), "mine.html", "exists already")
    assert place.read_text() == "my own"
    dangling = tmp_path / "link.html"
    dangling.symlink_to(tmp_path / "nowhere")
    refuses(lambda: export_html(make_run(), dangling), "link.html", "exists already")


def test_a_place_that_cannot_be_written_is_told(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    refuses(lambda: export_html(make_run(), tmp_path / "file" / "a.html"), "cannot write", "a.html")


def test_a_failure_leaves_nothing_behind(make_run, tmp_path):
    run = make_run()
    with torch.no_grad():
        run.model.blocks[1].mlp.up.weight[0, 0] = float("nan")
    refuses(lambda: export_html(run, tmp_path / "a.html"), "blocks.1.mlp.up.weight", "diverged")
    assert not list(tmp_path.glob("*a.html*"))


def test_above_thirty_million_parameters_it_refuses_with_the_size(make_run, tmp_path, monkeypatch):
    large = load_preset("gpt2").override(vocab_size=50257, n_embd=768, n_layer=12, n_head=12, block_size=1024)
    refuses(lambda: check_size(large.model), "124,439,808", "30,000,000", "166 MB")
    run = make_run()
    monkeypatch.setattr(run, "config", large)  # asked before the weights are touched
    refuses(lambda: export_html(run, tmp_path / "a.html"), "124,439,808")
    assert not (tmp_path / "a.html").exists()


def test_just_below_the_limit_it_does_not_refuse():
    check_size(load_preset("modern").override(vocab_size=1000, n_embd=512, n_layer=9, n_head=8).model)  # 29.3 million


def test_blocks_of_ones_own_are_refused(make_run, tmp_path):
    class MyBlock(Block):
        pass

    run = make_run()
    run.plan = type(run.plan)(**run.plan.__dict__ | {"block": "MyBlock"})
    refuses(lambda: export_html(run, tmp_path / "a.html"), "MyBlock", "library's own")


def test_a_part_that_the_page_lacks_is_named(make_run, tmp_path):
    run = make_run(mask_documents=True, document_token=36)
    refuses(lambda: export_html(run, tmp_path / "a.html"), "mask_documents")


def test_two_million_parameters_take_less_than_three_megabytes(make_run, tmp_path):
    """At most 1.4 bytes a parameter, scripts and all."""
    sizes = {"n_layer": 4, "n_head": 4, "n_embd": 208, "head_size": None, "mlp_hidden": None, "block_size": 256}
    run = make_run("modern", **sizes)
    count = run.model.parameter_count
    assert 2.0e6 < count < 2.1e6
    size = export_html(run, tmp_path / "a.html").stat().st_size
    assert size < 3e6
    assert size / count <= 1.4


def test_the_same_run_gives_the_same_bytes(make_run, tmp_path):
    run = make_run()
    assert export_html(run, tmp_path / "a.html").read_bytes() == export_html(run, tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("where", ["text", "characters", "tokens"])
def test_no_name_and_no_vocabulary_breaks_out(make_run, tmp_path, where):
    """An HTML parser sees the same elements as in a harmless page, and the data is what was meant."""
    harmless = Elements(exported(make_run, tmp_path / "harmless"))
    characters = "".join(sorted(set(HOSTILE + "\n\0\x7f\x85\ufeff\r")))
    tokenizer = {
        "text": lambda: None,
        "characters": lambda: CharTokenizer(characters),
        "tokens": lambda: BpeTokenizer.train(["</script><!-- <script>"] * 99, 280),
    }[where]()
    page = exported(make_run, tmp_path, "modern", tokenizer, text=HOSTILE if where == "text" else "tale")
    found = Elements(page)
    assert found.tags == harmless.tags
    assert found.scripts[2] == harmless.scripts[2]  # the program
    data = json.loads(found.scripts[0][1])
    assert data["about"]["text"] == (HOSTILE if where == "text" else "tale")
    if where == "characters":
        assert data["tokenizer"]["characters"] == characters
    if where == "tokens":
        assert any("script" in (token or "") for token in data["tokenizer"]["tokens"])
    embedded = page.split(MODEL)[1].split("</script>")[0]
    assert not re.search("[<>&\u2028\u2029]", embedded)


def test_lone_surrogates_can_be_written(make_run, tmp_path):
    assert json.loads(template.embed({"text": "a\ud800b"})) == {"text": "a\ud800b"}
    assert template.embed("\ud800").encode() == b'"\\ud800"'


def test_scripts_and_style_cannot_end_early():
    with pytest.raises(AssertionError, match="script would end"):
        template.policy("x = '</SCRIPT>'", "")
    with pytest.raises(AssertionError, match="style would end"):
        template.policy("", "a {} <!--")


def test_every_script_is_listed_and_there():
    """A file in `page/` that is not in SCRIPTS would be left out of the page without a word."""
    names = {path.name for path in (files("nanogpt.interop.html") / "page").iterdir()}
    assert names == {f"{name}.js" for name in template.SCRIPTS} | {"page.html", "page.css"}


def test_no_part_of_the_page_names_an_address_or_writes_html():
    for name in [*(f"{name}.js" for name in template.SCRIPTS), "page.html", "page.css"]:
        code = template.part(name)
        words = (
            r"https?:|//[a-z]|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|fetch\(|import\(|url\("
        )
        assert not re.search(words, code), name


def test_where_the_preset_was_a_file_its_folder_is_not_told(make_run, tmp_path):
    run = make_run()
    run.config = replace(run.config, preset="/home/ada/secret/mine.toml")
    page = export_html(run, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "mine.toml" in page
    assert "ada" not in page.replace("abcdefg", "").split(MODEL)[1].split("</script>")[0]


def test_a_tokenizer_that_the_page_has_not_is_refused(make_run, tmp_path):
    run = make_run(tokenizer=ForeignTokenizer(qwen_tables(), TOOL + 2, END))
    refuses(lambda: export_html(run, tmp_path / "a.html"), "divides text by another rule")
