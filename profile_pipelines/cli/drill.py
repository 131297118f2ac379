"""The recovery drill: backup, loss, proof, restore, run, settle, on the demo in a temporary folder.

`make drill` runs it. It does what a person would, by the commands that a person has, and looks
afterwards whether what was promised is so.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.main import main as command
from profile_pipelines.cli.output import stdout, styled
from profile_pipelines.cli.session import CATALOG, LAKE, LEDGER

_CUSTOMERS = 300
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
    _do("demo", "--folder", demo, "--customers", customers, ends=(0, 1))
    _do("backup", backups)
    _do("demo", "change", "--folder", demo, "--share", "0.05", "--seed", 1)
    _do("run", ends=(0, 1))
    _do("erase", "C-000001", "--reference", "drill", "--yes")
    sent = _messages(demo)
    _say("The disk with the lake and the ledger is lost")
    shutil.rmtree(demo / "lake")
    (demo / "ledger.db").unlink()
    _do("restore", backups, "--check")
    _do("restore", backups)
    _do("profile", "show", "C-000001", ends=(3,))
    _do("run", ends=(0, 1))
    _do("profile", "show", "C-000001", ends=(3,))
    again = _messages(demo) - sent
    if again:
        raise DrillError(f"{len(again)} messages went out before anybody said so")
    _do("outbox", "settle")
    _do("outbox", "settle", "--kept-back", "--arrived")
    _do("outbox", "settle", "--release")
    _do("outbox", "send", ends=(0, 1))
    _do("backup", backups)
    _do("restore", backups, "--check")
    _say(
        f"The drill held: the backup was sound, both halves came back as a pair, the "
        f"{len(sent)} messages that were out stayed the only ones until somebody said so, and who "
        "was erased since the backup stayed so"
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
