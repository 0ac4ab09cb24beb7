import importlib
import random
import runpy
import sys
from functools import cache
from pathlib import Path

import pytest

from course import flags, s01_bigram

SYLLABLES = ("ka", "lo", "mi", "ra", "tes", "un")


@pytest.fixture(scope="session")
def text() -> str:
    """About 4,000 characters of words from a few syllables, in lines, always the same."""
    draw = random.Random(0)
    words = ("".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(800))
    return "".join(word + draw.choice((" ", " ", " ", ",\n")) for word in words)


@pytest.fixture(scope="session")
def trained(text: str):
    """Train a section on 1,500 characters, once per process; returns its result and the names of its events.

    Its sample has 30 characters instead of 300, which would take most of the time.
    """
    generate = s01_bigram.generate

    @cache
    def train(section: str, function: str = "main"):
        events: list[str] = []
        main = getattr(importlib.import_module(f"course.{section}"), function)
        steps = 4 if section == "s10_gpt" else 15
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(s01_bigram, "generate", lambda model, idx, _, *rest: generate(model, idx, 30, *rest))
            result = main(steps=steps, seed=7, text=text[:1500], report=lambda event, **_: events.append(event))
        return result, events

    return train


@pytest.fixture
def start(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `python -m MODULE ARGUMENTS` in this process, in an empty folder; returns (exit code, stdout, stderr)."""
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(module: str, *arguments: str, corpus: str = "book.txt") -> tuple[int, str, str]:
        flags._parse.cache_clear()
        monkeypatch.setattr(sys, "argv", [module, "--text", corpus, *arguments])
        code = 0
        try:
            runpy.run_module("course.__main__" if module == "course" else module, run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run
