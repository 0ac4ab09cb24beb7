import sys
from pathlib import Path

# For the module `tiny_section`, which the tests in this folder share.
sys.path.insert(0, str(Path(__file__).parent))
