"""For the module `kinds`, which the tests in this folder share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
