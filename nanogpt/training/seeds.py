"""The same run with several seeds, and statistics of their losses.

    runs/seeds-1/seeds.toml     the seeds, and the options
    runs/seeds-1/seed-1337/     a run like any other
    runs/seeds-1/seed-1338/     the same text, settings and length, another seed

The first run is planned as usual; the others repeat it, also where its size and length came from minutes. An
interrupted set continues with the interrupted run, then the next.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from nanogpt.config import DEFAULT_PRESET, load_preset
from nanogpt.errors import UserError, shell_quote
from nanogpt.evaluation.significance import compare, spread
from nanogpt.files import FORMAT, atomic_path, check_format, read_toml, write_atomically
from nanogpt.runs.find import SEEDS_FILE, find_folder
from nanogpt.runs.folder import RUNS, RunFolder
from nanogpt.training.new_run import create_folder
from nanogpt.training.options import MOVABLE, TrainOptions, has_seeds, start_training

if TYPE_CHECKING:
    from nanogpt.training.trainer import Trainer

MOST_SEEDS = 1000
MAY_DIFFER = ("seed", "track", *MOVABLE)
"""Settings in which repeats of a run may differ"""


@dataclass(frozen=True)
class SeedRuns:
    """A folder of runs that differ in their seed."""

    path: Path
    seeds: tuple[int, ...]
    request: str
    """the options as JSON: the same command continues the set"""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "SeedRuns":
        """Open a set that was begun; raise UserError where its file is damaged."""
        folder = find_folder(path)
        file = folder / SEEDS_FILE
        tables = read_toml(file)
        check_format(tables, str(file))
        seeds, request = tables.get("seeds"), tables.get("request")
        if not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
            raise UserError(f"{file} names no seeds: restore it from a copy")
        return cls(folder, tuple(seeds[:MOST_SEEDS]), str(request))

    def run(self, seed: int) -> Path:
        """Return the folder of the run with this seed."""
        return self.path / f"seed-{seed}"

    def runs(self) -> list[RunFolder]:
        """Return the runs that have begun, in the order of their seeds."""
        return [RunFolder.open(self.run(seed)) for seed in self.seeds if self.run(seed).is_dir()]


def refuse_processes(count: int) -> None:
    """Raise UserError where several processes were started: a set is one run after another."""
    if count > 1:
        raise UserError(
            f"{count} processes share one run, and --seeds trains one after another: train each seed by itself with "
            f"--seed and --out, then compare them with: nanogpt runs --significance RUN ..."
        )


def start_seeds(
    options: TrainOptions,
    settings: Mapping[str, Any],
    *,
    started: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> "tuple[SeedRuns, Iterator[Trainer]]":
    """Start the same run with `options.seeds` consecutive seeds; return the set and a trainer for each run.

    Train each to its end before you take the next. Called again with the same options, it continues the set.
    """
    count = options.seeds
    if count is None or not 2 <= count <= MOST_SEEDS:
        raise UserError(f"--seeds {count}: choose from 2 to {MOST_SEEDS}, for example 5: one run has no spread")
    base = settings.get("seed")
    base = load_preset(options.preset or DEFAULT_PRESET).train.seed if base is None else base
    kept = {one.name for one in fields(options)} - {"out", "resume", "yes"}
    asked = {name: getattr(options, name) for name in kept}
    request = json.dumps({**asked, **settings, "text": options.text or None}, sort_keys=True, default=os.fspath)
    free = (folder for number in count_from(1) if not (folder := RUNS / f"seeds-{number}").exists())
    path = next(free) if options.out is None else Path(options.out)
    if (path / SEEDS_FILE).is_file():  # not `has_seeds`: a new folder is not looked up in runs/
        found = SeedRuns.open(path)
        if found.request != request:
            raise UserError(
                f"{str(path)!r} holds runs with other seeds or settings: choose another --out, or continue them with "
                f"--resume {shell_quote(path)}"
            )
        return found, resume_seeds(found, should_stop=should_stop)
    if path.exists():
        create_folder(path)  # raises
    runs = SeedRuns(path, tuple(range(base, base + count)), request)
    first = start_training(
        replace(options, out=runs.run(base), seeds=None), settings, started=started, should_stop=should_stop
    )
    assert first is not None
    tables = {"format": FORMAT, "seeds": list(runs.seeds), "request": request}
    write_atomically(path / SEEDS_FILE, tomli_w.dumps(tables).encode())

    def trainers() -> "Iterator[Trainer]":
        yield first
        yield from resume_seeds(runs, should_stop=should_stop)

    return runs, trainers()


def resume_seeds(
    runs: SeedRuns, moved: Mapping[str, Any] | None = None, *, should_stop: Callable[[], bool] = lambda: False
) -> "Iterator[Trainer]":
    """Yield a trainer for each run that is not finished, in the order of the seeds; `moved` as for `start_training`."""
    for seed in runs.seeds:
        if not (runs.run(seed) / "plan.toml").is_file():
            _repeat(RunFolder.open(runs.run(runs.seeds[0])), runs.run(seed), seed)
        trainer = start_training(TrainOptions(resume=runs.run(seed)), moved or {}, should_stop=should_stop)
        if trainer is not None:
            yield trainer


def _repeat(first: RunFolder, path: Path, seed: int) -> None:
    """Make a run like the first but for its seed, with the length that the first one ended with."""
    plan = first.read_plan()
    folder = RunFolder(path)
    path.mkdir(exist_ok=True)  # exists where a kill came before the plan was written
    folder.write_config(first.read_config().override(seed=seed))
    folder.write_tokenizer(first.read_tokenizer())
    if plan.start_from is not None:
        with atomic_path(folder.start) as temporary:
            shutil.copyfile(first.start, temporary)
    folder.write_plan(replace(plan, steps=plan.total_steps, changes=(), minutes=None))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The loss of a finished run."""

    run: RunFolder
    seed: int
    loss: float
    bits_per_byte: float
    protocol: str


