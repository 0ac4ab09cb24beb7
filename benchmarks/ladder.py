"""Climb the course with several seeds and record what each section reached.

    python -m benchmarks.ladder --seeds 1337 1338 1339

Writes `benchmarks/records/ladder.json`: per section and variant the validation and training losses of each seed, their
mean and spread (largest minus smallest), parameters, seconds, the protocol, and what the first seed's model wrote.
Sections 1 to 8 have the lecture's toy setting, and nothing in it is chosen by the validation loss. Sections 9 and 10
have larger settings of their own (the one for a CPU), and run with the first seed only.
"""

import argparse
from statistics import mean
from typing import Any

from benchmarks.record import circumstances, write_record
from course.__main__ import SECTIONS, run_sections
from course.console import Terminal
from course.s01_bigram import Result
from nanogpt.text.corpus import load_corpus

TOY_SECTIONS = SECTIONS[:8]
LARGER_SECTIONS = SECTIONS[8:]


def measure(seeds: list[int], text: str, steps: int | None = None) -> list[dict[str, Any]]:
    """One row per section, and per variant it trained for comparison, with the numbers of every seed."""
    arguments: dict[str, Any] = {"text": text} | ({"steps": steps} if steps else {})
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for seed in seeds:
        sections = TOY_SECTIONS + LARGER_SECTIONS if seed == seeds[0] else TOY_SECTIONS
        for rung in run_sections(sections, arguments | {"seed": seed}, lambda section: Terminal(f"{section}  ")):
            rows = [("", rung.result), *((other.label, other) for other in rung.result.others)]
            for variant, result in rows:
                row = found.setdefault((rung.section, variant), _new_row(rung.section, rung.idea, variant, result))
                row["val_losses"].append(round(result.after.val, 5))
                row["train_losses"].append(round(result.after.train, 5))
                row["seconds"].append(round(result.seconds, 2))
    for row in found.values():
        row["val_loss"] = round(mean(row["val_losses"]), 4)
        row["val_spread"] = round(max(row["val_losses"]) - min(row["val_losses"]), 4)
        row["train_loss"] = round(mean(row["train_losses"]), 4)
    return list(found.values())


def _new_row(section: str, idea: str, variant: str, result: Result) -> dict[str, Any]:
    return {
        "section": section,
        "idea": idea,
        "variant": variant,
        "label": result.label,
        "parameters": result.parameters,
        "steps": result.steps,
        "protocol": result.protocol,
        "sample": result.sample,
        "val_losses": [],
        "train_losses": [],
        "seconds": [],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument("--text", default="shakespeare", help="a corpus by name, or a path (default: shakespeare)")
    parser.add_argument("--steps", type=int, help="steps of each training, for a trial; the record is then not written")
    given = parser.parse_args()
    measured_in = circumstances()
    corpus = load_corpus(given.text)
    rows = measure(given.seeds, corpus.text, given.steps)
    for row in rows:
        name = f"{row['section']} {row['variant']}"
        print(f"{name:<45}{row['val_loss']:8.4f}  spread {row['val_spread']:.4f}  of {row['val_losses']}")
    if given.steps is None:
        result = {"corpus": corpus.name, "threads_used": 1, "seeds": given.seeds, "sections": rows}
        print(write_record("ladder", measured_in, result))


if __name__ == "__main__":
    main()
