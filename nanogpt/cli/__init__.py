"""The command `nanogpt`: one file for each subcommand, imported when it is called, thin over the library.

Exit codes: 0 done, 1 our mistake (a traceback), 2 something to mend (one line says what), 130 interrupted.
"""

import errno
import io
import keyword
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from nanogpt import __version__
from nanogpt.errors import ToldElsewhere, UserError, nearest
from nanogpt.parallel.process import prepare_process

COMMANDS = {
    "train": "train a GPT on a text, or resume a run",
    "plan": "what so many minutes would give, without training",
    "sample": "generate text with a run",
    "eval": "measure a run's loss, on its own validation text or another",
    "info": "describe a run or a text",
    "data": "check a text before training on it",
    "runs": "list, compare and delete runs",
    "export": "write a run for Transformers, llama.cpp or a browser",
    "import": "make a run of a GPT-2 or Qwen3 model",
    "verify": "hold a run's exports against the run itself",
    "studio": "a page: write with a model, look inside it, watch it learn",
    "serve": "answer over HTTP, as OpenAI's completions do",
    "plot": "draw the curves of runs, here or as a picture",
    "doctor": "look whether all that is needed is here, and say what to mend",
    "completion": "let the shell complete commands and options",
}

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
"""What stands between a program and a file it wants to write, and is the user's to change."""

OVERVIEW = """\
usage: nanogpt COMMAND [OPTIONS]

Train a small GPT on your own text, on the machine you have, and let it write.

try first:
  nanogpt sample --prompt "ROMEO:"      a small model comes with the program: it writes at once
  nanogpt train book.txt --minutes 5    train one on a text of yours; then `nanogpt sample` writes with that
  nanogpt studio                        write with it and look inside it, in the browser
  nanogpt doctor                        where something does not work

commands:
{commands}

`nanogpt COMMAND --help` tells a command's options, with an example. `nanogpt --version` the version.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview(), end="")
        return 0
    if words[0] == "--version":
        print(f"nanogpt {__version__}")
        return 0
    prepare_process()
    # A terminal or pipe that cannot show a character gets its code, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _run(words[0], words[1:])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away, as `head` does; nothing is left to say, also not at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, ModuleNotFoundError, OSError) as error:
        told = what_to_mend(error)
        if told is None:
            raise
        if not isinstance(error, ToldElsewhere):
            print(f"nanogpt: {told}", file=sys.stderr)
        return 2
    return 0


def what_to_mend(error: Exception) -> str | None:
    """What a person can do about an error; None where it is our mistake.

    >>> what_to_mend(ModuleNotFoundError("No module named 'tyro'", name="tyro"))
    "the package 'tyro' is missing: install Nano-GPT again, which brings it; `nanogpt doctor` tells what else is"
    """
    match error:
        case UserError():
            return str(error)
        case ModuleNotFoundError(name=str(name)) if (package := name.split(".")[0]) != "nanogpt":
            return (
                f"the package {package!r} is missing: install Nano-GPT again, which brings it; `nanogpt doctor` tells "
                f"what else is"
            )
        case OSError(errno=number) if number in UNWRITABLE:
            return (
                f"cannot write {error.filename or 'a file'}: {error.strerror}; free some space, or choose another "
                f"place (--out; for the cache, the environment variable NANOGPT_CACHE)"
            )
    return None


def _run(command: str, argv: Sequence[str]) -> None:
    if command not in COMMANDS:
        raise UserError(f"unknown command {command!r}; {nearest(command, COMMANDS)}")
    import_module(module_of(command)).main(argv)
    sys.stdout.flush()


def module_of(command: str) -> str:
    """The module of a command; Python's own words cannot be one.

    >>> module_of("train"), module_of("import")
    ('nanogpt.cli.train', 'nanogpt.cli.import_')
    """
    return f"nanogpt.cli.{command}" + "_" * keyword.iskeyword(command)


def overview() -> str:
    """What `nanogpt` prints without a command."""
    return OVERVIEW.format(commands="\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items()))
