"""What a section adds: names, and differences."""

from tiny_section import TINY
from torch import nn

from docs.building.adds import Name, difference, main_of, model_of, new_names, outline


def test_new_names_are_those_with_a_docstring_that_are_no_demonstration():
    assert new_names(TINY) == [Name("double", "Twice x: any number.")]


def test_the_code_of_main_alone():
    code = main_of(TINY)
    assert code.startswith("def main(steps=3")
    assert code.endswith("**common)")
    assert main_of("x = 1") == ""


def test_a_difference_has_every_line_once():
    assert difference("a\nb\nc", "a\nB\nc") == " a\n-b\n+B\n c"
    assert difference("a", "a") == ""


def test_equal_neighbours_in_an_outline_are_told_once():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(2, 3), nn.Linear(2, 3)

    text = outline(nn.Sequential(*(Pair() for _ in range(3)), nn.ReLU()))
    assert text.splitlines() == [
        "Sequential",
        "  0 to 2: Pair",
        "    query, key: Linear(in_features=2, out_features=3, bias=True)",
        "  3: ReLU()",
    ]


def test_the_fourth_section_has_a_head_where_the_third_had_the_mean():
    changes = difference(model_of("s03_positions"), model_of("s04_self_attention")).splitlines()
    changed = [line.split() for line in changes if line[0] in "+-"]
    assert changed[0] == ["-", "body:", "Averaging()"]
    assert changed[1] == ["+", "body:", "Head"]
    assert changed[2][1:4] == ["query,", "key,", "value:"]
    assert len(changed) == 3
