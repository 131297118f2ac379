"""The recovery drill: backup, loss, proof, restore, run, settle, on the demo in a temporary folder.

`make drill` runs it. It does what a person would, by the commands that a person has, and looks
afterwards whether what was promised is so.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.main import main as command
from profile_pipelines.cli.output import stdout, styled
from profile_pipelines.cli.session import CATALOG, LAKE, LEDGER, open_workspace

_CUSTOMERS = 300
_ERASED = "C-000001"
_LATER = timedelta(days=10)
_REFUSALS, _DEMO = "PROFILE_PIPELINES_REFUSALS", "PROFILE_PIPELINES_DEMO"


class DrillError(Exception):
    """Something wasn't as it is promised."""


def main(customers: int = _CUSTOMERS) -> int:
    """Run the drill; the exit code."""
    for name in (CATALOG, LAKE, LEDGER, _REFUSALS, "DAGSTER_HOME"):
        os.environ.pop(name, None)
    with TemporaryDirectory(prefix="profile_pipelines_drill_") as folder:
        os.environ[_DEMO] = str(Path(folder) / "demo")
        try:
            _drill(Path(folder) / "demo", Path(folder) / "backups", customers)
        except DrillError as error:
            stdout().print(styled(f"\nThe drill failed: {error}", "bold red"), soft_wrap=True)
            return ExitCode.FAILURES
    return ExitCode.OK


def _drill(demo: Path, backups: Path, customers: int) -> None:
    later = f"{datetime.now(UTC) + _LATER:%Y-%m-%d}"
    _do("demo", "--folder", demo, "--customers", customers, ends=(0, 1))
    _do("backup", backups)
    before = _messages(demo)
    _say(f"{_LATER.days} days go by: messages go out, and somebody is erased, before the next one")
    _do("run", "--all", "--now", later, ends=(0, 1))
    _do("erase", _ERASED, "--reference", "drill", "--yes")
    sent = _messages(demo)
    _say("The disk with the lake and the ledger is lost")
    shutil.rmtree(demo / "lake")
    (demo / "ledger.db").unlink()
    _do("restore", backups, "--check")
    _do("restore", backups)
    _do("run", "--all", "--now", later, ends=(0, 1))
    _do("profile", "show", _ERASED, ends=(3,))
    again = _messages(demo) - sent
    kept_back = sum(each.count for each in open_workspace().ledger.outbox.kept_back())
    if again or not kept_back or sent == before:
        raise DrillError(
            f"{len(sent - before)} messages went out after the backup; after the restore "
            f"{kept_back} were kept back, and {len(again)} went out before anybody said so"
        )
    _do("outbox", "settle")
    _do("outbox", "settle", "--kept-back", "--arrived")
    _do("outbox", "settle", "--release")
    _do("outbox", "send", "--now", later, ends=(0, 1))
    if _messages(demo) != sent:
        raise DrillError("messages went out that had been sent before the loss")
    _do("backup", backups)
    _do("restore", backups, "--check")
    _say(
        "The drill held: the backup was sound; both halves came back as a pair; "
        f"{len(sent - before)} messages had gone out after the backup, and all {kept_back} that "
        "the restored ledger takes for unsent were kept back until somebody said so, so that none "
        "went out twice; who was erased after the backup stayed so"
    )


def _messages(demo: Path) -> set[str]:
    """The messages that channels of type `file` have written."""
    return {str(path) for path in (demo / "outbox").rglob("*") if path.is_file()}


def _do(*arguments: object, ends: Iterable[int] = (0,)) -> None:
    words = [str(each) for each in arguments]
    _say(f"$ profile-pipelines {' '.join(words)}")
    code = command(words)
    if code not in tuple(ends):
        raise DrillError(f"`profile-pipelines {' '.join(words)}` ended with {code}")


def _say(text: str) -> None:
    stdout().print(styled(f"\n{text}", "bold"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
