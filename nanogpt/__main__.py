"""`python -m nanogpt`, the same as the command `nanogpt`."""

import sys

from nanogpt.cli.main import main

sys.exit(main())
