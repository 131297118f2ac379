"""The tables that a catalogue has in its lake."""

from __future__ import annotations

from datetime import datetime

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import TypeChanged
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.landing.children import children_table
from profile_pipelines.workspace import Workspace


def lake_tables(workspace: Workspace) -> list[LakeTable]:
    """All of them, written to or not."""
    return tables_of(workspace.catalogue, workspace.lake)


def tables_of(catalogue: Catalogue, lake: Lake) -> list[LakeTable]:
    """The tables that a catalogue has in a lake."""
    return [
        *(
            lake.source(catalogue, system, name)
            for system, declared in catalogue.systems.items()
            for name in declared.syncs
        ),
        *(
            children_table(catalogue, lake, system, name)
            for system, declared in catalogue.systems.items()
            for name, each in declared.syncs.items()
            if each.is_aggregating
        ),
        lake.unsubscribes(),
        lake.identities(catalogue),
        lake.profiles(catalogue),
        *(lake.audience(name) for name in catalogue.audiences),
        *(lake.entry(name) for name, each in catalogue.journeys.items() if each.enter_when),
    ]


def changed_types(workspace: Workspace) -> dict[str, str]:
    """By column, how it is stored and declared now, where the two differ: no run can go on with it.

    Raises LakeError where the lake can't be read, or is another catalogue's.
    """
    found: dict[str, str] = {}
    for table in lake_tables(workspace):
        try:
            table.pin()
        except TypeChanged as error:
            found = {**error.columns, **found}
    return found


def last_commit(workspace: Workspace) -> datetime | None:
    """The time of the lake's latest commit, as its run took the present; None without any."""
    times = (table.pin().committed_at for table in lake_tables(workspace))
    return max((each for each in times if each is not None), default=None)
