"""What a sync says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from profile_pipelines.ledger import Excess
from profile_pipelines.ledger.ledger import AttributeEntry

Reasons = dict[str, tuple[Excess, ...]]
"""Why something was set aside: by attribute, under WHOLE_SYNC what concerns all of the sync."""

_REPEATED_SHARE = 0.01
"""A source may say some records twice; keys that repeat more often may be no keys."""


def about_keys(repeated: int, rows: int) -> str:
    """A remark where so many of the rows repeat a key that it may not tell records apart."""
    if repeated <= _REPEATED_SHARE * rows:
        return ""
    return (
        f"{repeated:,} of {rows:,} rows have the key of another row, and only the newest row of a "
        "key counts; `key` has to name what is unique (without it, the first identifier is the key)"
    )


@dataclass(frozen=True)
class SyncResult:
    """What one sync did. `changed` counts new and changed records, deletions apart.

    `drift` tells how the source's fields differ from those last seen; `ahead` counts the records
    whose time lies in the future, which counts as now; `repeated` those of a whole read whose key
    a record before them has, too.
    """

    system: str
    sync: str
    full: bool
    rows_read: int = 0
    changed: int = 0
    deleted: int = 0
    bad_records: int = 0
    attributes: dict[str, AttributeEntry] = field(default_factory=dict[str, AttributeEntry])
    set_aside: Reasons = field(default_factory=dict[str, tuple[Excess, ...]])
    drift: tuple[str, ...] = ()
    ahead: int = 0
    repeated: int = 0

    @property
    def quarantined(self) -> int:
        """Invalid values plus records without any usable identifier."""
        return self.bad_records + sum(entry.invalid for entry in self.attributes.values())
