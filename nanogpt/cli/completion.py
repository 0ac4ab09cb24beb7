"""Print a script with which the shell completes commands, options and their values.

Write it where the shell looks for such scripts (zsh: a folder of its fpath); the shell reads it when it starts. For
one session only: eval "$(nanogpt completion bash)", the same for zsh, or nanogpt completion fish | source.

Examples:
  nanogpt completion bash > ~/.local/share/bash-completion/completions/nanogpt
  nanogpt completion zsh > ~/.zfunc/_nanogpt
  nanogpt completion fish > ~/.config/fish/completions/nanogpt.fish
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import shtab

from nanogpt.cli.arguments import parser_of, positional
from nanogpt.cli.main import COMMANDS, module_of


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Options of `nanogpt completion`."""

    shell: Literal["bash", "zsh", "fish"] = positional("SHELL")
    """bash, zsh or fish"""


parser = partial(parser_of, Completion, "completion", __doc__)


def main(argv: Sequence[str]) -> None:
    """Print the script."""
    print(script(Completion(**parser().read(argv)).shell))


FISH_FILES = 'ka "(__fish_complete_path (commandline -ct))"'
OWN_FILES = {
    "bash": [
        ("compgen -f -- $1 ", 'type compopt &> /dev/null || compgen -f -- "$1" '),  # macOS has a bash without it
        ("compopt -o filenames", "compopt -o default -o filenames"),
    ],
    "zsh": [('"(*)::', '"*:')],  # any number of files, not one
    "fish": [(f"-x{FISH_FILES}", "-rF"), (f"-{FISH_FILES}", "-F")],
}
"""What to replace in shtab's scripts so that the shell itself completes files: shtab's own way fails at spaces."""


def script(shell: str) -> str:
    """Return the script. It lists the options of this version: generate it again after an upgrade."""
    whole, several = argparse.ArgumentParser(prog="nanogpt"), set[str]()
    subcommands = whole.add_subparsers()
    for command, about in COMMANDS.items():
        of_command = module_of(command).parser(["--help-all"])
        several |= {name for name, action in of_command.named.items() if action.nargs == "+"}
        for action in of_command.named.values():
            if action.metavar not in (None, "INT", "NUMBER") and not action.choices:
                action.complete = shtab.FILE
        subcommands.add_parser(command, help=about, parents=[of_command], add_help=False)
    text: str = shtab.complete(whole, shell=shell)
    for theirs, ours in OWN_FILES[shell]:
        text = text.replace(theirs, ours)
    if shell == "zsh":  # a flag with several values takes words until the next flag
        text = re.sub(rf'^( *"(?:{"|".join(several)})\[.*\]):', r"\1:*-*:", text, flags=re.MULTILINE)
    return text
