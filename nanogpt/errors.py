"""Errors that a user can cause and fix, and suggestions for misspelt names."""

from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can fix: the message names the value and the next action.

    The command line prints it without a traceback and exits with code 2.
    """


class ReportedElsewhere(UserError):
    """A UserError that another process of the same training reports; this process only ends."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest valid one, or all of them.

    >>> nearest("modren", ["lecture", "gpt2", "modern"])
    "did you mean 'modern'?"
    >>> nearest("x", ["lecture", "gpt2"])
    'valid: gpt2, lecture'
    """
    from difflib import get_close_matches

    names = list(valid)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(names))}"
