"""Flags from dataclasses: the docstring of a field is its help, argparse parses, and any mistake is a UserError.

A field's metadata may hold `metavar`, `flag` (a name that Python does not allow, such as `from`), `positional`, and
`repeat` (a tuple, whose flag is given once for each value).
"""

import argparse
import ast
import contextlib
import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Union, get_args, get_origin

from nanogpt.config import DEFAULT_PRESET, PARTS, Config, TextConfig, flag, load_preset
from nanogpt.errors import UserError, nearest

if TYPE_CHECKING:
    from nanogpt.runs.run import Run
    from nanogpt.serving.settings import Access
    from nanogpt.text.corpus import Corpus

METAVARS = {int: "INT", float: "NUMBER", str: "TEXT"}
LAST_PORT = 65535
EXAMPLES = {int: "8", float: "0.5"}
SYNONYMS = {"lr": "learning-rate", "epochs": "minutes", "iters": "steps", "max-iters": "steps", "context": "block-size"}
"""Flags of other programs, and ours"""


class Parser(argparse.ArgumentParser):
    """The parser of one command, whose help is the text `about`, which ends with examples.

    With `everyday`, `--help` shows these options, and `--help-all` (with `show_all`) all, in groups.
    """

    def __init__(self, command: str, about: str | None, everyday: Collection[str] = (), show_all: bool = False) -> None:
        text, _, self.examples = inspect.cleandoc(about or "").partition("\n\nExamples:\n")
        width = min(shutil.get_terminal_size().columns, 100) - 2
        super().__init__(
            prog=f"nanogpt {command}",
            usage=f"nanogpt {command} [OPTIONS]",
            description="\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n")),
            epilog=f"examples:\n{self.examples}",
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=width),
            argument_default=argparse.SUPPRESS,  # only what the user names is in the result
            allow_abbrev=False,
            exit_on_error=False,
            add_help=False,
        )
        self.named: dict[str, argparse.Action] = {}
        self.examples_of: dict[str, str] = {}
        self.shown = None if show_all or not everyday else everyday
        self.full_help = "--help-all" if everyday else "--help"
        self.add_argument("-h", "--help", action="help", help="show this help and exit")
        if everyday:
            self.add_argument("--help-all", action="help", help="show all options and exit")

    def add_fields(
        self, kind: type, title: str | None = None, defaults: Any = None, leave_out: Collection[str] = ()
    ) -> None:
        """Add a flag for each field of a dataclass; where all are shown, in a group with this title.

        With `defaults`, an object of the dataclass, the help shows its values, and a bool takes True or False.
        """
        group = self if title is None or self.shown else self.add_argument_group(title)
        docs = field_docs(kind)
        for one in fields(kind):
            if one.name not in leave_out:
                self._add_field(group, one, docs[one.name], defaults)

    def _add_field(self, group: Any, one: Field[Any], doc: str, defaults: Any) -> None:
        kind, many = _value_type(one)
        metavar, choices = one.metadata.get("metavar", METAVARS.get(kind)), _choices(kind)
        default = one.default if defaults is None else getattr(defaults, one.name)
        required, text = default is MISSING, doc.replace("%", "%%")
        name = argument = flag(one.metadata.get("flag", one.name))
        keywords: dict[str, Any] = {"dest": one.name, "nargs": "+" if many else None, "required": required}
        if one.metadata.get("positional"):
            name, argument = metavar, one.name
            word = f"{metavar} ..." if many else metavar
            self.usage = f"{self.usage} {word if required else f'[{word}]'}"
            keywords = {"nargs": "*" if many else None if required else "?"}
        elif one.metadata.get("repeat"):
            keywords = {"dest": one.name, "action": "append"}
        elif kind is bool and defaults is None:
            keywords = {"dest": one.name, "action": "store_true", "default": argparse.SUPPRESS}
        else:
            self.examples_of[name] = EXAMPLES.get(kind, metavar) if choices is None else str(choices[0])
            if default not in (None, (), "", MISSING):
                values = default if isinstance(default, tuple) else [default]
                shown = " ".join(f"{value:g}" if type(value) is float else str(value) for value in values)
                text = re.sub(r" \(default: [^)]*\)", "", text) + f" (default: {shown})"
                self.examples_of[name] = shown
        if keywords.get("action") != "store_true":
            keywords |= {"metavar": metavar, "choices": choices, "type": self._converter(name, kind)}
        if self.shown and one.name not in self.shown:
            text = argparse.SUPPRESS
        self.named[name] = group.add_argument(argument, help=text, **keywords)

    def read(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the values that the user named, by field. Raises UserError for a mistake, SystemExit after help."""
        try:
            found, rest = self.parse_known_intermixed_args([_with_hyphens(word) for word in argv])
        except argparse.ArgumentError as error:  # a wrong number of values; wrong values raise _WrongValue
            name = str(error.argument_name)
            if name in self.examples_of:
                raise UserError(f"{name}: its value is missing; {self._example(name)}") from None
            raise UserError(f"{name} takes no value; type {name} alone") from None
        except _WrongValue as error:
            raise UserError(str(error)) from None
        if rest:
            raise UserError(self._explain_unknown(rest))
        return {name: tuple(value) if isinstance(value, list) else value for name, value in vars(found).items()}

    def error(self, message: str) -> NoReturn:
        """Raise UserError for an argument that is required and missing, which argparse names at the message's end."""
        missing = message.rpartition(": ")[2].partition(", ")[0]
        raise UserError(f"{missing} is missing; for example {self.examples.splitlines()[0].strip()}")

    def _explain_unknown(self, words: Sequence[str]) -> str:
        unknown = [word for word in words if word.startswith("--")]
        if not unknown:
            quoted = 'a text goes in quotes: --prompt "..."' if "--prompt" in self.named else ""
            return f"{words[0]!r}: one argument too many; {quoted or f'{self.prog} --help shows what it takes'}"
        name = unknown[0].partition("=")[0]
        known = [one[2:] for one in self.named if one.startswith("--")]
        close = [one for one in [SYNONYMS.get(name[2:], "")] if one in known] or get_close_matches(name[2:], known, n=1)
        hint = f"did you mean --{close[0]}?" if close else f"{self.prog} {self.full_help} shows all"
        return f"{name}: unknown option; {hint}"

    def _example(self, name: str) -> str:
        """Return an example of a flag: from the help's examples, else its default, else any."""
        found = re.search(rf'{name} ([^\s"]+)', self.examples)
        return f"for example {name} {found[1] if found else self.examples_of[name]}"

    def _converter(self, name: str, kind: Any) -> Callable[[str], Any]:
        """Return what makes a value of the user's word, or raises _WrongValue."""
        choices = _choices(kind)

        def convert(word: str) -> Any:
            if choices is not None:
                found = {str(choice): choice for choice in choices}
                if word not in found:
                    raise _WrongValue(f"{name} {word}: no such choice; {nearest(word, found)}")
                return found[word]
            try:
                return kind(word)
            except ValueError:
                number = "a whole number" if kind is int else "a number"
                raise _WrongValue(f"{name} {word}: not {number}; {self._example(name)}") from None

        return convert


class _WrongValue(Exception):
    """A value that does not fit its flag. Not a ValueError: argparse would put its words around the message."""


def parser_of(options: type, command: str, about: str | None, argv: Sequence[str] = ()) -> Parser:
    """Return the parser of a command that has no options but those of one dataclass."""
    parser = Parser(command, about)
    parser.add_fields(options)
    return parser


def add_settings(parser: Parser, argv: Sequence[str]) -> None:
    """Add a flag for every setting of a run; the help shows the values of the preset that is named."""
    words = [part for word in argv for part in word.split("=", 1)]
    config = load_preset(dict(pairwise(words)).get("--preset", DEFAULT_PRESET))
    for part, kind in PARTS.items():
        parser.add_fields(kind, part, getattr(config, part), leave_out=("document_token",))


def option(metavar: str, default: Any = None) -> Any:
    """Return a dataclass field whose value has this name in the help."""
    return field(default=default, metadata={"metavar": metavar})


def positional(metavar: str, default: Any = MISSING) -> Any:
    """Return a dataclass field that is given without a flag; without a default it is required."""
    return field(default=default, metadata={"metavar": metavar, "positional": True})


def field_docs(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass, inherited ones included.

    >>> from nanogpt.config import DataConfig
    >>> field_docs(DataConfig)["encoding"]
    'encoding of the text files'
    """
    docs = {}
    for one in reversed(kind.__mro__[:-1]):
        module = _parsed(one.__module__)
        body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == one.__name__)
        for statement, below in pairwise(body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(text.split())
    return docs


@cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def _value_type(one: Field[Any]) -> tuple[Any, bool]:
    """Return the type of a field's single value, and whether several may be given."""
    hint: Any = one.type
    if hint is Any:
        return str, isinstance(one.default, tuple)
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    return (get_args(hint)[0], True) if get_origin(hint) is tuple else (hint, False)


def _choices(kind: Any) -> tuple[Any, ...] | None:
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (True, False) if kind is bool else None


def _with_hyphens(word: str) -> str:
    """Accept `--n_embd` for `--n-embd`, as nanoGPT spells it."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if word.startswith("--") else word


# What several commands share


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Which run a command works with."""

    run: str | None = positional("RUN", None)
    """run folder, or its name in runs/ (default: the newest there, or the starter model)"""
    checkpoint: str = option("best|last|STEP", "best")
    """checkpoint of the run, or a step of its history"""

    def open(self, device: str) -> "Run":
        """Load the run, and print what the user should know. Raises UserError, as `nanogpt.load`."""
        from nanogpt.runs.run import load

        run = load(chosen(self.run), checkpoint=self.checkpoint, device=device)
        print_notes(run.notes)
        return run


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where a server listens, and who may connect."""

    host: str = "127.0.0.1"
    """address to listen on; any but this machine's own needs --token"""
    port: int = 8000
    """port to listen on; 0 picks a free one"""
    token: str | None = None
    """password that clients must send, as API key or in the address (default: the variable NANOGPT_TOKEN)"""

    def access(self, hosts: tuple[str, ...] = (), origins: tuple[str, ...] = ()) -> "Access":
        """Return who may connect. Raises UserError for a wrong port, or another host without a token."""
        from nanogpt.serving.settings import Access

        if not 0 <= self.port <= LAST_PORT:
            raise UserError(f"--port is {self.port}; choose one from 0 (picks a free one) to {LAST_PORT}")
        token = self.token if self.token is not None else os.environ.get("NANOGPT_TOKEN") or None
        return Access(host=self.host, token=token, hosts=hosts, origins=origins)


@dataclass(frozen=True, kw_only=True)
class TextOptions(TextConfig):
    """How the text of a command is read."""

    yes: bool = False
    """fetch a text whose http(s) address is given, without asking"""

    def corpus(self, text: str | Sequence[str] | None, config: Config | None = None) -> "Corpus":
        """Return the text of a path or name, as for training. Raises UserError."""
        from nanogpt.text.corpus import load_corpus

        return load_corpus(text, config, **{one.name: getattr(self, one.name) for one in fields(TextOptions)})


def chosen(named: str | None) -> Path | str:
    """Return the run that was named, or the newest one; print a note where it is the starter model instead."""
    if named is not None:
        return named
    from nanogpt.runs.find import newest_or_starter

    path, notes = newest_or_starter()
    print_notes(notes)
    return path


def is_run(name: str) -> bool:
    """Return whether this is the folder or the name of a run, and not that of a file."""
    with contextlib.suppress(OSError):  # too long a name or an unreadable folder: what reads it as a text reports that
        if not Path(name).is_file():
            from nanogpt.runs.find import find_folder

            return (find_folder(name) / "config.toml").exists()
    return False


def print_notes(notes: Collection[str]) -> None:
    """Print notes on standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
