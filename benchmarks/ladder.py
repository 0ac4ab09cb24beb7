"""Losses of the ten sections of the course, with several seeds.

    python -m benchmarks.ladder --seeds 1337 1338 1339

Sections 1 to 8 have the lecture's toy setting, and nothing in it was chosen by the validation loss. Sections 9 and 10
have larger settings for a CPU, and run with the first seed only. A spread is the largest minus the smallest loss.
"""

from statistics import mean
from typing import Any

from benchmarks.record import new_parser, parse
from course.__main__ import SECTIONS, run_sections
from course.console import Terminal
from nanogpt.text.corpus import load_corpus

TOY_SECTIONS = SECTIONS[:8]


def main() -> None:
    """Train the sections, print and record."""
    parser = new_parser(
        __doc__, prepare=False, seeds=[1337, 1338, 1339], text="shakespeare"
    )  # as `python -m course` runs
    parser.add_argument("--steps", type=int, help="steps of each training, for a trial; then nothing is recorded")
    options, parts = parse(parser, "ladder", parts=False)
    corpus = load_corpus(options.text)
    rows = measure(options.seeds, corpus.text, options.steps)
    parts.write(
        {"corpus": corpus.name, "threads_used": 1, "seeds": options.seeds, "sections": rows},
        record=options.steps is None,
    )


def measure(seeds: list[int], text: str, steps: int | None = None) -> list[dict[str, Any]]:
    """Return a row per section, and per variant trained for comparison, with the numbers of every seed."""
    arguments: dict[str, Any] = {"text": text} | ({"steps": steps} if steps else {})
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for seed in seeds:
        sections = SECTIONS if seed == seeds[0] else TOY_SECTIONS
        for rung in run_sections(sections, arguments | {"seed": seed}, lambda section: Terminal(f"{section}  ")):
            for variant, result in [("", rung.result), *((other.label, other) for other in rung.result.others)]:
                about: dict[str, Any] = {"section": rung.section, "idea": rung.idea, "variant": variant}
                about |= {
                    name: getattr(result, name) for name in ("label", "parameters", "steps", "protocol", "sample")
                }
                about |= {name: [] for name in ("val_losses", "train_losses", "seconds")}
                row = found.setdefault((rung.section, variant), about)
                row["val_losses"].append(round(result.after.val, 5))
                row["train_losses"].append(round(result.after.train, 5))
                row["seconds"].append(round(result.seconds, 2))
    for row in found.values():
        row["val_loss"] = round(mean(row["val_losses"]), 4)
        row["val_spread"] = round(max(row["val_losses"]) - min(row["val_losses"]), 4)
        row["train_loss"] = round(mean(row["train_losses"]), 4)
    return list(found.values())


if __name__ == "__main__":
    main()
