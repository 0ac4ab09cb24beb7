"""How this process uses processor and memory: settings of OpenMP and of the C library, made once before the work.

They change how long a training takes, and nothing that it computes. Whoever sets one of the variables of the
environment that are named here decides.
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt, as in glibc's malloc.h."""
MALLOC_SETTINGS = (
    (M_MMAP_THRESHOLD, 32 << 20),  # the largest that glibc takes; of its own it begins at 128 KiB
    (M_TRIM_THRESHOLD, (1 << 31) - 1),
    (M_TOP_PAD, 64 << 20),
)
MALLOC_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def prepare_process() -> None:
    """Both settings, for a program that is about to import torch."""
    share_processors()
    keep_freed_memory()


def share_processors() -> None:
    """Let OpenMP's idle threads spin for a moment only, then sleep; read when torch loads libgomp, so before that.

    A thread that spins while it waits takes the processor from the one it waits for, as soon as anything else runs on
    the machine: beside one busy program a step of a small model took from 4 to 50 times as long. Sleeping at once
    (OMP_WAIT_POLICY=PASSIVE) costs a quiet machine nearly half its speed.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def keep_freed_memory() -> None:
    """Let the C library keep what tensors below 32 MB give back for the tensors of the next step, up to 2 GB.

    Else glibc hands it to the system and takes it again, page by page, in every operation: with 5 layers of 192
    channels and 4,096 tokens a step, 40,000 page faults and a fifth of its time. Larger ones are still handed back.
    Does nothing where the C library is another.
    """
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for parameter, value in MALLOC_SETTINGS:
            mallopt(parameter, value)
