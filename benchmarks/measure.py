"""Runs a command and writes what it cost as JSON.

    python measure.py RESULT LOG COMMAND [ARGUMENT …]

It's a process of its own because Linux counts the memory of whoever starts a process into that
process's peak: this one is small, `run.py` isn't.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main(result: str, log: str, *command: str) -> int:
    """Write CPU (user and system, with all children) and wall seconds and the peak in MiB."""
    started = time.perf_counter()
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    with open(result, "w") as file:
        cost = {
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": wall,
            "peak": usage.ru_maxrss * unit / 2**20,
        }
        json.dump(cost, file)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
