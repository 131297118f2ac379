"""profile_pipelines itself, on the same database and catalogue.

    python ours.py URL FOLDER NOW             # measured: everything from start to audiences
    python ours.py URL FOLDER NOW --export    # not measured: writes what `agreement.py` compares

The lake and the ledger lie in FOLDER, so that the next run into it is incremental.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

CATALOGUE = Path(__file__).resolve().parent / "catalog"


def run_pipeline_placeholder(url: str, folder: Path, now: datetime) -> None:
    """Run everything that is due at `now` (aware UTC), as `profile-pipelines run --all` does."""
    raise SystemExit("benchmarks/ours.py isn't connected to the pipeline yet: write run_pipeline")


def export_placeholder(url: str, folder: Path, now: datetime) -> None:
    """Write `profiles.parquet` and `audiences/NAME.parquet`, in the form README.md describes."""
    raise SystemExit("benchmarks/ours.py isn't connected to the pipeline yet: write export")


if __name__ == "__main__":
    act = export_placeholder if "--export" in sys.argv else run_pipeline_placeholder
    act(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
