"""The tables that a catalogue has in its lake."""

from __future__ import annotations

from datetime import datetime

from profile_pipelines.lake.table import LakeTable
from profile_pipelines.landing.children import children_table
from profile_pipelines.workspace import Workspace


def lake_tables(workspace: Workspace) -> list[LakeTable]:
    """All of them, written to or not."""
    catalogue, lake = workspace.catalogue, workspace.lake
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


def last_commit(workspace: Workspace) -> datetime | None:
    """The time of the lake's latest commit, as its run took the present; None without any."""
    times = (table.pin().committed_at for table in lake_tables(workspace))
    return max((each for each in times if each is not None), default=None)
