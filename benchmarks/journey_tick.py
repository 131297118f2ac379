"""What a tick costs over many enrolments: CPU seconds, beside one read of the same rows.

    python benchmarks/journey_tick.py                    # 1,000,000 enrolments
    python benchmarks/journey_tick.py --profiles 50000

A launch enrols every profile; a tick in which nothing is due looks at nobody; one in which 1 % of
the facts changed looks at all of them and lets those leave; the last moves everybody on. Each runs
in a process of its own. Exits with 1 when any of them costs 10 CPU seconds or more.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
LIMIT = 10.0
PHASES = {
    "launch: everyone enters": (START, False),
    "nothing is due": (START + timedelta(hours=1), False),
    "1 % leave": (START + timedelta(hours=2), True),
    "everyone moves on": (START + timedelta(days=3), False),
}
SYNC = """
import sys
from datetime import datetime
from pathlib import Path
from profile_pipelines import journey_steps, pipeline
from profile_pipelines.workspace import Places, Workspace

folder, now, what = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]
ledger = sys.argv[4] if len(sys.argv) > 4 else f"sqlite:///{folder}/ledger.db"
space = Workspace(Places(folder / "catalog", folder / "lake", ledger))
if what == "tick":
    print(journey_steps.tick_journey(space, "reminder", now=now))
else:
    for due in pipeline.due_syncs(space, now, everything=True):
        pipeline.sync_attributes(space, due, now=now, run_id=now.isoformat())
    pipeline.resolve_identities(space, now=now, run_id=now.isoformat())
    pipeline.merge_profiles(space, now=now, run_id=now.isoformat())
    pipeline.evaluate_audience(space, "active", now=now, run_id=now.isoformat())
"""


def catalogue(folder: Path) -> None:
    """A journey over one Parquet file: a message, two days' wait, a branch, a message."""
    send = {"send": {"channel": "drop", "template": "hello"}}
    files = {
        "identifiers.yaml": {"customer_no": {"normalise": ["trim"]}},
        "attributes.yaml": {
            name: {
                "type": kind, "sources": ["lake"], "fresh_within": "400 days",
                "max_changed": "100%", **more,
            }
            for name, kind, more in (
                ("status", "string", {}), ("tier", "string", {}), ("renewal", "string", {}),
                ("opt_in", "boolean", {"consent": "email"}),
            )
        },
        "sources/lake.yaml": {
            "system": "lake", "kind": "warehouse",
            "connection": {"type": "files", "root": str(folder / "files")},
            "syncs": {
                "people": {
                    "path": "*.parquet", "key": "no", "identifiers": {"customer_no": "no"},
                    "attributes": {n: n for n in ("status", "tier", "renewal", "opt_in")},
                }
            },
        },
        "audiences/active.yaml": {"audience": "active", "where": {"status": {"is": "active"}}},
        "channels.yaml": {"channels": {"drop": {"type": "file"}}},
        "journeys/reminder.yaml": {
            "journey": "reminder", "audience": "active", "consent": "email", "holdout": "10%",
            "exit_when": {"renewal": {"is": "confirmed"}},
            "steps": [
                {"wait": "2 days"},
                {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [{"wait": "1 day"}, send]},
                            {"otherwise": [{"wait": "5 days"}, send]}]},
            ],
        },
    }  # fmt: skip
    for name, content in files.items():
        path = folder / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    template = folder / "catalog" / "templates" / "hello.txt"
    template.parent.mkdir()
    template.write_text("Subject: Hello\n\n{{ tier }}\n")


def people(folder: Path, count: int, confirmed: int) -> None:
    """The file that the journey's facts come from; so many have confirmed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "no": pa.array([f"{n:09d}" for n in range(count)]),
            "status": pa.array(["active"] * count),
            "tier": pa.array(["gold" if n % 3 else "blue" for n in range(count)]),
            "renewal": pa.array(["confirmed" if n < confirmed else "open" for n in range(count)]),
            "opt_in": pa.array([True] * count),
            "address": pa.array([f"c{n}@example.com" for n in range(count)]),
        }
    )
    (folder / "files").mkdir(exist_ok=True)
    pq.write_table(table, folder / "files" / "people.parquet")


def measured(folder: Path, now: datetime, what: str) -> tuple[float, str]:
    """CPU seconds of one process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", SYNC, str(folder), now.isoformat(), what],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profiles", type=int, default=1_000_000)
    arguments = parser.parse_args()
    console = Console()
    rows = Table(title=f"{arguments.profiles:,} enrolments, SQLite", title_justify="left")
    for heading in ("tick", "CPU s", "what it did"):
        rows.add_column(heading)
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        catalogue(folder)
        for phase, (now, changed) in PHASES.items():
            with console.status(phase):
                people(folder, arguments.profiles, arguments.profiles // 100 if changed else 0)
                measured(folder, now, "sync")
                cpu, told = measured(folder, now, "tick")
            rows.add_row(phase, f"{cpu:.1f}", told.partition("steps=")[0].rstrip(", "))
            worst = max(worst, cpu)
    console.print(rows)
    console.print(json.dumps({"cpu_seconds": round(worst, 2), "limit": LIMIT}))
    return int(worst >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
