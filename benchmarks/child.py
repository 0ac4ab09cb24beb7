"""Starts one command, waits for it, and writes down when it began and what it needed. Run as a script, by itself.

    python -I -S child.py REPORT COMMAND [WORD ...]

Between a benchmark and what it measures because Linux counts the memory of whoever starts a process as the process'
own peak: a benchmark that has loaded torch could see no child smaller than itself. This one has loaded nothing. REPORT
gets a line of JSON: `start` by the monotonic clock, which all processes of a machine share, `seconds`, `code`, and
`peak_bytes`, the largest resident set of the command or of a process that it waited for.
"""

import json
import os
import sys
import time


def main() -> None:
    """Run it with our own standard output and error."""
    report, *command = sys.argv[1:]
    start = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    seconds = time.monotonic() - start
    unit = 1 if sys.platform == "darwin" else 1024
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123  (pathlib takes longer to import than the rest)
        json.dump({"start": start, "seconds": seconds, "code": code, "peak_bytes": used.ru_maxrss * unit}, file)


if __name__ == "__main__":
    main()
