"""`nanogpt train`: plan, train, show it, save it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nanogpt.cli.arguments import (
    OptionalInt,
    OptionalNumber,
    OptionalText,
    StartFrom,
    optional,
    parse_with_settings,
    with_settings,
)
from nanogpt.files import typed

if TYPE_CHECKING:
    from nanogpt.parallel.world import World
    from nanogpt.training.interrupt import Interrupt
    from nanogpt.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a GPT on a text, or resume a run.

    With --minutes the machine is measured, a fitting size is chosen, and the time is kept. With --steps nothing is
    measured: sizes are the preset's. With neither, one minute. Any setting of model, data and training is a flag.

    examples:
      nanogpt train book.txt --minutes 5
      nanogpt train shakespeare --steps 2000 --n-layer 6 --dropout 0.1
      nanogpt train book.txt --steps 2000 --seeds 5 --out runs/five
      nanogpt train letters.txt --from runs/book-modern-1 --steps 500
      nanogpt train --resume last
    """

    text: Annotated[tyro.conf.Positional[tuple[str, ...]], optional("[TEXT ...]")] = ()
    """file, folder, hf:DATASET, '-' for standard input, or shakespeare or python; several are read one after another;
    if left out, shakespeare where it can be had"""
    minutes: Annotated[OptionalNumber, optional("NUMBER")] = None
    """time to train for, everything counted"""
    steps: Annotated[OptionalInt, optional("INT")] = None
    """updates to train for"""
    memory: Annotated[OptionalNumber, optional("GB")] = None
    """gigabytes that it may take; if left out, what is free"""
    preset: Annotated[OptionalText, optional("NAME")] = None
    """modern (if left out), gpt2, lecture, or a .toml file of settings"""
    out: Annotated[OptionalText, optional("FOLDER")] = None
    """the run's folder; runs/TEXT-PRESET-N if left out"""
    val: Annotated[OptionalText, optional("TEXT")] = None
    """a text to validate on, instead of the last tenth"""
    start_from: StartFrom = None
    """begin with the weights, sizes and tokenizer of this run, trained or imported; the learning rate is a third of its
    own"""
    seeds: Annotated[OptionalInt, optional("INT")] = None
    """train so many runs, with the seeds from --seed on, below one folder; tells their mean and spread"""
    resume: Annotated[OptionalText, optional("RUN")] = None
    """go on with an interrupted run, by its own settings; 'last' is the newest"""


def main(argv: Sequence[str]) -> None:
    """Parse and train."""
    started = time.monotonic()
    options, settings = parse_train(argv)
    # torch takes seconds to import: only now that the arguments are known to be right.
    from nanogpt.parallel.world import joined
    from nanogpt.training.seeds import is_series, refuse_several_processes

    with joined() as world:
        if (options.seeds is not None and options.resume is None) or is_series(options.resume):
            world.lead(lambda: refuse_several_processes(world.size))
            _train_series(options, settings, started)
        else:
            _train_one(options, settings, started, world)


def _train_one(options: Train, settings: dict[str, Any], started: float, world: "World") -> None:
    from nanogpt.training.interrupt import Interrupt
    from nanogpt.training.launch import refuse_beside_resume, resume_run, start_run

    interrupt, request = Interrupt(world), _request(options)
    trainer: Trainer | None
    if options.resume is not None:
        moved = _moved(settings)
        given_too = request | {"out": options.out, "seeds": options.seeds} | settings
        world.lead(lambda: refuse_beside_resume(given_too))
        trainer = resume_run(options.resume, should_stop=interrupt, world=world, **moved)
        if trainer is None:
            if world.main:
                print("this run is finished: `nanogpt sample` lets it write, `nanogpt runs` lists all")
            return
    else:
        trainer = start_run(out=options.out, started=started, should_stop=interrupt, world=world, **request, **settings)
    folder = str(trainer.folder.path)
    _train(trainer, interrupt, folder)
    if world.main:
        print(f'let it write: nanogpt sample {typed(folder)} --prompt "..."')
        print(f"look inside it: nanogpt studio {typed(folder)}")


def _train_series(options: Train, settings: dict[str, Any], started: float) -> None:
    """A run with several seeds, and what they reached together."""
    from nanogpt.training.interrupt import Interrupt
    from nanogpt.training.launch import refuse_beside_resume
    from nanogpt.training.seeds import Series, outcomes, resume_series, spread_lines, start_series

    interrupt, request = Interrupt(), _request(options)
    if options.resume is not None:
        moved = _moved(settings)
        refuse_beside_resume(request | {"out": options.out, "seeds": options.seeds} | settings)
        series = Series.open(options.resume)
        trainers = resume_series(series, should_stop=interrupt, **moved)
    else:
        assert options.seeds is not None
        request |= {"started": started, "should_stop": interrupt}
        series, trainers = start_series(options.seeds, out=options.out, **request, **settings)
    folder = str(series.path)
    for trainer in trainers:
        print(f"seed {trainer.config.train.seed} of {series.seeds[0]} to {series.seeds[-1]}: {trainer.folder.path}")
        _train(trainer, interrupt, folder)
    print("\n".join(spread_lines(outcomes([folder]))))
    print(f"compare: nanogpt runs --significance {typed(folder)} --against RUN ...")


def _train(trainer: "Trainer", interrupt: "Interrupt", folder: str) -> None:
    """Train to the end, or stop and say how to go on with the folder."""
    from nanogpt.reporting.events import StopEvent
    from nanogpt.reporting.terminal import show_training
    from nanogpt.training.launch import is_done

    main = trainer.world.main
    with interrupt:
        for event in show_training(trainer):
            if isinstance(event, StopEvent):
                if main:
                    again = f"nanogpt train --resume {typed(folder)}"
                    print(f"stopped at step {event.step:,} and saved; go on with: {again}")
                raise KeyboardInterrupt
    assert not main or is_done(trainer.folder)


def _request(options: Train) -> dict[str, Any]:
    """What is asked for besides settings."""
    named = {name: getattr(options, name) for name in ("minutes", "steps", "memory", "preset", "val", "start_from")}
    return {"text": options.text or None} | named


def _moved(settings: dict[str, Any]) -> dict[str, Any]:
    """Take out of the settings those that may change when a run goes on."""
    from nanogpt.training.launch import MOVING

    return {name: settings.pop(name, None) for name in MOVING}


def parse_train(argv: Sequence[str]) -> tuple[Train, dict[str, Any]]:
    """The options, and the settings that were named among the fields of the three configs."""
    return parse_with_settings(Train, "train", argv)


def all_options() -> type[Train]:
    """What can be given, for the shell's completion."""
    return with_settings(Train)