def expand(paths: Sequence[str | os.PathLike[str]]) -> list[RunFolder]:
    """Return the runs in some folders, each a run or a set of seeds."""
    return [
        run for path in paths for run in (SeedRuns.open(path).runs() if has_seeds(path) else [RunFolder.open(path)])
    ]


def outcomes(paths: Sequence[str | os.PathLike[str]]) -> list[Outcome]:
    """Return the losses of repeats of one run; raise UserError if they differ in more than the seed."""
    found = [_outcome(folder) for folder in expand(paths)]
    seeds = [one.seed for one in found]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"seed {twice} was given twice, and the same run again adds nothing: leave one out")
    for one in found[1:]:
        first, other = _settings(found[0].run), _settings(one.run)
        for name in first | other:
            if first.get(name) != other.get(name):
                raise UserError(f"{found[0].run.path} and {one.run.path} differ in {name}: only the seed may differ")
    return found


def _outcome(folder: RunFolder) -> Outcome:
    if folder.read_plan().imported:
        raise UserError(f"{str(folder.path)!r} was imported and has no training loss to compare")
    done = folder.done()
    if done is None:
        path = folder.path
        raise UserError(f"{str(path)!r} is not finished: continue it with nanogpt train --resume {shell_quote(path)}")
    seed = folder.read_config().train.seed
    bits, protocol = float(done.get("bits_per_byte", "nan")), str(done.get("protocol"))
    return Outcome(run=folder, seed=seed, loss=float(done["loss"]), bits_per_byte=bits, protocol=protocol)


def _settings(folder: RunFolder) -> dict[str, Any]:
    config, plan = folder.read_config().to_dict(), folder.read_plan()
    settings = {name: value for part in ("model", "data", "train") for name, value in config[part].items()}
    settings |= {"text": plan.data_key, "steps": plan.total_steps, "start_from": plan.start_from}
    return {name: value for name, value in settings.items() if name not in MAY_DIFFER}


def spread_lines(found: Sequence[Outcome]) -> Iterator[str]:
    """Yield each run's loss, then their mean and spread, as text."""
    together = spread([one.loss for one in found])
    for one in found:
        yield f"seed {one.seed:<10} {one.loss:.4f} nats/token  {one.run.path}"
    yield f"mean            {together.mean:.4f}, 95 % interval {together.low:.4f} to {together.high:.4f} (Student's t)"
    low, high = min(together.values), max(together.values)
    yield f"spread          standard deviation {together.deviation:.4f}, from {low:.4f} to {high:.4f}"
    yield f"protocol        {found[0].protocol}"


def comparison_lines(first: Sequence[Outcome], second: Sequence[Outcome]) -> Iterator[str]:
    """Yield whether two sets of runs differ by more than chance, as text; raise UserError for different texts."""
    key, unit = _common_unit(first, second)
    sets = [[float(getattr(one, key)) for one in side] for side in (first, second)]
    for name, values in zip(("first", "second"), sets):
        one = spread(values)
        yield f"{name:<12} {len(values)} runs, mean {one.mean:.4f} {unit}, standard deviation {one.deviation:.4f}"
    result = compare(*sets)
    low, high = result.difference - result.half_width, result.difference + result.half_width
    yield f"difference   {result.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    verdict = "significant" if result.significant else "not significant: chance alone could explain it"
    chance = f"p = {result.p:.2g}" if result.p >= 1e-6 else "p < 0.000001"
    yield f"Welch's t    t = {result.t:.2f}, {result.degrees:.1f} degrees of freedom, {chance}: {verdict}"


def _common_unit(first: Sequence[Outcome], second: Sequence[Outcome]) -> tuple[str, str]:
    """Return the unit in which losses compare: nats if the tokens are the same, else bits of the same text."""
    plans = [side[0].run.read_plan() for side in (first, second)]
    if {one.run.path.resolve() for one in first} & {one.run.path.resolve() for one in second}:
        raise UserError("a run is on both sides: compare two different sets")
    for one in (*first, *second):
        if not one.protocol.startswith("whole split"):
            raise UserError(f"{one.run.path} was measured on {one.protocol}: only losses of the whole split compare")
    if plans[0].data_key == plans[1].data_key:
        return "loss", "nats/token"
    if (plans[0].source, plans[0].val_source) == (plans[1].source, plans[1].val_source):
        return "bits_per_byte", "bits per byte"
    raise UserError(
        f"the runs were validated on different texts, {plans[0].text} and {plans[1].text}: their losses do not compare"
    )
