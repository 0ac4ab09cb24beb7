"""`nanogpt runs`: the runs that are here."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nanogpt.cli.arguments import parse
from nanogpt.errors import UserError
from nanogpt.runs.starter import is_starter

if TYPE_CHECKING:
    from nanogpt.config import Config
    from nanogpt.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List the runs below a folder, compare the settings of some, or delete some.

    examples:
      nanogpt runs
      nanogpt runs --compare runs/book-modern-1 runs/book-gpt2-1
      nanogpt runs --significance runs/seeds-1 --against runs/seeds-2
      nanogpt runs --delete runs/book-modern-1
    """

    folder: str = "runs"
    """where to look"""
    compare: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN RUN ...")] = ()
    """show the settings in which these runs differ"""
    significance: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN ...")] = ()
    """mean and spread of runs that differ in their seed, or of a folder of them"""
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN ...")] = ()
    """other such runs: is the difference to them more than chance?"""
    delete: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN ...")] = ()
    """delete these runs, after asking"""
    yes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """delete without asking"""


def main(argv: Sequence[str]) -> None:
    """Parse, then list, compare or delete."""
    options = parse(Runs, "runs", argv)
    from nanogpt.runs.folder import RunFolder
    from nanogpt.runs.run import list_runs

    asked = [name for name in ("compare", "significance", "delete") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"--{asked[0]} and --{asked[1]} were given together: do one, then the other")
    if options.against and not options.significance:
        raise UserError("--against needs runs to compare with: name them after --significance")
    if options.delete:
        named = {Path(path).resolve(): path for path in options.delete}  # one named twice is deleted once
        _delete([RunFolder.open(path) for path in named.values()], options.yes)
    elif options.compare:
        _compare([RunFolder.open(path) for path in options.compare])
    elif options.significance:
        _significance(options.significance, options.against)
    else:
        _list(list_runs(Path(options.folder)), options.folder)


def describe(folder: "RunFolder") -> dict[str, str]:
    """A run's figures, by name."""
    config, plan = folder.read_config(), folder.read_plan()
    model, losses, done = config.model, _losses(folder), _done(folder)
    step = folder.checkpoints.pointer("last") or 0
    return {
        "run": folder.name,
        "text": plan.text,
        **({} if plan.start_from is None else {"began with": f"the weights of {plan.start_from}{_adapters(config)}"}),
        "preset": config.preset,
        "model": f"{model.n_layer} layers, {model.n_head} heads, {model.n_embd} channels, block {model.block_size}, "
        f"vocabulary {model.vocab_size}",
        "parameters": f"{_parameters(folder):,}",
        "products in": plan.precision or config.train.precision,
        "steps": "imported" if plan.imported else f"{step:,} of {plan.total_steps:,}" + (", finished" if done else ""),
        "validation": f"{min(losses):.4f} nats/token" if losses else "none yet",
        **({} if plan.imported else {"protocol": done["protocol"] if done else ON_THE_WAY}),
        "on disk": _size(folder.path),
    }


ON_THE_WAY = "the lowest of a subset of windows, on the way"


def _adapters(config: "Config") -> str:
    return "" if config.train.lora is None else f", adapters of rank {config.train.lora}"


def _list(runs: "list[RunFolder]", parent: str) -> None:
    if not runs:
        print(
            f"no runs below {parent}/ yet: train one with `nanogpt train`; until then `nanogpt sample` writes with the "
            f"starter model"
        )
        return
    from rich.console import Console
    from rich.table import Table

    columns = ("run", "text", "preset", "parameters", "steps", "validation", "on disk")
    table = Table(*columns, caption="the newest last; validation: the lowest, in nats/token", box=None)
    for run in runs:
        try:
            row = describe(run)
        except UserError as error:
            row = {"run": str(run.path), "text": f"unreadable: {error}"}
        table.add_row(*(row.get(name, "").removesuffix(" nats/token") for name in columns))
    # A pipe has no width of its own; a table squeezed into 80 columns would cut the names.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)


def _compare(runs: "list[RunFolder]") -> None:
    if len(runs) < 2:
        raise UserError("one run cannot be compared: name two or more after --compare")
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


def _significance(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    from nanogpt.training.seeds import comparison_lines, outcomes, spread_lines

    one = outcomes(first)
    lines = comparison_lines(one, outcomes(second)) if second else spread_lines(one)
    print("\n".join([*lines]))


def _delete(runs: "list[RunFolder]", yes: bool) -> None:
    if any(is_starter(run.path) for run in runs):
        raise UserError("the starter model is part of Nano-GPT and is not deleted: name runs of your own")
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
    """Settings, plan and outcome of a run, side by side."""
    config = run.read_config().to_dict()
    settings = {name: value for part in ("model", "data", "train") for name, value in config[part].items()}
    plan = run.read_plan()
    outcome = {"text": plan.text, "started from": plan.start_from, "steps": plan.total_steps}
    losses = _losses(run)
    return {"preset": config["preset"], **settings, **outcome, "validation": f"{min(losses):.4f}" if losses else None}


def _losses(run: "RunFolder") -> list[float]:
    """Validation losses: the whole split's where the run is done, else those on the way."""
    done = _done(run)
    return [done["loss"]] if done else [line["loss"] for line in run.metrics() if line["event"] == "eval"]


def _done(run: "RunFolder") -> dict[str, Any] | None:
    return next((line for line in run.metrics() if line["event"] == "done"), None)


def _parameters(run: "RunFolder") -> int:
    import torch

    from nanogpt.model.gpt import GPT

    with torch.device("meta"):  # counted without taking memory
        return GPT(run.read_config().model).parameter_count


def _size(path: Path) -> str:
    return f"{sum(file.lstat().st_size for file in path.rglob('*') if file.is_file()) / 1e6:.1f} MB"
