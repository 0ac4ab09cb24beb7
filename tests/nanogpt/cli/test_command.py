import re
import subprocess
import sys
from dataclasses import fields

import pytest
from tiny import raising

from nanogpt import __version__
from nanogpt.cli.main import COMMANDS, main, module_of
from nanogpt.config import PARTS, SampleConfig

# Each flag is a promise: this list grows, and nothing is taken from it.
PROMISED = """
train minutes steps memory preset out val from seeds resume yes help-all \
 vocab-size block-size n-layer n-head n-embd n-kv-head head-size mlp-hidden norm norm-position norm-eps position \
 rope-theta activation qk-norm qkv-bias bias head-bias tie-embeddings mask-documents init dropout attention-dropout \
 embedding-dropout tokenizer tokenizer-from end-of-document encoding pattern column documents clean unknown format \
 seed batch-size accumulation \
 optimizer learning-rate warmup decay schedule embedding-rate head-rate vector-rate final-lr weight-decay \
 weight-decay-on momentum beta1 beta2 \
 grad-clip eval-every eval-tokens final-eval-tokens patience sample-tokens log-every device precision compile track \
 history on-divergence threads parallel lora
sample prompt prompts prompt-file unknown out checkpoint device precision tokens temperature top-k top-p min-p \
 repetition-penalty stop seed samples
eval text yes unknown checkpoint protocol seed floors memorised samples tokens json device precision
info encoding pattern column documents clean yes
data encoding pattern column documents clean yes preset json
runs folder compare significance against delete yes
plot x out
export to checkpoint precision licence push
verify against checkpoint
studio host port token no-browser
serve host port token allow-host allow-origin rows queue max-tokens max-prompt precision checkpoint device threads
import out block-size
doctor json
completion
"""
FLAGS = {command: {f"--{name}" for name in names} for command, *names in map(str.split, PROMISED.split("\n")[1:-1])}
FLAGS["plan"] = FLAGS["train"] - {"--steps", "--out", "--seeds", "--resume"} | {"--json"}


def full_help(nanogpt, *words):
    return nanogpt(*words, "--help-all" if words[0] in ("train", "plan") else "--help")


def as_flag(name):
    return "--" + name.replace("_", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_and_the_examples(nanogpt, command):
    found = full_help(nanogpt, command)
    assert found.code == 0
    flags = set(re.findall(r"^  (?:-h, )?(--[a-z][a-z0-9-]*)", found.out, re.MULTILINE)) - {"--help"}
    assert flags == FLAGS[command]
    examples = re.findall(rf"^ *(nanogpt {command}.*)$", found.out, re.MULTILINE)
    assert examples
    for example in examples:
        assert set(re.findall(r"--[a-z0-9-]+", example)) <= flags


def test_every_setting_is_a_flag():
    settings = {field.name for kind in PARTS.values() for field in fields(kind)}
    assert {as_flag(name) for name in settings - {"document_token"}} <= FLAGS["train"]
    assert {as_flag(field.name) for field in fields(SampleConfig)} <= FLAGS["sample"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian", "unknown command 'trian'; did you mean 'train'?"),
        ("train --minutes abc", "--minutes abc: not a number; for example --minutes 5"),
        ("train --n-layer three", "--n-layer three: not a whole number; for example --n-layer 6"),
        ("train --n-layers 3", "--n-layers: unknown option; did you mean --n-layer?"),
        ("train book.txt --start-from x", "--start-from: unknown option; "),
        ("train --minutes", "--minutes: its value is missing; for example --minutes 5"),
        ("plan --minutes 1 five", "--minutes five: not a number; for example --minutes 1"),
        ("train --norm batch", "--norm batch: no such choice; valid: layer, rms"),
        ("train --preset modren", "unknown preset 'modren'; did you mean 'modern'?"),
        ("eval --json=yes", "--json takes no value; type --json alone"),
        ("info a b", "'b': one argument too many; nanogpt info --help "),
        ("export starter", "'starter' is a run, and PLACE is missing; "),
        ("runs --folder nowhere", "--folder 'nowhere' is not a folder; "),
        ("sample Once upon", """'upon': one argument too many; a text goes in quotes: --prompt "..."\n"""),
        (
            "sample ROMEO:",
            """no run folder 'ROMEO:'; list your runs with: nanogpt runs; to continue a text, type: \
nanogpt sample --prompt "ROMEO:"\n""",
        ),
        ("sample " + "word" * 99, "no run folder 'word"),  # too long for a file's name
        ("sample startr", "no run folder 'startr'; did you mean 'starter'?\n"),
        *(
            (f"{one} ", "no run folder ''; list")
            for one in ("sample", "eval", "studio", "train --from", "runs --compare")
        ),
        ("export --to hf", "PLACE is missing; for example nanogpt export runs/book-modern-1 book --to hf"),
        ("data chek x", "COMMAND chek: no such choice; did you mean 'check'?"),
        ("train --steps 3 --n-embd 30", "--n-embd 30 is not divisible by --n-head 4; choose --n-embd 28 or 32, "),
    ],
)
def test_a_mistake_is_one_line(refuses, words, message):
    found = refuses(*words.split(" "))
    assert found.err.startswith(f"nanogpt: {message}")
    assert found.err.count("\n") == 1


