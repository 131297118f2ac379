"""What is done to a lake between its runs, so that it stays quick to read and doesn't only grow."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from profile_pipelines.errors import Conflict
from profile_pipelines.lake.upkeep import merge_small_files
from profile_pipelines.lake.upkeep import sweep as sweep_lake
from profile_pipelines.lake_tables import lake_tables
from profile_pipelines.pipeline import again
from profile_pipelines.workspace import Workspace

_FORGOTTEN, _SWEPT = "history forgotten", "lake swept"
_DAILY = timedelta(days=1)
FILES_KEPT = timedelta(days=7)
"""For how long a file stays that no version has any more: whoever reads, or is about to commit,
began later than that. Delta's own tools keep to the same."""


def compact(workspace: Workspace) -> int:
    """Fold the change logs that have grown into their snapshots, and put the small files of their
    history together; how many tables that was done to.

    A table that another run writes to at this moment is left for the next time.
    """
    engine, done = workspace.lake.engine, 0
    for table in lake_tables(workspace):
        with suppress(Conflict):
            folded = table.pin().compact(engine)
            done += bool(merge_small_files(table, engine)) or folded
    return done


def sweep(workspace: Workspace, *, clock: datetime) -> int:
    """Delete the files that no table has any more, once a day; how many there were.

    `clock` is the time by which the file system dates its files: never a moment that only stands
    for the present.
    """
    ledger = workspace.ledger
    last = ledger.upkeep(_SWEPT)
    if last is not None and abs(clock - last) < _DAILY:  # a clock may be put back
        return 0
    deleted = sweep_lake(workspace.lake.root, before=clock - FILES_KEPT)
    ledger.note_upkeep(_SWEPT, clock)
    return deleted


def forget_history(workspace: Workspace, *, now: datetime) -> dict[str, int]:
    """Forget the values that `keep_history` doesn't keep, once a day; rows by table."""
    from profile_pipelines.privacy.retention import forget_history

    catalogue, lake, ledger = workspace.catalogue, workspace.lake, workspace.ledger
    if all(each.keep_history is None for each in catalogue.attributes.values()):
        return {}
    last = ledger.upkeep(_FORGOTTEN)
    if last is not None and abs(now - last) < _DAILY:
        return {}
    forgotten = again(lambda: forget_history(catalogue, lake, now=now))
    ledger.note_upkeep(_FORGOTTEN, now)
    return forgotten
