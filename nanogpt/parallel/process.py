"""Settings of this process that make training faster: OpenMP's idle threads, the C library's freed memory.

They change how long a training takes, never what it computes. The command line makes them when it starts. A library
call doesn't change its host process: from Python, call `keep_freed_memory` yourself before you train. An environment
variable named here that you set yourself wins.
"""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt, as in glibc's malloc.h"""
MALLOC_SETTINGS = (
    (M_MMAP_THRESHOLD, 32 << 20),  # the largest that glibc takes; its default starts at 128 KiB
    (M_TRIM_THRESHOLD, (1 << 31) - 1),
    (M_TOP_PAD, 64 << 20),
)
MALLOC_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def prepare_process() -> None:
    """Make both settings; call it before torch is imported."""
    limit_spinning()
    keep_freed_memory()


def limit_spinning() -> None:
    """Let OpenMP's idle threads spin for a moment only, then sleep; libgomp reads this when torch loads it.

    A spinning thread takes the processor from the thread it waits for as soon as anything else runs: next to one busy
    program, a step of a small model took 4 to 50 times as long. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) costs a
    quiet machine nearly half its speed.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors below 32 MB, up to 2 GB, for the tensors of the next step.

    Otherwise it returns the memory to the system and requests it again page by page: with 5 layers of 192 channels and
    4,096 tokens a step, 40,000 page faults and a fifth of the time. Other C libraries are left alone.
    """
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for parameter, value in MALLOC_SETTINGS:
            mallopt(parameter, value)
