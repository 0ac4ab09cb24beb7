"""The command as a whole: overview, help, flags, exit codes."""

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from nanogpt import __version__
from nanogpt.cli import COMMANDS, main
from nanogpt.config import DataConfig, ModelConfig, SampleConfig, TrainConfig, load_preset, preset_names

# Each flag is a promise: this list grows, and nothing is taken from it.
FLAGS: dict[str, list[str]] = {
    "train": [
        *["--minutes", "--steps", "--memory", "--preset", "--out", "--val", "--from", "--seeds", "--resume"],
        *[
            "--vocab-size",
            "--block-size",
            "--n-layer",
            "--n-head",
            "--n-embd",
            "--n-kv-head",
            "--head-size",
            "--mlp-hidden",
        ],
        *["--norm", "--norm-position", "--norm-eps", "--position", "--rope-theta", "--activation", "--qk-norm"],
        *["--qkv-bias", "--bias", "--head-bias", "--tie-embeddings", "--mask-documents", "--init"],
        *["--dropout", "--attention-dropout", "--embedding-dropout"],
        *["--tokenizer", "--tokenizer-from", "--end-of-document", "--encoding", "--pattern", "--column"],
        *["--seed", "--batch-size", "--accumulation", "--optimizer", "--learning-rate", "--warmup", "--decay"],
        *["--embedding-rate", "--head-rate", "--vector-rate", "--final-lr"],
        *["--weight-decay", "--momentum", "--beta1", "--beta2", "--grad-clip", "--eval-every", "--eval-tokens"],
        *[
            "--final-eval-tokens",
            "--patience",
            "--sample-tokens",
            "--log-every",
            "--device",
            "--precision",
            "--compile",
            "--track",
        ],
        *["--history", "--on-divergence", "--threads", "--parallel", "--lora"],
    ],
    "plan": [],  # below
    "sample": [
        *["--prompt", "--prompt-file", "--unknown", "--out", "--checkpoint", "--device", "--precision"],
        *["--tokens", "--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--stop", "--seed"],
        "--samples",
    ],
    "eval": [
        "--text",
        "--unknown",
        "--checkpoint",
        "--protocol",
        "--seed",
        "--floors",
        "--memorised",
        "--samples",
        "--tokens",
        "--json",
        "--device",
        "--precision",
    ],
    "info": ["--encoding", "--pattern", "--column"],
    "data": [],  # those of `data check` are below
    "runs": ["--folder", "--compare", "--significance", "--against", "--delete", "--yes"],
    "plot": ["--x", "--out"],
    "export": ["--to", "--checkpoint", "--precision", "--licence", "--push"],
    "verify": ["--against", "--checkpoint"],
    "studio": ["--host", "--port", "--token", "--no-browser"],
    "serve": [
        *["--host", "--port", "--token", "--allow-host", "--allow-origin", "--rows", "--queue", "--max-tokens"],
        *["--max-prompt", "--precision", "--checkpoint", "--device", "--threads"],
    ],
    "import": ["--out", "--block-size"],
    "doctor": ["--json"],
    "completion": [],
}


RUN_FLAGS = {"--steps", "--out", "--seeds", "--resume"}
FLAGS["plan"] = [flag for flag in FLAGS["train"] if flag not in RUN_FLAGS] + ["--json"]


