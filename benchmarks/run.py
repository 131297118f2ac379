"""Measures profile_pipelines beside its peers on one PostgreSQL, and checks that all agree.

    python benchmarks/run.py                                     # 1,000,000 customers
    python benchmarks/run.py --customers 20000 --only floor,polars,pandas

Each side runs as a process of its own, one after the other; its CPU seconds are user and system
time of the process and its children, by the operating system's account. Exits with 1 when sides
disagree on a profile cell or an audience member, and with 2 when a side fails or
another benchmark runs in the same folder.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from agreement import Result, differences
from data import FOLDER, NOW, NOW_CHANGED, NOW_UNCHANGED, Postgres, change
from processes import Measurement, SideError, compile_bytecode, measured
from rich.console import Console
from rich.table import Table

SIDES = {
    "floor": ["floor.py"],
    "polars": ["peer_polars.py"],
    "polars_landed": ["peer_polars.py", "--landed"],
    "pandas": ["peer_pandas.py"],
    "ours": ["ours.py"],
}
PHASES = {
    "full build": NOW,
    "1 % of billing changed": NOW_CHANGED,
    "nothing changed": NOW_UNCHANGED,
}
console = Console()


def measure(side: str, url: str, folder: Path, now: datetime, *more: str) -> Measurement:
    """Run one side from start to end."""
    script, *flags = SIDES[side]
    return measured(folder, script, url, str(folder), _iso(now), *flags, *more, BENCH_URL=url)


def agree(sides: list[str], folder: Path) -> bool:
    """Compare every side's profiles and audiences with the first's, and say so."""
    reference, *others = sides
    expected = Result(folder / reference)
    members = ", ".join(f"{name} {keys.len():,}" for name, keys in expected.members.items())
    console.print(f"{reference}: {expected.profiles.height:,} profiles; members: {members}")
    same = True
    for other in others:
        found = differences(expected, Result(folder / other))
        same = same and not found
        for line in found:
            console.print(f"[red]{reference} (one) and {other} (other) disagree: {line}[/]")
        if not found:
            console.print(f"{reference} and {other} agree on every cell and member")
    return same


def table(phase: str, costs: dict[str, Measurement]) -> Table:
    """The measurements of a phase, with each side's CPU in terms of every other side's."""
    result = Table(title=phase, title_justify="left")
    result.add_column("side", no_wrap=True)
    for heading in ("CPU s", "wall s", "peak MiB", *(f"÷ {side}" for side in costs)):
        result.add_column(heading, justify="right")
    for side, one in costs.items():
        ratios = (f"{one.cpu / other.cpu:.2f}" for other in costs.values())
        result.add_row(side, f"{one.cpu:.1f}", f"{one.wall:.1f}", f"{one.peak:,.0f}", *ratios)
    return result


def benchmark(sides: list[str], server: Postgres, template: str, out: Path) -> bool:
    """Measure every phase on every side; whether the sides agree in all of them."""
    database = server.copy(template)
    url = server.url(database)
    compared = [side for side in sides if side != "floor"]
    same = True
    for phase, now in PHASES.items():
        if now == NOW_CHANGED:
            with server.connect(database) as cursor:
                console.print(f"{change(cursor):,} rows of billing changed")
        costs: dict[str, Measurement] = {}
        for side in sides:
            with console.status(f"{phase}: {side}"):
                costs[side] = measure(side, url, out / side, now)
        if "ours" in sides:
            measure("ours", url, out / "ours", now, "--export")
        console.print(table(phase, costs))
        if len(compared) > 1:
            same = agree(compared, out) and same
    return same


def _iso(now: datetime) -> str:
    return now.replace(tzinfo=UTC).isoformat()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default=",".join(SIDES), help="sides, separated by commas")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="data and results")
    parser.add_argument("--keep", action="store_true", help="keep what the sides have written")
    arguments = parser.parse_args()
    sides = arguments.only.split(",")
    if unknown := set(sides) - set(SIDES):
        parser.error(
            f"no side is called {', '.join(sorted(unknown))}; there are {', '.join(SIDES)}"
        )
    arguments.folder.mkdir(parents=True, exist_ok=True)
    lock = (arguments.folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        parser.error(f"another benchmark runs in {arguments.folder}; wait for it to end")
    out = arguments.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    compile_bytecode()
    server = Postgres(arguments.folder)
    try:
        with console.status(f"filling PostgreSQL with {arguments.customers:,} customers"):
            template = server.fill(arguments.customers, arguments.seed)
        return 0 if benchmark(sides, server, template, out) else 1
    except SideError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 2
    finally:
        server.stop()
        if not arguments.keep:
            shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
