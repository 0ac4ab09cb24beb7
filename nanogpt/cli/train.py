"""Train a GPT on a text, or resume a run.

Every setting of model, data and training is an option: see --help-all.

Examples:
  nanogpt train book.txt --minutes 5
  nanogpt train shakespeare --steps 2000 --n-layer 6 --dropout 0.1
  nanogpt train --resume last
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nanogpt.cli.arguments import Parser, add_settings
from nanogpt.errors import shell_quote
from nanogpt.training.options import MOVABLE, TrainOptions

if TYPE_CHECKING:
    from nanogpt.parallel.process import Interrupt
    from nanogpt.parallel.world import World
    from nanogpt.training.trainer import Trainer

EVERYDAY = (
    *("text", "minutes", "steps", "preset", "out", "val", "start_from", "resume"),
    *("n_layer", "n_embd", "block_size", "dropout", "tokenizer", "device"),
)
"""Options that `--help` shows."""


def parser(argv: Sequence[str] = ()) -> Parser:
    """Return the command's parser; its help shows the values of the preset that `argv` names."""
    found = Parser("train", __doc__, EVERYDAY, "--help-all" in argv)
    found.add_fields(TrainOptions)
    add_settings(found, argv)
    return found


def parse_train(argv: Sequence[str]) -> tuple[TrainOptions, dict[str, Any]]:
    """Return the options of a training and the settings that the user named."""
    given = parser(argv).read(argv)
    options = {one.name: given.pop(one.name) for one in fields(TrainOptions) if one.name in given}
    return TrainOptions(**options), given


def main(argv: Sequence[str]) -> None:
    """Train, in this process or among those that torchrun started."""
    started = time.monotonic()
    options, settings = parse_train(argv)
    # torch takes seconds to import: it waits until the arguments are known to be right.
    from nanogpt.training.options import has_seeds, joined_world

    with joined_world() as world:
        if (options.seeds is not None and options.resume is None) or has_seeds(options.resume):
            from nanogpt.training.seeds import refuse_processes

            world.on_main(lambda: refuse_processes(world.size))
            _train_seeds(options, settings, started)
        else:
            _train_run(options, settings, started, world)


def _train_run(options: TrainOptions, settings: Mapping[str, Any], started: float, world: "World") -> None:
    from nanogpt.parallel.process import Interrupt
    from nanogpt.training.options import start_training

    interrupt = Interrupt(world)
    trainer = start_training(options, settings, started=started, should_stop=interrupt, world=world)
    if trainer is None:
        if world.main:
            print("this run is finished: `nanogpt sample` generates text with it, `nanogpt runs` lists all runs")
        return
    folder = str(trainer.folder.path)
    _train(trainer, interrupt, folder)
    if world.main:
        print(f'generate text: nanogpt sample {shell_quote(folder)} --prompt "..."')
        print(f"look inside it: nanogpt studio {shell_quote(folder)}")


def _train_seeds(options: TrainOptions, settings: Mapping[str, Any], started: float) -> None:
    """Train a run per seed, one after the other, and print the mean and spread of their losses."""
    from nanogpt.parallel.process import Interrupt
    from nanogpt.training.options import refuse_with_resume
    from nanogpt.training.seeds import SeedRuns, outcomes, resume_seeds, spread_lines, start_seeds

    interrupt = Interrupt()
    if options.resume is None:
        runs, trainers = start_seeds(options, settings, started=started, should_stop=interrupt)
    else:
        refuse_with_resume(options, settings)
        runs = SeedRuns.open(options.resume)
        moved = {name: value for name, value in settings.items() if name in MOVABLE}
        trainers = resume_seeds(runs, moved, should_stop=interrupt)
    folder = str(runs.path)
    for trainer in trainers:
        print(f"seed {trainer.config.train.seed} of {runs.seeds[0]} to {runs.seeds[-1]}: {trainer.folder.path}")
        _train(trainer, interrupt, folder)
    print("\n".join(spread_lines(outcomes([folder]))))
    print(f"compare: nanogpt runs --significance {shell_quote(folder)} --against RUN ...")


def _train(trainer: "Trainer", interrupt: "Interrupt", folder: str) -> None:
    """Train to the end; if interrupted, print how to resume the folder and raise KeyboardInterrupt."""
    from nanogpt.reporting.events import StopEvent
    from nanogpt.reporting.terminal import show_training

    with interrupt:
        for event in show_training(trainer):
            if isinstance(event, StopEvent):
                if trainer.world.main:
                    command = f"nanogpt train --resume {shell_quote(folder)}"
                    print(f"stopped at step {event.step:,} and saved; resume with: {command}")
                raise KeyboardInterrupt
