"""Fixtures, and the import path of `kinds`, which the tests in this folder share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kinds import KINDS, model_of


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)
