"""List runs, compare their settings or results, or delete them.

Examples:
  nanogpt runs
  nanogpt runs --compare runs/book-modern-1 runs/book-gpt2-1
  nanogpt runs --significance runs/seeds-1 --against runs/seeds-2
  nanogpt runs --delete runs/book-modern-1
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogpt.cli.arguments import option, parser_of
from nanogpt.errors import UserError, counted

if TYPE_CHECKING:
    from nanogpt.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Options of `nanogpt runs`."""

    folder: str = option("FOLDER", "runs")
    """folder of runs"""
    compare: tuple[str, ...] = option("RUN", ())
    """show the settings in which these runs differ"""
    significance: tuple[str, ...] = option("RUN", ())
    """report mean and spread of runs that differ in their seed, or of a folder of such runs"""
    against: tuple[str, ...] = option("RUN", ())
    """other such runs: test whether the difference is more than chance"""
    delete: tuple[str, ...] = option("RUN", ())
    """delete these runs, after asking"""
    yes: bool = False
    """delete without asking"""


parser = partial(parser_of, Runs, "runs", __doc__)


def main(argv: Sequence[str]) -> None:
    """List, compare or delete runs."""
    options = Runs(**parser().read(argv))
    from nanogpt.runs.find import list_runs
    from nanogpt.runs.folder import RunFolder

    asked = [name for name in ("compare", "significance", "delete") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} were both given; do one, then the other")
    if options.against and not options.significance:
        raise UserError("--against needs runs to compare with; name them after --significance")
    if options.delete:
        found = [RunFolder.open(path) for path in options.delete]
        _delete(list({run.path.resolve(): run for run in found}.values()), options.yes)
    elif options.compare:
        _compare([RunFolder.open(path) for path in options.compare])
    elif options.significance:
        from nanogpt.training.seeds import comparison_lines, outcomes, spread_lines

        first = outcomes(options.significance)
        print("\n".join(comparison_lines(first, outcomes(options.against)) if options.against else spread_lines(first)))
    elif options.folder != "runs" and not Path(options.folder).is_dir():
        raise UserError(f"--folder {options.folder!r} is not a folder; name one of runs")
    else:
        _list(list_runs(Path(options.folder)), options.folder)


DURING_TRAINING = "the lowest of a subset of windows, during training"


def describe(folder: "RunFolder") -> dict[str, str]:
    """Return a run's figures, by name."""
    from nanogpt.model.parameters import count_parameters
    from nanogpt.runs.find import display_name

    config, plan = folder.read_config(), folder.read_plan()
    model, losses, done = config.model, _losses(folder), folder.done()
    step = folder.checkpoints.pointer("last") or 0
    adapters = "" if config.train.lora is None else f", adapters of rank {config.train.lora}"
    return {
        "run": display_name(folder),
        "text": plan.text,
        **({} if plan.start_from is None else {"began with": f"the weights of {plan.start_from}{adapters}"}),
        "preset": config.preset,
        "model": f"{counted(model.n_layer, 'layer')}, {counted(model.n_head, 'head')}, {model.n_embd} channels, "
        f"block {model.block_size}, vocabulary {model.vocab_size}",
        "parameters": f"{count_parameters(model).total:,}",
        "products in": plan.precision or config.train.precision,
        "steps": "imported" if plan.imported else f"{step:,} of {plan.total_steps:,}" + (", finished" if done else ""),
        "validation": f"{min(losses):.4f} nats/token" if losses else "none yet",
        **({} if plan.imported else {"protocol": done["protocol"] if done else DURING_TRAINING}),
        "on disk": _size(folder.path),
    }


def _list(runs: "list[RunFolder]", parent: str) -> None:
    if not runs:
        print(f"no runs in {parent}/ yet: train one with `nanogpt train`; `nanogpt sample` uses the starter model")
        return
    from rich.console import Console
    from rich.table import Table

    columns = ("run", "text", "preset", "parameters", "steps", "validation", "on disk")
    table = Table(*columns, caption="newest last; validation: lowest loss, in nats/token", box=None)
    for run in runs:
        try:
            row = describe(run)
        except UserError as error:
            row = {"run": str(run.path), "text": f"unreadable: {error}"}
        table.add_row(*(row.get(name, "").removesuffix(" nats/token") for name in columns))
    # A pipe has no width; 80 columns would cut the names.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)


def _compare(runs: "list[RunFolder]") -> None:
    if len(runs) < 2:
        raise UserError("one run cannot be compared; name two or more after --compare")
    flat = [_flat(run) for run in runs]
    names = [
        name for name in {key: None for one in flat for key in one} if len({str(one.get(name)) for one in flat}) > 1
    ]
    width = max((len(name) for name in names), default=0)
    print(f"{'':<{width}}  " + "  ".join(str(run.path) for run in runs))
    for name in names:
        cells = (f"{one.get(name, '–')!s:<{len(str(run.path))}}" for one, run in zip(flat, runs))
        print(f"{name:<{width}}  " + "  ".join(cells).rstrip())
    if not names:
        print("no setting differs")


def _delete(runs: "list[RunFolder]", yes: bool) -> None:
    from nanogpt.runs.find import is_starter

    if any(is_starter(run) for run in runs):
        raise UserError("the starter model is part of Nano-GPT and is not deleted; name your own runs")
    for run in runs:
        if not yes and not _confirmed(f"delete {run.path} ({_size(run.path)})? [y/N] "):
            print(f"kept {run.path}")
            continue
        shutil.rmtree(run.path)
        print(f"deleted {run.path}")


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _flat(run: "RunFolder") -> dict[str, Any]:
    """Return settings, plan and result of a run in one table."""
    config = run.read_config().to_dict()
    settings = {name: value for part in ("model", "data", "train") for name, value in config[part].items()}
    plan = run.read_plan()
    outcome = {"text": plan.text, "started from": plan.start_from, "steps": plan.total_steps}
    losses = _losses(run)
    return {"preset": config["preset"], **settings, **outcome, "validation": f"{min(losses):.4f}" if losses else None}


def _losses(run: "RunFolder") -> list[float]:
    """Return the validation losses: that of the whole split where the run is done, else those during training."""
    done = run.done()
    return [done["loss"]] if done else [line["loss"] for line in run.metrics() if line["event"] == "eval"]


def _size(path: Path) -> str:
    return f"{sum(file.lstat().st_size for file in path.rglob('*') if file.is_file()) / 1e6:.1f} MB"
