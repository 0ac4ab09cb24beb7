"""Random streams: each is a function of the seed, its purpose and its place, and of nothing else.

So neither an evaluation nor a sample in between changes a run, and a resumed run draws what it would have drawn.
"""

import hashlib


def stream(seed: int, purpose: str, *place: int) -> int:
    """A 63-bit seed for one purpose at one place: `stream(1337, "dropout", step, micro_step)`.

    The digest of the words themselves, so that streams for neighbouring places have nothing in common.
    """
    words = ":".join([str(seed), purpose, *map(str, place)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") >> 1


def uniform(seed: int, purpose: str, *place: int) -> float:
    """One number in [0, 1) with 53 random bits, as a function of its place."""
    return (stream(seed, purpose, *place) >> 10) / 2**53
