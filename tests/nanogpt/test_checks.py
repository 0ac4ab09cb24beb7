"""Checks of single values."""

from dataclasses import dataclass
from typing import Literal

import pytest

from nanogpt.checks import check_not_negative, check_positive, check_share, check_types
from nanogpt.errors import UserError


@dataclass
class Example:
    count: int = 1
    maybe: int | None = None
    share: float = 0.5
    kind: Literal["one", "two"] = "one"
    name: str = ""


@pytest.mark.parametrize(
    "settings",
    [{}, {"maybe": 3}, {"maybe": None}, {"share": 1}, {"kind": "two"}, {"name": "x"}, {"share": float("inf")}],
)
def test_right_types_pass(settings):
    check_types(Example(**settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": "1"}, "count is '1', of type str; give int"),
        ({"count": None}, "count is None"),
        ({"maybe": 1.5}, "maybe is 1.5, of type float; give int or left out"),
        ({"share": True}, "share is True, of type bool; give float"),
        ({"kind": "tow"}, "kind is 'tow'; did you mean 'two'"),
        ({"kind": 3}, "kind is 3; valid: one, two"),
        ({"name": 5}, "name is 5"),
    ],
)
def test_wrong_types_name_the_value_and_what_to_give(settings, words):
    with pytest.raises(UserError) as caught:
        check_types(Example(**settings))
    assert words in str(caught.value)


def test_positive():
    check_positive("n", None)
    check_positive("n", 1e-9)
    for value in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"n is {value}; choose a number above 0"):
            check_positive("n", value)


def test_not_negative():
    check_not_negative("n", 0)
    with pytest.raises(UserError, match="n is -1; choose 0 or more"):
        check_not_negative("n", -1)


def test_share():
    check_share("p", None)
    check_share("p", 0.0)
    check_share("p", 1.0, top=True)
    for value, top in ((1.0, False), (1.01, True), (-0.1, True), (float("nan"), True)):
        with pytest.raises(UserError, match=f"p is {value}; choose a share"):
            check_share("p", value, top=top)
