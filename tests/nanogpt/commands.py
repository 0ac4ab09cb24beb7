"""The command lines that pages print: whether the program takes them."""

import importlib
import shlex

from nanogpt.cli import module_of
from nanogpt.cli.arguments import parse


def understand(command: str) -> None:
    """Parse `nanogpt NAME …`, and carry nothing out. Raises what the command raises for words that it does not know."""
    _, name, *argv = shlex.split(command)
    module = importlib.import_module(module_of(name))
    if hasattr(module, f"parse_{name}"):
        getattr(module, f"parse_{name}")(argv)
    else:
        parse(getattr(module, name.capitalize()), name, argv)
