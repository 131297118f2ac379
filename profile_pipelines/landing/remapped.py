"""What of a sync has to be read anew, since it is declared otherwise than it was read."""

from __future__ import annotations

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import LakeError
from profile_pipelines.lake import Lake
from profile_pipelines.landing.children import children_catalogue, children_table
from profile_pipelines.landing.cursors import moved, other_mappings


def remapped(catalogue: Catalogue, lake: Lake, system: str, name: str) -> set[str] | None:
    """The attributes of a sync that were read by another declaration than today's.

    None where all of the sync is to be read: its records are told apart or identified otherwise
    than those that are stored.
    """
    sync = catalogue.systems[system].syncs[name]
    try:
        pinned = lake.source(catalogue, system, name).pin()
        if moved(catalogue, system, name, pinned):
            return None
        found = other_mappings(catalogue, system, name, list(sync.attributes), pinned)
        if sync.is_aggregating:
            view = children_catalogue(catalogue, system, name)
            children = children_table(catalogue, lake, system, name).pin()
            fields = list(view.systems[system].syncs[name].attributes)
            others = other_mappings(view, system, name, fields, children)
            for attribute, each in sync.attributes.items():
                if each.aggregate is not None and each.aggregate.uses & others:
                    found.add(attribute)
    except LakeError:  # a column of another type, which the sync itself tells of
        return set()
    return found
