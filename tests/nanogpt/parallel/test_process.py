"""Settings of OpenMP and of the C library: made where nobody else made them, and felt."""

import os
import platform
import subprocess
import sys

import pytest

from nanogpt.parallel.process import MALLOC_VARIABLES, share_processors

of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")

FAULTS = """
import resource, sys
import numpy as np
from nanogpt.parallel.process import prepare_process
if sys.argv[1] == "keep":
    prepare_process()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(10):
    [np.ones(2_000_003) for _ in range(7)]  # 16 MB each
print(faults() - before)
"""


def page_faults(word: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES} | variables
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, word], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@of_glibc
def test_memory_that_was_given_back_is_taken_again_without_page_faults():
    kept, given_back = page_faults("keep"), page_faults("leave")
    assert kept < given_back / 5


@of_glibc
def test_who_sets_a_variable_of_malloc_decides():
    assert page_faults("keep") < page_faults("keep", MALLOC_MMAP_THRESHOLD_="65536") / 5


def test_idle_threads_sleep_soon_unless_the_user_said_otherwise(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "taken away again when the test is over")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_processors()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share_processors()
    assert os.environ["GOMP_SPINCOUNT"] == "3000"