def test_how_values_may_be_written():
    def read(command, *words):
        return module_of(command).parser(words).read(words)

    words = ["-", "--n_layer=3", "--mask-documents", "True", "--from", "run"]
    assert read("train", *words) == {"text": ("-",), "n_layer": 3, "mask_documents": True, "start_from": "run"}
    assert read("plan", "--minutes", "1", "20", "--json") == {"minutes": (1.0, 20.0), "json": True}
    found = read("sample", "--stop", "a", "b", "--prompt=a=b", "--seed", "-1")
    assert found == {"stop": ("a", "b"), "prompt": ("a=b",), "seed": -1}
    found = read("train", "--track", "wandb", "--", "a.txt", "b.txt")
    assert found == {"track": ("wandb",), "text": ("a.txt", "b.txt")}


def test_a_mistake_of_ours_is_a_traceback(monkeypatch):
    monkeypatch.setattr("nanogpt.cli.info.main", lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize(
    ("name", "fixable"), [("rich", True), ("torch.nn", True), ("nanogpt.gone", False), (None, False)]
)
def test_a_missing_package(nanogpt, monkeypatch, name, fixable):
    monkeypatch.setattr("nanogpt.cli.info.main", raising(ModuleNotFoundError("No module", name=name)))
    if not fixable:
        with pytest.raises(ModuleNotFoundError):
            main(["info"])
        return
    found = nanogpt("info")
    assert found.code == 2
    assert f"{name.split('.')[0]!r} is missing" in found.err
    assert "nanogpt doctor" in found.err


def test_ctrl_c(nanogpt, monkeypatch):
    monkeypatch.setattr("nanogpt.cli.info.main", raising(KeyboardInterrupt()))
    assert nanogpt("info").code == 130


CODE = """\
import sys
from nanogpt.cli.main import COMMANDS, main
for words in [["--help"], *([command, "--help"] for command in COMMANDS)]:
    try:
        main(words)
    except SystemExit as end:
        assert end.code in (None, 0)
    heavy = {"torch", "numpy", "safetensors", "rich", "nicegui", "fastapi"} & sys.modules.keys()
    assert not heavy, (words, heavy)
"""


def test_help_imports_nothing_heavy():
    subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)


def test_as_a_module_and_its_exit_codes(process):
    found = process("info", "nowhere.txt")
    out, err = found.communicate()
    assert (found.returncode, out) == (2, "")
    assert err.startswith("nanogpt: no file or folder 'nowhere.txt'")
    found = process("--version")
    assert found.communicate()[0] == f"nanogpt {__version__}\n"
    assert found.returncode == 0
