import sys
from pathlib import Path

import pytest

import nanogpt as library


@pytest.fixture
def run(finished_run):
    return str(finished_run)


def test_it_writes_what_the_library_writes(nanogpt, run):
    found = nanogpt("sample", run, "--prompt", "the c", "--tokens", 20, "--seed", 5)
    assert found.code == 0
    assert found.out == library.load(run).generate("the c", tokens=20, seed=5) + "\n"


def test_every_setting_arrives(nanogpt, run):
    settings = {"tokens": 30, "temperature": 0.6, "top_k": 7, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    found = nanogpt("sample", run, "--prompt", "the", *words, "--stop", "q", ".")
    assert found.out == library.load(run).generate("the", **settings, stop=("q", ".")) + "\n"
    assert found.out != nanogpt("sample", run, "--prompt", "the", "--tokens", 30).out


def test_several(nanogpt, run):
    """Texts of one line are a plain list; else each has its number above it."""
    for prompt in ("the\n", "the"):
        texts = library.load(run).generate_batch(prompt, tokens=9, samples=3)
        found = nanogpt("sample", run, "--prompt", prompt, "--tokens", 9, "--samples", 3)
        heads = [f"--- {number} of 3\n" if "\n" in prompt else "" for number in (1, 2, 3)]
        assert found.out == "".join(f"{head}{text}\n" for head, text in zip(heads, texts))


def test_several_prompts(nanogpt, refuses, run):
    Path("prompts.txt").write_text("the c\r\n\na dog\nso\n")
    prompts = ["the c", "a dog", "so"]
    texts = library.load(run).generate_batch(prompts, tokens=7, samples=2)
    assert [text[:2] for text in texts] == ["th", "th", "a ", "a ", "so", "so"]
    flags = [word for one in prompts for word in ("--prompt", one)]
    for words in (flags, ["--prompts", "prompts.txt"]):
        assert nanogpt("sample", run, *words, "--tokens", 7, "--samples", 2).out == "\n".join(texts) + "\n"
    assert nanogpt("sample", run, *flags[:4], "--tokens", 7).out.splitlines() == [texts[0], texts[2]]
    refuses("sample", run, *flags, "--prompts", "prompts.txt", saying=["--prompt and --prompts were both"])
    Path("none.txt").write_text("\n")
    refuses("sample", run, "--prompts", "none.txt", saying=["'none.txt' has no prompts"])


def test_to_a_new_file(nanogpt, refuses, run):
    words = ["sample", run, "--prompt", "the", "--tokens", 9, "--samples", 2, "--out", "story.txt"]
    found = nanogpt(*words)
    assert (found.code, found.out) == (0, "wrote 2 texts to story.txt\n")
    texts = library.load(run).generate_batch("the", tokens=9, samples=2)
    assert Path("story.txt").read_text(encoding="utf-8") == "\n".join(texts) + "\n"
    refuses(*words, saying=["'story.txt' exists already", "--out"])


def test_a_prompt_from_a_file(nanogpt, run):
    Path("prompt.txt").write_bytes(b"the cat\r\nsat\r\n")  # an editor ends the last line
    found = nanogpt("sample", run, "--prompt-file", "prompt.txt", "--tokens", 5).out
    assert found == nanogpt("sample", run, "--prompt", "the cat\nsat", "--tokens", 5).out


def test_bad_input(refuses, run):
    refuses("sample", run, "--prompt", "the", "--prompt-file", "x", saying=["--prompt", "--prompt-file", "both"])
    refuses("sample", run, "--prompt-file", "nowhere", saying=["cannot read 'nowhere'"])
    refuses("sample", run, "--prompt", "Zé 中", saying=["never saw 'Z' 'é' '中'", "--unknown skip"])
    refuses("sample", run, "--stop", "", saying=["--stop", "empty"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_reader_that_goes_away(process, run):
    sample = process("sample", run, "--prompt", "the cat", "--tokens", 3000)
    assert sample.stdout.read(7) == "the cat"
    sample.stdout.close()  # as `head` does
    assert sample.wait(timeout=60) == 0
    assert sample.stderr.read() == ""
