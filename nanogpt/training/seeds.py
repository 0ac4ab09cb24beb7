"""The same run with several seeds, and what their losses say together.

    runs/seeds-1/seeds.toml     which seeds, and what was asked for
    runs/seeds-1/seed-1337/     a run as any other
    runs/seeds-1/seed-1338/     the same text, settings and length, another seed

The first run is planned as any run is; the others repeat it, also where its size and length came from minutes. An
interrupted series goes on with the run that was interrupted, or with the next.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from nanogpt.config import DEFAULT_PRESET, load_preset
from nanogpt.errors import UserError
from nanogpt.evaluation.significance import compare, spread
from nanogpt.files import FORMAT, check_format, read_toml, replacing, typed, write_atomically
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import RUNS, SERIES_FILE
from nanogpt.training.launch import MOVING, resume_run, start_run
from nanogpt.training.trainer import Trainer

MOST_SEEDS = 1000
NOT_THE_RUN = ("seed", "track", *MOVING)
"""Settings in which repeats of one run may differ"""


@dataclass(frozen=True)
class Series:
    """A folder of runs that differ in their seed."""

    path: Path
    seeds: tuple[int, ...]
    request: str
    """what was asked for, as JSON: the same command again goes on"""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Series":
        """A series that has begun; UserError where its file is damaged."""
        where = Path(path) / SERIES_FILE
        tables = read_toml(where)
        check_format(tables, str(where))
        seeds, request = tables.get("seeds"), tables.get("request")
        if not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
            raise UserError(f"{where} names no seeds: restore it from a copy of the series")
        return cls(Path(path), tuple(seeds[:MOST_SEEDS]), str(request))

    def write(self) -> None:
        """Keep it."""
        tables = {"format": FORMAT, "seeds": list(self.seeds), "request": self.request}
        write_atomically(self.path / SERIES_FILE, tomli_w.dumps(tables).encode())

    def run(self, seed: int) -> Path:
        """The folder of the run with this seed."""
        return self.path / f"seed-{seed}"

    def runs(self) -> list[RunFolder]:
        """Those that have begun, in the order of their seeds."""
        return [RunFolder.open(self.run(seed)) for seed in self.seeds if self.run(seed).is_dir()]


def is_series(path: str | os.PathLike[str] | None) -> bool:
    """Whether a folder is a series."""
    return path is not None and (Path(path) / SERIES_FILE).is_file()


def refuse_several_processes(count: int) -> None:
    """Raise UserError where processes were started to share one run: a series is one run after another."""
    if count > 1:
        raise UserError(
            f"{count} processes share one run, and --seeds trains several one after another: train each seed by "
            f"itself with --seed and --out, then nanogpt runs --significance RUN ..."
        )


def start_series(
    count: int,
    *,
    out: str | os.PathLike[str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    started: float | None = None,
    **request: Any,
) -> tuple[Series, Iterator[Trainer]]:
    """A run `count` times, with the seeds from its own on; `request` is what `nanogpt.train` takes.

    Each trainer is to be trained to its end before the next is asked for. Where `out` has what an earlier call with
    the same request has left, it goes on with it. Raises UserError for whatever the caller can mend.
    """
    if not 2 <= count <= MOST_SEEDS:
        raise UserError(f"seeds is {count}; choose from 2 to {MOST_SEEDS}, 5 for example: one run has no spread")
    base = request.get("seed")
    base = load_preset(request.get("preset") or DEFAULT_PRESET).train.seed if base is None else base
    asked = json.dumps({"seeds": count, **request}, sort_keys=True, default=os.fspath)
    path = _free_folder() if out is None else Path(out)
    if is_series(path):
        series = Series.open(path)
        if series.request != asked:
            raise UserError(
                f"{str(path)!r} has runs with other seeds or settings: choose another --out, or go on with them by "
                f"--resume {typed(path)}"
            )
        return series, resume_series(series, should_stop=should_stop)
    if path.exists():
        RunFolder.create(path)  # raises
    series = Series(path, tuple(range(base, base + count)), asked)
    first = start_run(out=series.run(base), should_stop=should_stop, started=started, **request)
    series.write()

    def trainers() -> Iterator[Trainer]:
        yield first
        yield from resume_series(series, should_stop=should_stop)

    return series, trainers()


def resume_series(
    series: Series,
    *,
    device: str | None = None,
    parallel: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Trainer]:
    """A trainer for each run that is not finished, in the order of the seeds; moved as by `resume_run`."""
    for seed in series.seeds:
        if not (series.run(seed) / "plan.toml").is_file():
            _repeat(RunFolder.open(series.run(series.seeds[0])), series.run(seed), seed)
        trainer = resume_run(series.run(seed), device=device, parallel=parallel, should_stop=should_stop)
        if trainer is not None:
            yield trainer


def _repeat(first: RunFolder, path: Path, seed: int) -> None:
    """Make a run like the first but for its seed, as long as that became."""
    plan = first.read_plan()
    folder = RunFolder(path)
    path.mkdir(exist_ok=True)  # there is one already where a kill came before the plan was written
    folder.write_config(first.read_config().override(seed=seed))
    folder.write_tokenizer(first.read_tokenizer())
    if plan.start_from is not None:
        with replacing(folder.start) as beside:
            shutil.copyfile(first.start, beside)
    folder.write_plan(replace(plan, steps=plan.total_steps, changes=(), minutes=None, job=None))


def _free_folder() -> Path:
    number = 1
    while (path := RUNS / f"seeds-{number}").exists():
        number += 1
    return path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one finished run reached."""

    run: RunFolder
    seed: int
    loss: float
    bits_per_byte: float
    protocol: str


