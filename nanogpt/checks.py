"""Checks of single values, each naming the value and what to choose instead."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

from nanogpt.errors import UserError, nearest

LARGEST_INT = 1 << 1000
"""Near the largest that a float holds."""


def check_types(config: Any) -> None:
    """Each value against its annotation: TOML and Python callers are not checked by anyone else."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        allowed: tuple[Any, ...] = get_args(kind) or (kind,)
        if get_origin(kind) is Literal:
            if value not in allowed:
                raise UserError(f"{name} is {value!r}; {nearest(str(value), map(str, allowed))}")
        elif get_origin(kind) is tuple:
            if not isinstance(value, tuple) or any(type(one) is not allowed[0] for one in value):
                raise UserError(f"{name} is {value!r}; give a tuple of {allowed[0].__name__}, such as ('a', 'b')")
        elif float in allowed and isinstance(value, int) and not isinstance(value, bool):
            if abs(value) > LARGEST_INT:
                raise UserError(f"{name} is a number of {len(str(value)):,} digits; give a smaller one")
        elif isinstance(value, tuple) and any(get_origin(one) is tuple for one in allowed):  # one or several
            if any(type(one) is not str for one in value):
                raise UserError(f"{name} is {value!r}; give texts, such as ('a', 'b')")
        elif type(value) not in allowed:
            wanted = " or ".join("left out" if one is type(None) else one.__name__ for one in allowed)
            raise UserError(f"{name} is {value!r}, of type {type(value).__name__}; give {wanted}")


def check_positive(name: str, value: float | None) -> None:
    if value is not None and not 0 < value < float("inf"):
        raise UserError(f"{name} is {value}; choose a number above 0")


def check_share(name: str, value: float | None, top: bool = False) -> None:
    if value is not None and not (0 <= value < 1 or (top and value == 1)):
        raise UserError(f"{name} is {value}; choose a share from 0 to {'1' if top else 'below 1'}")


def check_not_negative(name: str, value: float) -> None:
    """Raise UserError below 0."""
    if not 0 <= value < float("inf"):
        raise UserError(f"{name} is {value}; choose 0 or more")
