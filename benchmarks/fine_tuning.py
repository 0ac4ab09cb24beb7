"""Loss with another model's weights as a start, all of them trained or adapters only, and at which learning rate.

    python -m benchmarks.fine_tuning --quijote FILE

A model of bytes learns the Python standard library's source, is exported to Hugging Face's format and imported again,
and is then trained on the first 100 kB of another text: with `--from`, with `--from` and `--lora 8`, and from nothing.
The library's default learning rates were chosen on Don Quijote, by the sweeps that run first here; the figures for Tiny
Shakespeare use these rates and choose nothing.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import new_parser, parse
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
    parser = new_parser(__doc__, first_steps=2000, steps=300, seeds=[1337, 1338, 1339])
    parser.add_argument("--quijote", required=True, help="a file with Don Quijote, for the sweep")
    options, parts = parse(parser, "fine_tuning", parts=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, quijote = _imported(folder, options.first_steps), _beginning(options.quijote, folder / "quijote.txt")
        own = nanogpt.train(steps=options.first_steps, out=folder / "own", **FIRST, **SIZE, **QUIET).path
        row, seed = partial(measure, folder, options.steps), options.seeds[:1]
        sweep = {
            "imported, whole": [row(quijote, seed, first, learning_rate=rate) for rate in RATES],
            "imported, adapters": [row(quijote, seed, first, learning_rate=rate, lora=RANK) for rate in LORA_RATES],
            "own `modern` run, whole": [row(quijote, seed, own, learning_rate=rate) for rate in OWN_RATES],
        }
        text = _beginning("shakespeare", folder / "shakespeare.txt")
        characters, validation = text.read_text(encoding="utf-8"), folder / "validation.txt"
        validation.write_text(characters[len(characters) - len(characters) // 10 :], encoding="utf-8")
        measured = {
            "before": nanogpt.load(first).evaluate(validation).loss,
            "whole": row(text, options.seeds, first),
            "lora": row(text, options.seeds, first, lora=RANK),
            "from nothing": row(text, options.seeds),
        }
    setting = SIZE | {"first_steps": options.first_steps, "steps": options.steps, "characters": CHARACTERS}
    parts.write({"setting": setting, "sweep": sweep, "measured": measured})


def _imported(folder: Path, steps: int) -> Path:
    """Return a model that was exported and imported, like one that a person downloads."""
    from nanogpt.interop.hugging_face.export import export_hugging_face
    from nanogpt.interop.hugging_face.importing import import_model

    run = nanogpt.train(preset="gpt2", steps=steps, out=folder / "python", **FIRST, **SIZE, **QUIET)
    return import_model(export_hugging_face(run, folder / "exported"), folder / "imported").path


def _beginning(text: str, file: Path) -> Path:
    """Write the first characters of a text to a file."""
    found = "".join(chunk.text for chunk in load_corpus(text).chunks())
    file.write_text(found[:CHARACTERS], encoding="utf-8")
    return file


def measure(
    folder: Path, steps: int, text: Path, seeds: list[int], start: Path | None = None, **settings: Any
) -> dict[str, Any]:
    """Return whole-split losses with some seeds, at the library's learning rate unless one is named."""
    given = {"preset": "gpt2", **SIZE} if start is None else {"start_from": start}
    losses = []
    for seed in seeds:
        out = folder / f"run-{len(list(folder.glob('run-*')))}"
        run = nanogpt.train(text, steps=steps, seed=seed, out=out, **QUIET, **given, **settings)
        losses.append(run.evaluate().loss)
    rate = run.config.train.learning_rate
    print(f"{text.stem:<12} from {start and start.name}, {settings}, learning rate {rate:g}: {losses}", flush=True)
    spread = max(losses) - min(losses)
    return {"learning_rate": rate, "losses": losses, "mean": statistics.mean(losses), "spread": spread}


if __name__ == "__main__":
    main()
