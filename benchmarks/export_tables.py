"""The tables of docs/elsewhere.md and docs/fine-tuning.md, each made from its record (see `benchmarks.tables`)."""

from typing import Any


def llama_cpp_table(record: dict[str, Any]) -> str:
    """What llama.cpp writes beside what the library writes, on the same weights."""
    lines = [
        "| model | weights | MB | same likeliest tokens | apart where they part | logits differ by | allowed |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        for export in row["exports"]:
            gap = export["gap_where_they_part"]
            lines.append(
                f"| {row['model']} | {export['precision']} | {export['bytes'] / 1e6:.1f} | "
                f"{export['same_tokens']} of {record['tokens']} | {'–' if gap is None else f'{gap:.1e}'} | "
                f"{export['largest_difference']:.1e} | {export['allowed_difference']:.1e} |"
            )
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    return "\n".join([*lines, "", f"With {packages}; keys and values in float32; all inside the context."])


def html_page_table(record: dict[str, Any]) -> str:
    """Size and speed of the page, beside what was asked of it."""
    goals, page, model = record["goals"], *(record["characters_per_second"][name] for name in ("page", "model"))
    rows = {
        f"page of {record['parameters']:,} parameters": (f"{record['bytes']:,} bytes", f"< {goals['bytes']:,}"),
        "a parameter": (f"{record['bytes_per_parameter']:.3f} bytes", f"≤ {goals['bytes_per_parameter']}"),
        "the page writes": (f"{_spread(page)} characters a second", f"≥ {goals['characters_per_second']}"),
        "the model in it alone": (f"{_spread(model)} characters a second", ""),
    }
    lines = ["| | measured | goal |", "|---|---:|---:|"]
    lines += [f"| {name} | {found} | {goal} |" for name, (found, goal) in rows.items()]
    browser = record["browser"]
    where = "on one core" if browser["one_core"] else "on all cores"
    return "\n".join([*lines, "", f"In {browser['program']} {browser['version']} without a window, {where}."])


def fine_tuning_table(record: dict[str, Any]) -> str:
    """The loss on a short text, begun with another model's weights and from nothing."""
    setting, measured = record["setting"], record["measured"]
    names = {"whole": "`--from`", "lora": "`--from … --lora 8`", "from nothing": "from nothing"}
    lines = [
        f"| {setting['steps']} steps on {setting['characters']:,} characters of Tiny Shakespeare | learning rate | "
        f"validation loss, nats a byte |",
        "|---|---:|---:|",
        f"| the imported model as it is | – | {measured['before']:.3f} |",
    ]
    for name, told in names.items():
        row = measured[name]
        lines.append(f"| {told} | {row['learning_rate']:.1g} | {row['mean']:.3f} ± {row['spread'] / 2:.3f} |")
    return "\n".join(lines)


def fine_tuning_sweep_table(record: dict[str, Any]) -> str:
    """The learning rates among which the library's own were chosen."""
    lines = ["| as much of Don Quijote, one seed | learning rate | validation loss, nats a byte |", "|---|---:|---:|"]
    for name, rows in record["sweep"].items():
        lines += [f"| {name} | {row['learning_rate']:.1g} | {row['mean']:.3f} |" for row in rows]
    return "\n".join(lines)


def _spread(values: dict[str, Any]) -> str:
    return f"{values['median']:.0f} ({values['low']:.0f}–{values['high']:.0f})"


EXPORT_TABLES = {
    "llama_cpp": ("llama_cpp", llama_cpp_table),
    "html_page": ("html_page", html_page_table),
}
"""Of docs/elsewhere.md."""
FINE_TUNING_TABLES = {
    "fine_tuning": ("fine_tuning", fine_tuning_table),
    "fine_tuning_sweep": ("fine_tuning", fine_tuning_sweep_table),
}
"""Of docs/fine-tuning.md."""
