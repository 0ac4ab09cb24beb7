"""Print a script with which the shell completes commands, options and their values.

Write it where the shell looks for such scripts (zsh: a folder of its fpath); the shell reads it when it starts. For
one session only: eval "$(nanogpt completion bash)", the same for zsh, or nanogpt completion fish | source.

Examples:
  nanogpt completion bash > ~/.local/share/bash-completion/completions/nanogpt
  nanogpt completion zsh > ~/.zfunc/_nanogpt
  nanogpt completion fish > ~/.config/fish/completions/nanogpt.fish
"""

import argparse
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


def script(shell: str) -> str:
    """Return the script. It lists the options of this version: generate it again after an upgrade."""
    whole = argparse.ArgumentParser(prog="nanogpt")
    subcommands = whole.add_subparsers()
    for command, about in COMMANDS.items():
        of_command = module_of(command).parser(["--help-all"])
        for action in of_command.named.values():
            if action.metavar not in (None, "INT", "NUMBER") and not action.choices:
                action.complete = shtab.FILE
        subcommands.add_parser(command, help=about, parents=[of_command], add_help=False)
    return shtab.complete(whole, shell=shell)
