"""`python -m course`: run the ten sections, print a table of their results, draw the losses."""

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
class SectionResult:
    """A section with its idea and its result."""

    section: str
    idea: str
    result: "Result"


def run_sections(
    sections: Iterable[str], arguments: dict[str, Any], make_report: Callable[[str], console.Report]
) -> Iterator[SectionResult]:
    """Run the `main` of each section with the same arguments and the report of `make_report(section)`."""
    for section in sections:
        module: ModuleType = importlib.import_module(f"course.{section}")
        with console.one_thread():
            result = module.main(**arguments, report=make_report(section))
        yield SectionResult(section, module.IDEA, result)


def table(results: Iterable[SectionResult], width: int = 120) -> str:
    """Return the results as lines of text, with variants indented below their section."""
    head = f"{'section':<20}{'idea':<44}{'parameters':>11}{'train':>8}{'val':>8}{'seconds':>9}  sample"
    lines = [head, "-" * min(width, len(head) + 20)]
    for one in results:
        lines.append(_row(one.section, one.idea, one.result, width))
        lines += [_row("", f"  for comparison: {other.label}", other, width) for other in one.result.others]
    return "\n".join(lines)


def _row(section: str, idea: str, result: "Result", width: int) -> str:
    numbers = f"{result.parameters:>11,}{result.after.train:>8.3f}{result.after.val:>8.3f}{result.seconds:>9.1f}"
    row = f"{section:<20}{idea:<44}{numbers}  "
    return row + " ".join(result.sample.split())[: max(20, width - len(row))]


def draw_sections(results: list[SectionResult]) -> "Figure":
    """Draw validation and training loss by section, with the variants; markers and colours distinguish them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot()
    xs = range(len(results))
    after = [one.result.after for one in results]
    axes.plot(xs, [one.val for one in after], "o-", color="#00204d", label="validation", markersize=8)
    axes.plot(xs, [one.train for one in after], "^--", color="#7c7b78", label="training", markersize=7)
    variants = [(i, other) for i, one in zip(xs, results) for other in one.result.others]
    if variants:
        heights = [other.after.val for _, other in variants]
        axes.plot([i for i, _ in variants], heights, "X", color="#b3a369", label="validation, variant", markersize=9)
    for i, other in variants:
        axes.annotate(other.label, (i, other.after.val), textcoords="offset points", xytext=(20, 8), fontsize=8)
    for i, one in zip(xs, after):
        axes.annotate(f"{one.val:.2f}", (i, one.val), textcoords="offset points", xytext=(0, 11), ha="center")
    axes.set_xticks(xs, [one.section.replace("_", "\n", 1).replace("_", " ") for one in results], fontsize=9)
    axes.yaxis.set_major_locator(MaxNLocator(8))
    axes.set(ylabel="loss (nats per character)", title="Loss by section: what each idea is worth")
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    """Run the sections that the command line names."""
    with console.exit_without_traceback():
        options = flags.read_options()
        report = console.make_report(options)
        for note in options.notes:
            report("note", text=note)
        sections = [SECTIONS[number - 1] for number in options.sections]
        results: list[SectionResult] = []
        try:
            for one in run_sections(sections, options.arguments(), lambda section: _report(options, section, sections)):
                results.append(one)
                if options.events:
                    section_report = console.JsonLines(one.section)
                    section_report("sample", text=one.result.sample)
                    section_report("done", idea=one.idea, **console.done_fields(one.result))
        finally:  # also after Ctrl-C, or if the text is too short for a later section
            if results and not options.events:
                _print_table(results)
        console.draw_and_save(report, "ladder", lambda: draw_sections(results))
        if options.events:
            report("done", sections=[one.section for one in results])


def _print_table(results: list[SectionResult]) -> None:
    print(f"\n{table(results, shutil.get_terminal_size((120, 24)).columns)}\n")
    for protocol in dict.fromkeys(one.result.protocol for one in results):
        print(f"losses: {protocol}")


def _report(options: flags.Options, section: str, sections: list[str]) -> console.Report:
    if options.events:
        return console.JsonLines(section)
    return console.Terminal(prefix=f"[{sections.index(section) + 1}/{len(sections)}] {section}  ")


if __name__ == "__main__":
    main()
