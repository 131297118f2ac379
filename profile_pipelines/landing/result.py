"""What a sync says of itself."""

from __future__ import annotations

from collections.abc import Mapping
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


def about_left_out(records: int) -> str:
    """A remark where so many records of a source came too late to be read as changes."""
    if not records:
        return ""
    said = (
        "1 record of the source was" if records == 1 else f"{records:,} records of the source were"
    )
    return (
        f"{said} left out, by its own count: what came late bears a time before what was read "
        "already. Read everything once (run --full), and declare full_every, or a lateness that "
        "covers it"
    )


def about_kept_out(records: int) -> str:
    """A remark where so many records that came are of people who were erased."""
    if not records:
        return ""
    was = "1 record was" if records == 1 else f"{records:,} records were"
    return (
        f"{was} kept out, of people who were erased. Who has come back as a customer is let in by "
        "profile-pipelines erase --lift IDENTIFIER"
    )


def about_files(dialects: Mapping[str, str]) -> tuple[str, ...]:
    """How files are written, by path, for people: a line for each way."""
    files = dict[str, list[str]]()
    for path, words in dialects.items():
        files.setdefault(words, []).append(path)
    return tuple(f"{_first_three(paths)}: {words}" for words, paths in files.items())


def _first_three(paths: list[str]) -> str:
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


@dataclass(frozen=True)
class SyncResult:
    """What one sync did. `changed` counts new and changed records, deletions apart.

    `drift` tells how the source's fields differ from those last seen; `ahead` counts the records
    whose time lies in the future, which counts as now; `repeated` those of a whole read whose key a
    record before them has, too; `left_out` those that a database has more than came, at least,
    since it was read whole; `kept_out` those of people who were erased;
    `unread` by control field (an identifier, `updated_at`, `deleted`, `record_key`) and reason the
    cells that can't be read; `dialects` how the CSV files are written that were read.
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
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    left_out: int = 0
    dialects: tuple[str, ...] = ()
    kept_out: int = 0

    @property
    def quarantined(self) -> int:
        """Invalid values, cells of control fields, and records without any usable identifier."""
        unread = sum(sum(reasons.values()) for reasons in self.unread.values())
        return self.bad_records + unread + sum(each.invalid for each in self.attributes.values())
