"""Finding runs, the weights of a step, and the text of a run."""

import contextlib
import os
from difflib import get_close_matches
from pathlib import Path

from nanogpt.config import Config
from nanogpt.data.tokenize import Dataset, ids_key
from nanogpt.errors import UserError, shell_quote
from nanogpt.files import check_plain
from nanogpt.runs.folder import RUNS, STARTER, STARTER_FOLDER, RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.text.corpus import NAMES, NO_VALIDATION, Corpus, load_corpus

SEEDS_FILE = "seeds.toml"
"""File of a folder whose runs differ in their seed (`training.seeds`)."""
READ_AGAIN = 50_000_000
"""Bytes of a text that is read again when its run is resumed: half a second."""


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


def open_data(folder: RunFolder, yes: bool = False) -> Dataset:
    """Return the token ids that a run was trained on, from the cache or its text; UserError where that has changed."""
    name, plan, config = str(folder.path), folder.read_plan(), folder.read_config()
    advice = (
        f"name one (`nanogpt eval --text`), or train a new run from it: nanogpt train TEXT --from {shell_quote(name)}"
    )
    if plan.data_key is None:
        raise UserError(f"{name!r} was imported and has no text: {advice}")
    data = Dataset.load(plan.data_key)
    if data is not None:
        return data
    from nanogpt.data.tokenize import tokenize

    if any(one == "-" or (isinstance(one, tuple) and "-" in one) for one in (plan.source, plan.val_source)):
        raise UserError(
            f"the text of {name!r} came from standard input or memory and is no longer in the cache: {advice}"
        )
    corpora = _corpora(plan, config, yes)
    for corpus in corpora:
        corpus.scan()  # raises for what cannot be read
    with contextlib.suppress(UserError):  # a character that the tokenizer lacks: another text
        data = tokenize(corpora[0], folder.read_tokenizer(), *corpora[1:], skip_unknown=config.data.unknown == "skip")
    if data is None or data.key != plan.data_key:
        texts = " or ".join(repr(one) for corpus in corpora for one in corpus.sources)
        raise UserError(f"the text {texts} has changed since the run {name!r} began: restore it")
    return data


def text_changes(folder: RunFolder) -> list[str]:
    """Return a note if a run's text has changed since it began, while the cache still holds its tokens.

    A text of up to `READ_AGAIN` bytes is read again. Of a larger one only the dates of its files are compared with that
    of `config.toml`, which is written once. A text that was moved or deleted counts as unchanged.
    """
    from nanogpt.text.sources import text_files

    plan, config = folder.read_plan(), folder.read_config()
    sources = [one for one in (plan.source, plan.val_source) if one not in (None, NO_VALIDATION)]
    names = [name for one in sources for name in ((one,) if isinstance(one, str) else one or ())]
    paths = [Path(name) for name in names if Path(name).is_absolute()]
    text, goes_on = f"the text {plan.source!r}", "the training goes on with the tokens it began with"
    try:
        files = [file.stat() for path in paths for file in text_files(path, config.data.pattern)]
        if not files or not all(path.is_file() or path.is_dir() for path in paths):
            return []
        known = all(Path(name).is_absolute() or name in NAMES for name in names)
        if known and sum(file.st_size for file in files) <= READ_AGAIN:
            has, changed = "has", ids_key(_corpora(plan, config), folder.read_tokenizer(), quiet=True) != plan.data_key
        else:
            began = (folder.path / "config.toml").stat().st_mtime
            has, changed = "may have", any(max(file.st_mtime, file.st_ctime) > began for file in files)
        return [f"{text} {has} changed since this run began; {goes_on}"] if changed else []
    except UserError as error:
        return [f"{text} cannot be read as it was: {str(error).partition(';')[0]}; {goes_on}"]
    except OSError:  # of no consequence: the tokens are in the cache
        return []


def _corpora(plan: Plan, config: Config, yes: bool = False) -> list[Corpus]:
    """Return a run's text, and its validation text if it has one; with `yes`, fetch them if they are addresses."""
    held_out = plan.val_source not in (None, NO_VALIDATION)
    corpora = [load_corpus(one, config, yes=yes) for one in (plan.source, plan.val_source)[: 1 + held_out]]
    corpora[0].holds_out = plan.val_source != NO_VALIDATION
    return corpora


def _last_change(folder: RunFolder) -> float:
    for name in ("checkpoints/last", "plan.toml"):
        with contextlib.suppress(OSError):  # no checkpoint yet, or it is being deleted
            return (folder.path / name).stat().st_mtime
    return 0.0
