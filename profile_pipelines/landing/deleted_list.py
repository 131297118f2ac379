"""What a system lists as deleted, and which of it is gone for us.

The list is read before the records, so that what came back meanwhile comes with them and stays.
Where the list tells when something was deleted, a record that is known to have changed later
stays, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.engine.sql import column, named
from profile_pipelines.errors import SourceError
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.landing.spool import Spool
from profile_pipelines.sources import Source

if TYPE_CHECKING:
    from profile_pipelines.sources.rest_deleted import Deleted

RESUME = "deleted_list"
"""The key, in a commit's state, of where the list goes on."""


def read_list(source: Source, since: datetime | None, resume: str | None) -> Deleted:
    """What the source's list has. `since` None: everything is read, and the list only says from
    where it goes on."""
    from profile_pipelines.sources.rest import RestSource  # loads what HTTP needs
    from profile_pipelines.sources.time_limit import TimeLimited

    if not (isinstance(source, TimeLimited) and isinstance(source.source, RestSource)):
        raise SourceError("only an HTTP API has a list of deleted records; leave deleted_list out")
    return source.deleted(since, resume)


def gone_by_list(
    lake: Lake,
    pinned: Pinned,
    spool: Spool,
    listed: Deleted,
    keys_of: Callable[[Sequence[str]], Sequence[str | None]],
) -> pa.Table:
    """The living records, as `record_key`, that the list tells to be gone.

    `keys_of` gives the records' own form of keys as they are written.
    """
    listing = pa.table(
        {
            "record_key": pa.array(keys_of(list(listed.times)), pa.string()),
            "at": pa.array(listed.times.values(), pa.timestamp("us", "UTC")),
        }
    )
    if not listing.num_rows or not pinned.exists:
        return listing.select(["record_key"]).slice(0, 0)
    known = pinned.current(["record_key", "updated_at", "deleted"], "k")
    changed_later = exp.GT(this=column("updated_at", "k"), expression=column("at", "g"))
    select = (
        exp.select(column("record_key", "k"))
        .from_(known.sql.subquery("k"))
        .join(
            named("listed", "g"),
            on=exp.EQ(this=column("record_key", "g"), expression=column("record_key", "k")),
        )
        .join(
            named("incoming", "i"),
            on=exp.EQ(this=column("record_key", "i"), expression=column("record_key", "k")),
            join_type="anti",
        )
        .where(
            exp.not_(column("deleted", "k")),
            exp.not_(exp.func("COALESCE", changed_later, exp.false())),
        )
        .distinct()
    )
    relations = {**known.relations, "listed": listing, "incoming": spool.relation()}
    return lake.engine.query(select, relations)
