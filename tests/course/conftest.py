import random

import pytest

SYLLABLES = ("ka", "lo", "mi", "ra", "tes", "un")


@pytest.fixture(scope="session")
def text() -> str:
    """About 4,000 characters with something to learn in them: words of syllables, in lines, always the same."""
    draw = random.Random(0)
    words = ("".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(800))
    return "".join(word + draw.choice((" ", " ", " ", ",\n")) for word in words)
