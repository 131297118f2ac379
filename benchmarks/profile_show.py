"""Wall time of `profile show`, cold, on 1,000,000 profiles.

    python benchmarks/profile_show.py [--customers 1000000] [--rounds 10] [--at-most 1]

Each round is a process of its own, from start to end. Beside it stands a process that does nothing
but import the libraries that it works with. Exits with 1 when the quickest round takes longer than
`--at-most` seconds.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC
from pathlib import Path
from statistics import median

from processes import compile_bytecode, measured

LIBRARIES = (
    "duckdb",
    "deltalake",
    "pydantic",
    "rich.table",
    "sqlalchemy",
    "sqlglot",
    "typer",
    "yaml",
)


def main() -> int:
    from data import FOLDER, NOW, Postgres  # which the process that only imports doesn't need

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--at-most", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    compile_bytecode()
    now, out = NOW.replace(tzinfo=UTC).isoformat(), given.folder / "profile_show"
    shutil.rmtree(out, ignore_errors=True)
    server = Postgres(given.folder)
    try:
        url = server.url(server.fill(given.customers, given.seed))
        measured(out, "ours.py", url, str(out), now, BENCH_URL=url)
    finally:
        server.stop()
    taken = {"imports": list[float](), "show": list[float]()}
    for _ in range(given.rounds):
        taken["imports"].append(measured(out, "profile_show.py", "imports").wall)
        shown = measured(out, "ours.py", url, str(out), now, "--show", BENCH_URL=url)
        taken["show"].append(shown.wall)
    shutil.rmtree(out, ignore_errors=True)
    for side, seconds in taken.items():
        print(f"{side:8} {min(seconds):.2f} s at best  {median(seconds):.2f} s in the middle")
    ratio = min(taken["show"]) / min(taken["imports"])
    print(
        f"one of {given.customers:,} profiles: {min(taken['show']):.2f} s (at most "
        f"{given.at_most:g} s), {ratio:.2f} × what importing the libraries takes"
    )
    return int(min(taken["show"]) > given.at_most)


if __name__ == "__main__":
    if sys.argv[1:] == ["imports"]:
        for name in LIBRARIES:
            __import__(name)
    else:
        sys.exit(main())
