"""Loss with another model's weights as a start, all of them trained or adapters only, and at which learning rate.

    python -m benchmarks.fine_tuning --quijote FILE

A model of bytes learns the Python standard library's source, is exported to Hugging Face's format and imported again,
and is then trained on the first 100 kB of another text: with `--from`, with `--from` and `--lora 8`, and from nothing.
The library's default learning rates were chosen on Don Quijote, by the sweeps that run first here; the figures for Tiny
Shakespeare use these rates and choose nothing.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import new_parser, parse
from nanogpt.parallel.process import prepare_process
from nanogpt.text.corpus import load_corpus

SIZE: dict[str, Any] = {"tokenizer": "byte", "n_layer": 4, "n_head": 4, "n_embd": 128}
QUIET: dict[str, Any] = {"progress": False, "sample_tokens": 0}
FIRST: dict[str, Any] = {"text": "python", "final_eval_tokens": 65_536}
CHARACTERS = 100_000
RANK = 8
RATES = (1e-4, 3e-4, 1e-3, 2e-3, 4e-3)
LORA_RATES = (1e-3, 3e-3, 1e-2, 2e-2)
OWN_RATES = (1e-3, 3e-3, 1e-2, 3e-2)


def main() -> None:
    """Train the first model, sweep the rates on one text, measure on another, record."""
    parser = new_parser(__doc__)
    parser.add_argument("--quijote", required=True, help="a file with Don Quijote, for the sweep")
    parser.add_argument("--first-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    prepare_process()
    options, parts = parse(parser, "fine_tuning", parts=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = Trainings(folder, _imported(folder, options.first_steps), options.steps)
        sweep = _sweep(work, _beginning(options.quijote, folder / "quijote.txt"), options)
        text = _beginning("shakespeare", folder / "shakespeare.txt")
        result = {
            "setting": SIZE | {"first_steps": options.first_steps, "steps": options.steps, "characters": CHARACTERS},
            "sweep": sweep,
            "measured": {
                "before": nanogpt.load(work.first).evaluate(work.validation(text)).loss,
                "whole": work.row(text, options.seeds),
                "lora": work.row(text, options.seeds, lora=RANK),
                "from nothing": work.row(text, options.seeds, start=False),
            },
        }
    parts.write(result)


def _imported(folder: Path, steps: int) -> Path:
    """Return a model that was exported and imported, like one that a person downloads."""
    from nanogpt.interop.hugging_face.export import export_hugging_face
    from nanogpt.interop.hugging_face.importing import import_model

    run = nanogpt.train(preset="gpt2", steps=steps, out=folder / "python", **FIRST, **SIZE, **QUIET)
    return import_model(export_hugging_face(run, folder / "exported"), folder / "imported").path


def _sweep(work: "Trainings", text: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train in each way at several rates, with the first seed."""
    own = nanogpt.train(steps=options.first_steps, out=work.folder / "own", **FIRST, **SIZE, **QUIET).path
    seed = options.seeds[:1]
    return {
        "imported, whole": [work.row(text, seed, learning_rate=rate) for rate in RATES],
        "imported, adapters": [work.row(text, seed, learning_rate=rate, lora=RANK) for rate in LORA_RATES],
        "own `modern` run, whole": [work.row(text, seed, own, learning_rate=rate) for rate in OWN_RATES],
    }


def _beginning(text: str, file: Path) -> Path:
    """Write the first characters of a text to a file."""
    found = "".join(chunk.text for chunk in load_corpus(text).chunks())
    file.write_text(found[:CHARACTERS], encoding="utf-8")
    return file


class Trainings:
    """Trainings with the same number of steps, each in its own folder."""

    def __init__(self, folder: Path, first: Path, steps: int) -> None:
        self.folder, self.first, self.steps, self._count = folder, first, steps, 0

    def row(
        self, text: Path, seeds: list[int], first: Path | None = None, start: bool = True, **settings: Any
    ) -> dict[str, Any]:
        """Return whole-split losses with some seeds, at the library's learning rate unless one is named."""
        given = {"start_from": first or self.first} if start else {"preset": "gpt2", **SIZE}
        runs = [self._train(text, seed=seed, **given, **settings) for seed in seeds]
        losses = [run.evaluate().loss for run in runs]
        rate, rank = runs[0].config.train.learning_rate, settings.get("lora")
        print(f"{text.stem:<12} lora {rank}, from a run {start}, learning rate {rate:g}: {losses}", flush=True)
        mean, spread = statistics.mean(losses), max(losses) - min(losses)
        return {"learning_rate": rate, "losses": losses, "mean": mean, "spread": spread}

    def validation(self, text: Path) -> Path:
        """Write the validation part of a text to a file."""
        found = text.read_text(encoding="utf-8")
        file = text.with_suffix(".val")
        file.write_text(found[len(found) - len(found) // 10 :], encoding="utf-8")
        return file

    def _train(self, text: Path, **settings: Any) -> nanogpt.Run:
        self._count += 1
        return nanogpt.train(text, steps=self.steps, out=self.folder / f"run-{self._count}", **QUIET, **settings)


if __name__ == "__main__":
    main()
