"""Finding runs, and the weights of a step."""

import contextlib
import os
from difflib import get_close_matches
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.runs.folder import RUNS, RunFolder

STARTER = "starter"
"""Name of the run that comes with the package: a small model trained on Tiny Shakespeare, its matrices in 8 bits."""
STARTER_FOLDER = Path(__file__).parents[1] / STARTER
SEEDS_FILE = "seeds.toml"
"""File of a folder whose runs differ in their seed (`training.seeds`)."""


class RunNotFound(UserError):
    """No run has the name that was given, or one that is close."""


def find_folder(name: str | os.PathLike[str], *, required: bool = False) -> Path:
    """Return the folder that a user means: the one of this path, the starter by its name, or else the one in `runs`.

    Where there is none, return the path as it is; or raise UserError with names that are close, if `required`.
    """
    path, problem = Path(name), ""
    with contextlib.suppress(OSError):  # too long for a path
        for folder in (path, *([STARTER_FOLDER] if os.fspath(name) == STARTER else []), RUNS / path):
            if os.fspath(name) and folder.is_dir():
                return folder
        problem = ", it is a file" if path.is_file() else ""
    if not required:
        return path
    runs = {folder.path.relative_to(RUNS).as_posix() for folder in list_runs()}
    known = {STARTER, *runs, *(one.split("/")[0] for one in runs)}
    close = get_close_matches(path.as_posix().removeprefix("runs/"), known)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "list your runs with: nanogpt runs"
    raise (UserError if close else RunNotFound)(f"no run folder {os.fspath(name)!r}{problem}; {hint}")


def is_starter(folder: RunFolder) -> bool:
    """Return whether this is the run that comes with the package."""
    return folder.path.absolute() == STARTER_FOLDER.absolute()


def display_name(folder: RunFolder) -> str:
    """Return a run's path, or the starter's name."""
    return STARTER if is_starter(folder) else str(folder.path)


def list_runs(parent: Path = RUNS) -> list[RunFolder]:
    """Return the runs below a folder, those of a set of seeds included, the one trained last at the end."""
    if not parent.is_dir():
        return []
    sets = [path.parent for path in parent.glob(f"*/{SEEDS_FILE}")]
    found = [RunFolder(path.parent) for one in (parent, *sets) for path in one.glob("*/plan.toml") if path.is_file()]
    return sorted(found, key=_last_change)


def newest_run(parent: Path = RUNS) -> Path:
    """Return the run that was trained last; raise UserError where there is none."""
    runs = list_runs(parent)
    if not runs:
        raise UserError(
            f"no run below {str(parent)!r}: train one with `nanogpt train`, or name a run folder, or {STARTER!r}, the "
            f"small model that comes with Nano-GPT"
        )
    return runs[-1].path


def newest_or_starter(parent: Path = RUNS) -> tuple[Path, tuple[str, ...]]:
    """Return the run that was trained last; where there is none, the starter and a note about it."""
    runs = list_runs(parent)
    return (runs[-1].path, ()) if runs else (STARTER_FOLDER, (starter_note(parent),))


def starter_note(parent: Path) -> str:
    """Return the note that the starter model is used, as there is no run below a folder."""
    return (
        f"no run below {str(parent)!r}: this is the starter model that comes with Nano-GPT, trained on Tiny "
        f"Shakespeare; train your own: nanogpt train book.txt"
    )


def find_weights(folder: RunFolder, step: str) -> tuple[Path, int]:
    """Return the file of the weights of a step of the run's history, and the step."""
    files = {str(step): file for step, file in folder.checkpoints.history().items()}
    if step not in files:
        known = ", ".join(["best", "last", *files])
        raise UserError(f"{display_name(folder)!r} has no weights of {step!r}; choose one of {known}")
    check_plain(files[step], within=folder.path)
    return files[step], int(step)


def _last_change(folder: RunFolder) -> float:
    for name in ("checkpoints/last", "plan.toml"):
        with contextlib.suppress(OSError):  # no checkpoint yet, or it is being deleted
            return (folder.path / name).stat().st_mtime
    return 0.0
