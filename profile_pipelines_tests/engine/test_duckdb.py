"""The embedded engine as a process has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SPILLS = """
import atexit, gc, os
atexit.register(gc.freeze)  # as the command line ends
from sqlglot import parse_one
from profile_pipelines.engine import DuckDBEngine

class Holder: pass

holder = Holder()
holder.itself, holder.engine = holder, DuckDBEngine(threads=1, memory_limit="100MB")
query = parse_one("select md5(range::varchar) as t from range(2500000) order by t")
print(holder.engine.write(query, {}, os.path.join(os.environ["TMPDIR"], "out.parquet")).rows)
[own] = [each for each in os.scandir(os.environ["TMPDIR"]) if each.is_dir()]
print(oct(own.stat().st_mode), any(files for _, _, files in os.walk(own)))
"""


def test_nothing_that_was_spilled_outlives_the_process(tmp_path: Path) -> None:
    """A query larger than the memory spills to disk; the end of the process takes that away."""
    ended = subprocess.run(
        [sys.executable, "-c", _SPILLS],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.split() == ["2500000", "0o40700", "True"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
