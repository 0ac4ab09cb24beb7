"""`nanogpt train`: plan, train, show it, save it."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nanogpt.cli.arguments import OptionalInt, OptionalNumber, OptionalText, given, optional, optional_flags, parse
from nanogpt.config import DEFAULT_PRESET, PARTS, load_preset

if TYPE_CHECKING:
    from nanogpt.distributed import World
    from nanogpt.training import Trainer


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a GPT on a text, or resume a run.

    With --minutes the machine is measured, a fitting size is chosen, and the time is kept. With --steps nothing is
    measured: sizes are the preset's. With neither, one minute. Any setting of model, data and training is a flag.

    examples:
      nanogpt train book.txt --minutes 5
      nanogpt train shakespeare --steps 2000 --n-layer 6 --dropout 0.1
      nanogpt train --resume last
    """

    text: Annotated[tyro.conf.Positional[tuple[str, ...]], optional("[TEXT ...]")] = ()
    """file, folder, hf:DATASET, '-' for standard input, or shakespeare or python; several are read one after another;
    if left out, shakespeare where it can be had"""
    minutes: Annotated[OptionalNumber, optional("NUMBER")] = None
    """time to train for, everything counted"""
    steps: Annotated[OptionalInt, optional("INT")] = None
    """updates to train for"""
    preset: Annotated[OptionalText, optional("NAME")] = None
    """modern (if left out), gpt2, lecture, or a .toml file of settings"""
    out: Annotated[OptionalText, optional("FOLDER")] = None
    """the run's folder; runs/TEXT-PRESET-N if left out"""
    val: Annotated[OptionalText, optional("TEXT")] = None
    """a text to validate on, instead of the last tenth"""
    resume: Annotated[OptionalText, optional("RUN")] = None
    """go on with an interrupted run, by its own settings; 'last' is the newest"""


def main(argv: Sequence[str]) -> None:
    """Parse and train."""
    started = time.monotonic()
    options, settings = parse_train(argv)
    # torch takes seconds to import: only now that the arguments are known to be right.
    from nanogpt.distributed import joined

    with joined() as world:
        _train(options, settings, started, world)


def _train(options: Train, settings: dict[str, Any], started: float, world: "World") -> None:
    from nanogpt.events import StopEvent
    from nanogpt.interrupt import Interrupt
    from nanogpt.launch import MOVING, is_done, refuse_beside_resume, resume_run, start_run
    from nanogpt.progress import show_training

    interrupt, text = Interrupt(world), options.text or None
    trainer: Trainer | None
    if options.resume is not None:
        moved = {name: settings.pop(name, None) for name in MOVING}
        beside = ("minutes", "steps", "preset", "out", "val")
        given_too = {"text": text} | {name: getattr(options, name) for name in beside} | settings
        world.lead(lambda: refuse_beside_resume(given_too))
        trainer = resume_run(options.resume, should_stop=interrupt, world=world, **moved)
        if trainer is None:
            if world.main:
                print("this run is finished: `nanogpt sample` lets it write, `nanogpt runs` lists all")
            return
    else:
        trainer = start_run(
            text,
            minutes=options.minutes,
            steps=options.steps,
            preset=options.preset,
            out=options.out,
            val=options.val,
            started=started,
            should_stop=interrupt,
            world=world,
            **settings,
        )
    folder = shlex.quote(str(trainer.folder.path))
    with interrupt:
        for event in show_training(trainer):
            if isinstance(event, StopEvent):
                if world.main:
                    print(f"stopped at step {event.step:,} and saved; go on with: nanogpt train --resume {folder}")
                raise KeyboardInterrupt
    if world.main:
        assert is_done(trainer.folder)
        print(f'let it write: nanogpt sample {folder} --prompt "..."')


def parse_train(argv: Sequence[str]) -> tuple[Train, dict[str, Any]]:
    """The options, and the settings that were named among the fields of the three configs."""
    shown = load_preset(_preset_named(argv))
    configs = {part: getattr(shown, part) for part in PARTS}
    flags = optional_flags("Settings", configs, leave_out=("document_token",))
    kind = make_dataclass("Train", [], bases=(Train, flags), frozen=True, kw_only=True)
    kind.__doc__ = Train.__doc__
    options: Any = parse(kind, "train", argv)
    return options, given(options, PARTS)


def _preset_named(argv: Sequence[str]) -> str:
    """The preset on the command line, read before the rest so that the help can show its values."""
    for word, following in zip(argv, [*argv[1:], ""]):
        if word == "--preset":
            return following
        if word.startswith("--preset="):
            return word.removeprefix("--preset=")
    return DEFAULT_PRESET
