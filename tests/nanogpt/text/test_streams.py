"""What can be read only once, and files that decompress to more than the memory holds."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from nanogpt.files import cache_folder
from nanogpt.text.records import Spool


def test_a_spool_can_be_read_again_and_has_no_name():
    spool = Spool(lambda: iter([b"one ", b"two"]))
    assert spool.open().read(2) == b"on"
    assert spool.open().read() == b"one two"
    assert not list(cache_folder().iterdir()) or os.name != "posix"


SCAN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (300_000_000,) * 2)
from nanogpt.text.corpus import load_corpus
try:
    print(load_corpus(sys.argv[1]).scan().characters)
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        pytest.param("bomb.txt.gz", "350000000\n", marks=pytest.mark.slow),
        pytest.param("bomb.txt.zst", "350000000\n", marks=pytest.mark.slow),
        ("bomb.jsonl.gz", "bomb.jsonl.gz, line 1: longer than 64,000,000 bytes"),
    ],
)
def test_a_file_larger_than_the_memory(name, printed):
    """More than the memory that the process may use, of one letter, in less than 400 kB."""
    if name.endswith(".gz"):
        data = gzip.compress(b"a" * 10_000_000) * 35
    else:
        compressor = zstandard.ZstdCompressor().compressobj()
        data = b"".join(compressor.compress(b"a" * 10_000_000) for _ in range(35)) + compressor.flush()
    assert len(data) < 400_000
    Path(name).write_bytes(data)
    found = subprocess.run([sys.executable, "-c", SCAN, name], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(printed)
