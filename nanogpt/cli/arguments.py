"""Dataclasses to flags: tyro parses, the dataclass' field docstrings are the help.

A config field becomes a flag whose value is None when it is not given, so that what the user named can be told
from what the preset says; the help shows the preset's value.
"""

import ast
import inspect
import sys
from collections.abc import Collection, Sequence
from dataclasses import field, fields, make_dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from nanogpt.config import DEFAULT_PRESET, PARTS, load_preset

Parsed = TypeVar("Parsed")

# Not `str | None`: for a union written so, or with None at its end, tyro imports typeguard to look at the default, a
# fifth of the time that a help takes.
OptionalText = Union[None, str]  # noqa: UP007
OptionalInt = Union[None, int]  # noqa: UP007
OptionalNumber = Union[None, float]  # noqa: UP007
StartFrom = Annotated[OptionalText, tyro.conf.arg(name="from", metavar="RUN", help_behavior_hint="")]
"""`--from`, which is no name in Python"""
FLAT = (tyro.conf.OmitArgPrefixes, tyro.conf.HelptextFromCommentsOff)
"""Flags are called as the fields, and explained by the docstrings below them."""
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""`--json`, without a `--no-json`"""


def parse(kind: type[Parsed], command: str, argv: Sequence[str]) -> Parsed:
    """Read a command's arguments; prints the help or what is wrong with them and exits, with 0 or 2."""
    return tyro.cli(kind, prog=f"nanogpt {command}", args=argv, config=FLAT)


def parse_with_settings(kind: type[Parsed], command: str, argv: Sequence[str]) -> tuple[Parsed, dict[str, Any]]:
    """As `parse`, with every setting of a run as a flag; also those that were named, and their values."""
    options: Any = parse(with_settings(kind, _preset_named(argv)), command, argv)
    return options, given(options, PARTS)


def with_settings(kind: type[Parsed], preset: str = DEFAULT_PRESET) -> type[Parsed]:
    """A command's options, and every setting of a run beside them; the help shows the preset's values."""
    shown = load_preset(preset)
    configs = {part: getattr(shown, part) for part in PARTS}
    return with_flags(kind, optional_flags("Settings", configs, leave_out=("document_token",)))


def with_flags(kind: type[Parsed], flags: Any) -> type[Parsed]:
    """A command's options with further ones beside them."""
    whole = make_dataclass(kind.__name__, [], bases=(kind, flags), frozen=True, kw_only=True)
    whole.__doc__ = kind.__doc__
    return whole


def _preset_named(argv: Sequence[str]) -> str:
    """The preset on the command line, read before the rest so that the help can show its values."""
    for word, following in zip(argv, [*argv[1:], ""]):
        if word == "--preset":
            return following
        if word.startswith("--preset="):
            return word.removeprefix("--preset=")
    return DEFAULT_PRESET


def optional(metavar: str) -> Any:
    """Marks a flag that may be left out; its help says what happens then, so no default is shown."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def optional_flags(name: str, parts: dict[str, Any], leave_out: Collection[str] = ()) -> Any:
    """A dataclass with one group for each named config, each of its fields a flag, None where it is not given.

    The configs' values are what the help shows as defaults.
    """
    groups = {part: _optional_copy(part, config, leave_out) for part, config in parts.items()}
    members = [(part, group, field(default_factory=group)) for part, group in groups.items()]
    return make_dataclass(name, members, frozen=True, kw_only=True)


def given(options: Any, parts: Collection[str]) -> dict[str, Any]:
    """The flags that the user named in some groups, and their values."""
    groups = [getattr(options, part) for part in parts]
    values = {one.name: getattr(group, one.name) for group in groups for one in fields(group)}
    return {name: value for name, value in values.items() if value is not None}


def tell(notes: Collection[str]) -> None:
    """Show what a person should know, apart from what was asked for."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _optional_copy(part: str, config: Any, leave_out: Collection[str]) -> type:
    docs, hints = field_docs(type(config)), get_type_hints(type(config))
    flags: list[tuple[str, Any, Any]] = []
    for one in (one for one in fields(config) if one.name not in leave_out):
        value = getattr(config, one.name)
        shown = "" if value in (None, ()) else f"(default: {value})"
        about = tyro.conf.arg(help=docs[one.name], help_behavior_hint=shown, metavar=_metavar(hints[one.name]))
        flags.append((one.name, Annotated[Union[None, hints[one.name]], about], None))  # noqa: UP007, RUF036
    return make_dataclass(part, flags, frozen=True, kw_only=True)


def field_docs(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass.

    >>> from nanogpt.config import DataConfig
    >>> field_docs(DataConfig)["encoding"]
    'encoding of the text files'
    """
    module = _parsed(kind.__module__)
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    docs = {}
    for statement, below in pairwise(body):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


@cache
def _parsed(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))


def _metavar(hint: Any) -> str:
    """What stands for the value in the help: `INT`, or the choices."""
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    kind = hint if get_origin(hint) is tuple else next((one for one in get_args(hint) if one is not type(None)), hint)
    names = {int: "INT", float: "NUMBER", bool: "{True,False}", str: "TEXT"}
    return names[kind] if kind in names else f"{names[get_args(hint)[0]]} ..."
