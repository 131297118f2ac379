"""A process that runs and runs, until a file says that it is enough; a line for each round.

python -m profile_pipelines_tests.backup.busy FOLDER LEDGER
"""

from __future__ import annotations

import sys
from pathlib import Path

from profile_pipelines_tests.privacy.reminders import Reminders, declared


def main(folder: Path, ledger: str) -> None:
    """Each round brings a customer, and syncs, merges, evaluates, ticks and sends."""
    company = Reminders(folder, declared(), ledger=ledger)
    number = 100
    while not (folder / "enough").exists():
        number += 1
        company.customer(str(number))
        company.remind(full=number % 3 == 0)
        if number % 4 == 0:
            lake = company.workspace.lake
            lake.profiles(company.workspace.catalogue).pin().compact(lake.engine, force=True)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
