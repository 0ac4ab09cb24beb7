"""The command `nanogpt`: its subcommands are modules of this package, imported when called.

Exit codes: 0 success, 1 a bug of ours (with a traceback), 2 an error that the user can fix (one line), 130 interrupted.
"""

import errno
import io
import keyword
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from nanogpt import __version__
from nanogpt.errors import ReportedElsewhere, UserError, nearest

COMMANDS = {
    "train": "train a GPT on a text, or resume a run",
    "plan": "show what N minutes would give, without training",
    "sample": "generate text with a run",
    "eval": "measure a run's loss, on its validation text or another",
    "info": "describe a run or a text",
    "data": "check a text before training on it",
    "runs": "list, compare and delete runs",
    "export": "write a run for Transformers, llama.cpp or a browser",
    "import": "turn a GPT-2, Llama, Mistral or Qwen model into a run",
    "verify": "check that exports give the same answers as the run",
    "studio": "write with a model, look inside it, watch it learn, in the browser",
    "serve": "serve a run over HTTP, like OpenAI's completions API",
    "plot": "draw the curves of runs, in the terminal or as a picture",
    "doctor": "check the installation and suggest fixes",
    "completion": "print a shell script that completes commands and options",
}

CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
"""Reasons why a file cannot be written that the user can change."""

OVERVIEW = """\
usage: nanogpt COMMAND [OPTIONS]

Train a small GPT on your own text, on the machine you have, and generate text with it.

try first:
  nanogpt sample --prompt "ROMEO:"      generate text with the small model that comes with the package
  nanogpt train book.txt --minutes 5    train a model on your text; `nanogpt sample` then uses it
  nanogpt studio                        write with it and look inside it, in the browser
  nanogpt doctor                        if something does not work

commands:
{commands}

`nanogpt COMMAND --help` shows a command's options and examples. `nanogpt --version` shows the version.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(OVERVIEW.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())), end="")
        return 0
    if words[0] == "--version":
        print(f"nanogpt {__version__}")
        return 0
    from nanogpt.parallel.process import prepare_process

    prepare_process()
    # A terminal or pipe that cannot show a character gets its code, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if words[0] not in COMMANDS:
            raise UserError(f"unknown command {words[0]!r}; {nearest(words[0], COMMANDS)}")
        module_of(words[0]).main(words[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone, as `head` does; nothing is left to print, not even when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, ModuleNotFoundError, OSError) as error:
        message = explain(error)
        if message is None:
            raise
        if not isinstance(error, ReportedElsewhere):
            print(f"nanogpt: {message}", file=sys.stderr)
        return 2
    return 0


def explain(error: Exception) -> str | None:
    """Return what the user can do about an error; None where it is a bug of ours.

    >>> explain(ModuleNotFoundError("No module named 'rich'", name="rich"))
    "the package 'rich' is missing; install Nano-GPT again, which brings it; nanogpt doctor shows what else is missing"
    """
    match error:
        case UserError():
            return str(error)
        case ModuleNotFoundError(name=str(name)) if (package := name.split(".")[0]) != "nanogpt":
            return (
                f"the package {package!r} is missing; install Nano-GPT again, which brings it; nanogpt doctor shows "
                f"what else is missing"
            )
        case OSError(errno=number) if number in CANNOT_WRITE:
            return (
                f"cannot write {error.filename or 'a file'}: {error.strerror}; free some space, or choose another "
                f"place (--out; for the cache, the environment variable NANOGPT_CACHE)"
            )
    return None


def module_of(command: str) -> ModuleType:
    """Import the module of a command; a Python keyword gets an underscore.

    >>> module_of("train").__name__, module_of("import").__name__
    ('nanogpt.cli.train', 'nanogpt.cli.import_')
    """
    return import_module(f"nanogpt.cli.{command}" + "_" * keyword.iskeyword(command))
