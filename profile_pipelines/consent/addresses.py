"""Which addresses customers have, and had: where messages reach them."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import Rows


def address_names(catalogue: Catalogue) -> list[str]:
    """The identifiers and attributes that hold addresses: those that a channel writes to, and
    identifiers that are brought to the form of an address or a telephone number."""
    channels = {channel.to for channel in catalogue.channels.values()}
    told = [
        name
        for name, identifier in catalogue.identifiers.items()
        if name in channels
        or any(step == "email" or "phone" in step for step in identifier.normalise)
    ]
    return [*told, *(name for name in catalogue.attributes if name in channels)]


def addresses_of(
    catalogue: Catalogue, lake: Lake, profile_ids: Collection[int], *, ever: bool = False
) -> set[str]:
    """All addresses of profiles: their present ones, or with `ever` also those that they had."""
    names = address_names(catalogue)
    identifiers = [f"id_{name}" for name in catalogue.identifiers if name in names]
    attributes = [name for name in catalogue.attributes if name in names]
    tables = ((lake.identities(catalogue), identifiers), (lake.profiles(catalogue), attributes))
    own = exp.In(this=column("profile_id"), expressions=[literal(each) for each in profile_ids])
    found: set[str] = set()
    for table, columns in tables:
        pinned = table.pin()
        if not columns or not pinned.exists or not profile_ids:
            continue
        if ever:
            rows = pinned.changes(columns, "had", where=own)
        else:
            now = pinned.current(["profile_id", *columns], "has")
            only = exp.select(*map(column, columns)).from_(now.sql.subquery("h")).where(own)
            rows = Rows(only, now.relations)
        for row in lake.engine.rows(rows.sql, rows.relations):
            found |= {value_text(row[name]) for name in columns if row[name] is not None}
    return found
