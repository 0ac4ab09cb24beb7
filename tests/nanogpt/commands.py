"""The command lines that pages print: which they are, and whether the program takes them."""

import re
import shlex

from nanogpt.cli.main import module_of


def typed(markdown: str) -> list[str]:
    """The lines of a page's shell blocks as one types them: without comments, in an environment that is active."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"(^|\s+)#( .*)?$", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line.removeprefix(".venv/bin/") for line in lines if line]


def understand(command: str) -> None:
    """Parse `nanogpt NAME …`, and carry nothing out. Raises what the command raises for words that it does not know."""
    _, name, *argv = shlex.split(command)
    module_of(name).parser(argv).read(argv)
