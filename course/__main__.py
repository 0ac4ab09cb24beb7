"""`python -m course`: climb the ten sections, print the table of what each reached, draw the ladder."""

import dataclasses
import importlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from course import console, flags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from course.s01_bigram import Result

SECTIONS = (
    "s01_bigram",
    "s02_averaging",
    "s03_positions",
    "s04_self_attention",
    "s05_multi_head",
    "s06_feed_forward",
    "s07_residual",
    "s08_layer_norm",
    "s09_dropout",
    "s10_gpt",
)


@dataclasses.dataclass(frozen=True)
class Rung:
    """A section and what it reached."""

    section: str
    idea: str
    result: "Result"


def climb(
    sections: Iterable[str], arguments: dict[str, Any], make_report: Callable[[str], console.Report]
) -> Iterator[Rung]:
    """Run the `main` of each section with the same arguments; `make_report(section)` gives each its report."""
    for section in sections:
        module: ModuleType = importlib.import_module(f"course.{section}")
        with console.one_thread():
            result = module.main(**arguments, report=make_report(section))
        yield Rung(section, module.IDEA, result)


def table(rungs: Iterable[Rung], width: int = 120) -> str:
    """The rungs as lines of text; variants that were measured for comparison are indented below their rung."""
    head = f"{'section':<20}{'idea':<44}{'parameters':>11}{'train':>8}{'val':>8}{'seconds':>9}  sample"
    lines = [head, "-" * min(width, len(head) + 20)]
    for rung in rungs:
        lines.append(_row(rung.section, rung.idea, rung.result, width))
        lines += [_row("", f"  for comparison: {other.label}", other, width) for other in rung.result.others]
    return "\n".join(lines)


def _row(section: str, idea: str, result: "Result", width: int) -> str:
    numbers = f"{result.parameters:>11,}{result.after.train:>8.3f}{result.after.val:>8.3f}{result.seconds:>9.1f}"
    row = f"{section:<20}{idea:<44}{numbers}  "
    return row + " ".join(result.sample.split())[: max(20, width - len(row))]


def draw_ladder(rungs: list[Rung]) -> "Figure":
    """Validation and training loss by section, with the variants; told apart by marker as well as by colour."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rungs))
    after = [rung.result.after for rung in rungs]
    axes.plot(places, [one.val for one in after], "o-", color="#00204d", label="validation", markersize=8)
    axes.plot(places, [one.train for one in after], "^--", color="#7c7b78", label="training", markersize=7)
    variants = [(i, other) for i, rung in zip(places, rungs) for other in rung.result.others]
    if variants:
        heights = [other.after.val for _, other in variants]
        axes.plot([i for i, _ in variants], heights, "X", color="#b3a369", label="validation, variant", markersize=9)
    for i, other in variants:
        axes.annotate(other.label, (i, other.after.val), textcoords="offset points", xytext=(20, 8), fontsize=8)
    for i, one in zip(places, after):
        axes.annotate(f"{one.val:.2f}", (i, one.val), textcoords="offset points", xytext=(0, 11), ha="center")
    axes.set_xticks(places, [rung.section.replace("_", "\n", 1).replace("_", " ") for rung in rungs], fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(8))
    axes.set(ylabel="loss (nats per character)", title="The ladder: what each idea is worth")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    """Climb as the flags say."""
    with console.friendly_exit():
        options = flags.read_options()
        report = console.reporter(options)
        for note in options.notes:
            report("note", text=note)
        sections = [SECTIONS[number - 1] for number in options.sections]
        rungs: list[Rung] = []
        try:
            for rung in climb(sections, options.arguments(), lambda section: _report(options, section, sections)):
                rungs.append(rung)
                if options.events:
                    section_report = console.JsonLines(rung.section)
                    section_report("sample", text=rung.result.sample)
                    section_report("done", idea=rung.idea, **console.done_fields(rung.result))
        finally:  # after Ctrl-C, or where a later section wants more text, what was reached is shown all the same
            if rungs and not options.events:
                _print_table(rungs)
        console.keep_picture(report, "ladder", lambda: draw_ladder(rungs))
        if options.events:
            report("done", sections=[rung.section for rung in rungs])


def _print_table(rungs: list[Rung]) -> None:
    print(f"\n{table(rungs, shutil.get_terminal_size((120, 24)).columns)}\n")
    for protocol in dict.fromkeys(rung.result.protocol for rung in rungs):
        print(f"losses: {protocol}")


def _report(options: flags.Options, section: str, sections: list[str]) -> console.Report:
    if options.events:
        return console.JsonLines(section)
    return console.Terminal(prefix=f"[{sections.index(section) + 1}/{len(sections)}] {section}  ")


if __name__ == "__main__":
    main()
