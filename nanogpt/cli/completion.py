"""`nanogpt completion`: a script by which a shell completes commands, options and their values."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal, Union

import tyro

from nanogpt.cli import COMMANDS, module_of
from nanogpt.cli.arguments import FLAT, parse

Shell = Literal["bash", "zsh", "fish"]
AROUND: dict[Shell, tuple[str, str]] = {
    "bash": ("", "complete -o default -F _tyro_nanogpt nanogpt\n"),
    "zsh": (
        "#compdef nanogpt\n_nanogpt() {\n",
        "(( compstate[nmatches] )) || _files\n}\n"
        # Called where zsh read the file to complete something, and made known where a person sourced it.
        'if (( $+compstate )); then _nanogpt "$@"; else compdef _nanogpt nanogpt; fi\n',
    ),
    "fish": ("", "complete --command nanogpt --force-files --condition 'not __fish_use_subcommand'\n"),
}
"""What stands before and after tyro's script. It lets a shell complete names of files where no command or option fits:
tyro leaves positional arguments out."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a script by which the shell completes commands, options and their values.

    Write it where the shell looks for such scripts (zsh: in a folder of its fpath): it is read when the shell starts.
    For one session alone: source <(nanogpt completion bash), the same for zsh, or nanogpt completion fish | source.

    examples:
      nanogpt completion bash > ~/.local/share/bash-completion/completions/nanogpt
      nanogpt completion zsh > ~/.zfunc/_nanogpt
      nanogpt completion fish > ~/.config/fish/completions/nanogpt.fish
    """

    shell: tyro.conf.Positional[Shell]
    """whose script"""


def main(argv: Sequence[str]) -> None:
    """Parse and print."""
    print(script(parse(Completion, "completion", argv).shell), end="")


def script(shell: Shell) -> str:
    """What a shell sources. It knows the flags of today: make it again after an upgrade."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.cli(whole_command(), prog="nanogpt", args=["--tyro-print-completion", shell], config=FLAT)
    before, after = AROUND[shell]
    return before + printed.getvalue().rstrip() + "\n" + after


def whole_command() -> Any:
    """All commands as one type, as tyro takes it: a union of their options."""
    return Union[tuple(Annotated[options_of(name), tyro.conf.subcommand(name)] for name in COMMANDS)]  # noqa: UP007


def options_of(command: str) -> Any:
    """The dataclass of a command's options."""
    module = import_module(module_of(command))
    if hasattr(module, "all_options"):
        return module.all_options()
    return getattr(module, command.capitalize())
