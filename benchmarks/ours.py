"""profile_pipelines itself, on the same database and catalogue.

    python ours.py URL FOLDER NOW             # measured: everything from start to audiences
    python ours.py URL FOLDER NOW --show      # measured by profile_show.py: one customer's profile
    python ours.py URL FOLDER NOW --export    # not measured: writes what `agreement.py` compares

The lake and the ledger lie in FOLDER, so that the next run into it is incremental.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from profile_pipelines.workspace import Places, Workspace

CATALOGUE = Path(__file__).resolve().parent / "catalog"


RUN = ["run", "--all"]
SHOW = ["profile", "show", "C-000123"]


def command(words: list[str], places: Places, now: datetime) -> None:
    """`profile-pipelines …`: everything that a user's command costs, its table included."""
    from profile_pipelines.cli.main import main

    named = ["--catalog", places.catalogue, "--lake", places.lake, "--ledger", places.ledger]
    if code := main([*map(str, named), *words, "--now", now.isoformat()]):
        raise SystemExit(code)


def export(workspace: Workspace, folder: Path) -> None:
    """Write `profiles.parquet` and `audiences/NAME.parquet`, in the form README.md describes."""
    from profile_pipelines.reading import Customers

    customers = Customers(workspace)
    profiles = customers.profiles().to_polars()
    profiles.write_parquet(folder / "profiles.parquet")
    for name in workspace.catalogue.audiences:
        target = folder / "audiences" / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        members = customers.members(name).to_polars().filter("member")
        members.select("profile_id").write_parquet(target)


def main() -> None:
    """Open the workspace in the folder, and run, show or export."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    now = datetime.fromisoformat(sys.argv[3])
    now = now.replace(tzinfo=UTC) if now.tzinfo is None else now
    os.environ["BENCH_URL"] = url
    folder.mkdir(parents=True, exist_ok=True)
    ledger = f"sqlite:///{(folder / 'ledger.db').resolve()}"
    places = Places(CATALOGUE, folder / "lake", ledger)
    if "--export" in sys.argv:
        export(Workspace(places), folder)
    else:
        command(SHOW if "--show" in sys.argv else RUN, places, now)


if __name__ == "__main__":
    main()
