"""The text of a run, found again: its token ids, and whether it has changed."""

from pathlib import Path

from nanogpt.config import Config
from nanogpt.data.tokenize import Dataset, ids_key, tokenize
from nanogpt.errors import UserError, shell_quote
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.text.corpus import NAMES, NO_VALIDATION, Corpus, load_corpus

READ_AGAIN = 50_000_000
"""Bytes of a text that is read again when its run is resumed: half a second."""


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
    if any(one == "-" or (isinstance(one, tuple) and "-" in one) for one in (plan.source, plan.val_source)):
        raise UserError(
            f"the text of {name!r} came from standard input or memory and is no longer in the cache: {advice}"
        )
    corpora = _corpora(plan, config, yes)
    tokenizer = folder.read_tokenizer()
    if ids_key(corpora, tokenizer) != plan.data_key:
        texts = " or ".join(repr(one) for corpus in corpora for one in corpus.sources)
        raise UserError(f"the text {texts} has changed since the run {name!r} began: restore it")
    return tokenize(corpora[0], tokenizer, *corpora[1:], skip_unknown=config.data.unknown == "skip")


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
    text, goes_on = f"the text {' or '.join(map(repr, names))}", "the training goes on with the tokens it began with"
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
    corpora[0].has_validation = plan.val_source != NO_VALIDATION
    return corpora