def folders(paths: Sequence[str | os.PathLike[str]]) -> list[RunFolder]:
    """Runs named one by one, or as a series."""
    return [run for path in paths for run in (Series.open(path).runs() if is_series(path) else [RunFolder.open(path)])]


def outcomes(paths: Sequence[str | os.PathLike[str]]) -> list[Outcome]:
    """What a set of repeats reached, named one by one or as a series.

    Raises UserError for a run that is not finished, for one named twice, and where they differ in more than the seed.
    """
    found = [_outcome(folder) for folder in folders(paths)]
    seeds = [one.seed for one in found]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"seed {twice} is there twice: the same run again tells nothing about others; leave one out")
    for one in found[1:]:
        name = next(iter(_difference(found[0].run, one.run)), None)
        if name is not None:
            raise UserError(
                f"{found[0].run.path} and {one.run.path} differ in {name}: a set is one run with several seeds"
            )
    return found


def _outcome(folder: RunFolder) -> Outcome:
    if folder.read_plan().imported:
        raise UserError(f"{str(folder.path)!r} was imported and not trained here: it has no loss to compare")
    done = next((line for line in folder.metrics() if line["event"] == "done"), None)
    if done is None:
        path = folder.path
        raise UserError(f"{str(path)!r} is not finished: go on with it by nanogpt train --resume {typed(path)}")
    seed = folder.read_config().train.seed
    bits, protocol = float(done.get("bits_per_byte", "nan")), str(done.get("protocol"))
    return Outcome(run=folder, seed=seed, loss=float(done["loss"]), bits_per_byte=bits, protocol=protocol)


def _difference(one: RunFolder, other: RunFolder) -> list[str]:
    """Settings, other than the seed, that differ."""
    flat = [_flat(folder) for folder in (one, other)]
    return [name for name in flat[0] | flat[1] if flat[0].get(name) != flat[1].get(name)]


def _flat(folder: RunFolder) -> dict[str, Any]:
    config, plan = folder.read_config().to_dict(), folder.read_plan()
    settings = {name: value for part in ("model", "data", "train") for name, value in config[part].items()}
    settings |= {"text": plan.data_key, "steps": plan.total_steps, "start_from": plan.start_from}
    return {name: value for name, value in settings.items() if name not in NOT_THE_RUN}


def spread_lines(found: Sequence[Outcome]) -> Iterator[str]:
    """Each run's loss, their mean and their spread, as text."""
    together = spread([one.loss for one in found])
    for one in found:
        yield f"seed {one.seed:<10} {one.loss:.4f} nats/token  {one.run.path}"
    yield f"mean            {together.mean:.4f}, 95 % interval {together.low:.4f} to {together.high:.4f} (Student's t)"
    yield (
        f"spread          standard deviation {together.deviation:.4f}, from {min(together.values):.4f} to "
        f"{max(together.values):.4f}"
    )
    yield f"protocol        {found[0].protocol}"


def comparison_lines(first: Sequence[Outcome], second: Sequence[Outcome]) -> Iterator[str]:
    """Whether two sets of runs differ by more than chance, as text.

    Raises UserError where their losses were not measured on the same text.
    """
    key, unit = _common_unit(first, second)
    sets = [[float(getattr(one, key)) for one in side] for side in (first, second)]
    for name, values in zip(("first", "second"), sets):
        one = spread(values)
        yield f"{name:<12} {len(values)} runs, mean {one.mean:.4f} {unit}, standard deviation {one.deviation:.4f}"
    result = compare(*sets)
    low, high = result.difference - result.half_width, result.difference + result.half_width
    yield f"difference   {result.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    verdict = "significant" if result.significant else "not significant: chance alone does as much"
    chance = f"p = {result.p:.2g}" if result.p >= 1e-6 else "p < 0.000001"
    yield f"Welch's t    t = {result.t:.2f}, {result.degrees:.1f} degrees of freedom, {chance}: {verdict}"


def _common_unit(first: Sequence[Outcome], second: Sequence[Outcome]) -> tuple[str, str]:
    """In what the losses can be compared: nats where the tokens are the same, else bits of the same text."""
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