def flags_in(text):
    """The flags that a help explains: at the start of a line of its boxes."""
    return set(re.findall(r"^[│| ]*(?:-h, )?(--[a-z][a-z0-9-]*)", text, re.MULTILINE)) - {"--help"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags(nanogpt, command):
    found = nanogpt(command, "--help")
    assert found.code == 0
    assert flags_in(found.out) == set(FLAGS[command])


def test_every_setting_is_a_flag():
    settings = {field.name for kind in (ModelConfig, DataConfig, TrainConfig) for field in fields(kind)}
    as_flags = {"--" + name.replace("_", "-") for name in settings - {"document_token"}}
    assert as_flags <= set(FLAGS["train"])
    assert {"--" + field.name.replace("_", "-") for field in fields(SampleConfig)} <= set(FLAGS["sample"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_that_can_be_parsed(nanogpt, command):
    text = nanogpt(command, "--help").out
    examples = re.findall(rf"^ *(nanogpt {command}.*)$", text, re.MULTILINE)
    assert examples
    for example in examples:
        assert set(re.findall(r"--[a-z0-9-]+", example)) <= set(FLAGS[command])


@pytest.mark.parametrize("preset", preset_names())
def test_the_help_shows_each_presets_values(nanogpt, preset):
    text = nanogpt("train", "--preset", preset, "--help").out
    assert text == nanogpt("train", f"--preset={preset}", "--help").out
    explained = dict(
        re.findall(r"(--[a-z0-9-]+) [A-Z{](.*?)(?= --[a-z]|╰|$)", " ".join(re.sub("[│|]", " ", text).split()))
    )
    config = load_preset(preset)
    for part in (config.model, config.data, config.train):
        for field in fields(part):
            value = getattr(part, field.name)
            if value not in (None, ()):
                flag = "--" + field.name.replace("_", "-")
                assert f"(default: {value})" in explained[flag], flag


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_the_overview(nanogpt, words):
    found = nanogpt(*words)
    assert found.code == 0
    assert all(f"  {command} " in found.out for command in COMMANDS)
    first = found.out.index("try first:")
    assert first < found.out.index("nanogpt sample --prompt") < found.out.index("commands:")
    assert all(part in found.out for part in ("nanogpt train book.txt", "nanogpt studio", "nanogpt doctor"))


def test_the_version(nanogpt):
    assert nanogpt("--version").out == f"nanogpt {__version__}\n"


def test_unknown_commands(refuses):
    refuses("trian", saying=["unknown command 'trian'", "did you mean 'train'?"])
    refuses("--prompt", saying=["unknown command '--prompt'", "train"])


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["train", "--n-layers", "3"], ["--n-layers", "--n-layer"]),
        (["train", "--n-layer", "three"], ["three"]),
        (["train", "--norm", "batch"], ["batch", "layer"]),
        (["sample", "--promt", "x"], ["--promt", "--prompt"]),
        (["eval", "--txt", "x"], ["--txt", "--text"]),
        (["runs", "--remove", "x"], ["--remove"]),
        (["info", "a", "b"], ["b"]),
    ],
    ids=" ".join,
)
def test_unknown_flags_and_values(refuses, words, saying):
    refuses(*words, saying=saying)


def test_a_mistake_of_ours_is_a_traceback(monkeypatch):
    monkeypatch.setattr("nanogpt.cli.info.main", lambda argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize(
    ("name", "mended"), [("tyro", True), ("torch.nn", True), ("nanogpt.gone", False), (None, False)]
)
def test_a_missing_package_is_told(nanogpt, monkeypatch, name, mended):
    def missing(argv):
        raise ModuleNotFoundError("No module", name=name)

    monkeypatch.setattr("nanogpt.cli.info.main", missing)
    if not mended:
        with pytest.raises(ModuleNotFoundError):
            main(["info"])
        return
    found = nanogpt("info")
    assert found.code == 2
    assert f"the package {name.split('.')[0]!r} is missing" in found.err
    assert "nanogpt doctor" in found.err


def test_ctrl_c(nanogpt, monkeypatch):
    def interrupted(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr("nanogpt.cli.info.main", interrupted)
    assert nanogpt("info").code == 130


CHECK = "import sys; from nanogpt.cli import main\ntry: main({words!r})\nexcept SystemExit as e: assert e.code in (None, 0)\n"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_heavy(command):
    words = ["--help"] if command is None else [command, "--help"]
    code = CHECK.format(words=words) + "print(*{'torch', 'numpy', 'safetensors'} & sys.modules.keys(), file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == ""


def test_as_a_module_and_its_exit_codes(process):
    found = process("info", "nowhere.txt")
    out, err = found.communicate()
    assert (found.returncode, out) == (2, "")
    assert err.startswith("nanogpt: no file or folder 'nowhere.txt'")
    found = process("train", "--n-layers", "3")
    found.communicate()
    assert found.returncode == 2
    found = process("--version")
    assert found.communicate()[0] == f"nanogpt {__version__}\n"
    assert found.returncode == 0
