"""What it gains to begin with another model's weights, whole and by adapters, and at which learning rate.

    python -m benchmarks.fine_tuning

A model of bytes learns the Python standard library's source, goes through the format of Hugging Face Transformers and
back as GPT-2's architecture, and is then trained on the first 100 kB of another text: by `--from`, by `--from` with
`--lora 8`, and from nothing with as many steps. Whole-split losses on that text's own validation part.

The learning rates that the library takes by itself (`nanogpt.training.fine_tuning`) were chosen on Don Quijote, by the sweeps that
come first here, one of them with a model of the preset `modern` that was trained here; the figures for Tiny Shakespeare
are measured with these rates, and nothing is chosen by them.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import circumstances, write_record
from nanogpt.interop.hugging_face.export import export_hugging_face
from nanogpt.interop.hugging_face.importing import import_model
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quijote", required=True, help="a file with Don Quijote, for the sweep")
    parser.add_argument("--first-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    options = parser.parse_args()
    measured_in = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        imported = _imported(home, options.first_steps)
        work = Trainings(home, imported, options.steps)
        sweep = _sweep(home, work, _beginning(options.quijote, home / "quijote.txt"), options)
        text = _beginning("shakespeare", home / "shakespeare.txt")
        result = {
            "setting": SIZE | {"first_steps": options.first_steps, "steps": options.steps, "characters": CHARACTERS},
            "sweep": sweep,
            "measured": {
                "before": nanogpt.load(imported).evaluate(work.validation(text)).loss,
                "whole": work.row(text, options.seeds),
                "lora": work.row(text, options.seeds, lora=RANK),
                "from nothing": work.row(text, options.seeds, start=False),
            },
        }
    print(f"wrote {write_record('fine_tuning', measured_in, result)}")


def _imported(home: Path, steps: int) -> Path:
    """A model that was exported and imported: what a person begins with who downloads one."""
    run = nanogpt.train(preset="gpt2", steps=steps, out=home / "python", **FIRST, **SIZE, **QUIET)
    return import_model(export_hugging_face(run, home / "exported"), home / "imported").path


def _sweep(home: Path, work: "Trainings", text: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Each kind of training at several rates, with the first seed."""
    own = nanogpt.train(steps=options.first_steps, out=home / "own", **FIRST, **SIZE, **QUIET).path
    seed = options.seeds[:1]
    return {
        "imported, whole": [work.row(text, seed, learning_rate=rate) for rate in RATES],
        "imported, adapters": [work.row(text, seed, learning_rate=rate, lora=RANK) for rate in LORA_RATES],
        "own `modern` run, whole": [work.row(text, seed, own, learning_rate=rate) for rate in OWN_RATES],
    }


def _beginning(text: str, place: Path) -> Path:
    """The first characters of a text, in a file."""
    found = "".join(chunk.text for chunk in load_corpus(text).chunks())
    place.write_text(found[:CHARACTERS], encoding="utf-8")
    return place


class Trainings:
    """Trainings of one length, each in a folder of its own."""

    def __init__(self, home: Path, first: Path, steps: int) -> None:
        self.home, self.first, self.steps, self._count = home, first, steps, 0

    def row(
        self, text: Path, seeds: list[int], first: Path | None = None, start: bool = True, **settings: Any
    ) -> dict[str, Any]:
        """The whole-split losses of some seeds, at the library's own learning rate unless one is named."""
        given = {"start_from": first or self.first} if start else {"preset": "gpt2", **SIZE}
        runs = [self._train(text, seed=seed, **given, **settings) for seed in seeds]
        losses = [run.evaluate().loss for run in runs]
        rate, learned = runs[0].config.train.learning_rate, settings.get("lora")
        print(f"{text.stem:<12} lora {learned}, begun {start}, rate {rate:g}: {losses}", flush=True)
        return {
            "learning_rate": rate,
            "losses": losses,
            "mean": statistics.mean(losses),
            "spread": max(losses) - min(losses),
        }

    def validation(self, text: Path) -> Path:
        """The validation part of a text, in a file."""
        found = text.read_text(encoding="utf-8")
        place = text.with_suffix(".val")
        place.write_text(found[len(found) - len(found) // 10 :], encoding="utf-8")
        return place

    def _train(self, text: Path, **settings: Any) -> nanogpt.Run:
        self._count += 1
        return nanogpt.train(text, steps=self.steps, out=self.home / f"run-{self._count}", **QUIET, **settings)


if __name__ == "__main__":
    main()
