"""Random streams: each is a function of the seed, its purpose and its position, and of nothing else.

So neither an evaluation nor a sample changes a run, and a resumed run draws what it would have drawn.
"""

import hashlib


def stream(seed: int, purpose: str, *position: int) -> int:
    """Return a 63-bit seed for one purpose at one position: `stream(1337, "dropout", step, sample)`.

    A digest, so that neighbouring positions have unrelated seeds.
    """
    words = ":".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") >> 1


def uniform(seed: int, purpose: str, *position: int) -> float:
    """Return a number in [0, 1) with 53 random bits, a function of its position."""
    return (stream(seed, purpose, *position) >> 10) / 2**53
