"""One profile as people see it: values with receipts, freshness, audiences, history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.errors import NotFound
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import UNSUBSCRIBES
from profile_pipelines.profiles.addresses import KnownValue, known_values
from profile_pipelines.profiles.lookup import records_of
from profile_pipelines.profiles.past_rules import all_provenance, catalogue_then, systems_in
from profile_pipelines.profiles.receipts import Receipt, receipts_of


@dataclass(frozen=True)
class Value:
    """An attribute of a profile. `age` is the time since the last successful sync of the source
    that decided it; None when it was never synced, or nothing decides."""

    receipt: Receipt
    age: timedelta | None
    fresh_within: timedelta
    stale: bool

    @property
    def value(self) -> Any:
        """The value itself, in its attribute's type; None when it is missing."""
        return self.receipt.value


@dataclass(frozen=True)
class ProfileView:
    """A profile now, or as of a moment."""

    profile_id: int
    as_of: datetime | None
    identifiers: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Value]
    audiences: tuple[str, ...]
    held_in: tuple[str, ...]
    not_kept: tuple[str, ...] = ()
    """The attributes whose history isn't kept for so long: what they were then isn't known."""
    known_values: Mapping[str, tuple[KnownValue, ...]] = field(
        default_factory=dict[str, tuple[KnownValue, ...]]
    )
    """By identifier where each of its values comes from, in the same order: the first is used."""


@dataclass(frozen=True)
class Change:
    """One change of a profile: the attributes that changed, with the new values and sources.

    A new profile has `created`; one whose records moved to another profile, or are gone,
    has `removed`.
    """

    recorded_at: datetime
    run_id: str
    created: bool
    removed: bool
    values: Mapping[str, tuple[Any, tuple[str, ...]]]


def view_profile(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Callable[[], Mapping[tuple[str, str], datetime]],
    profile_id: int,
    *,
    now: datetime,
    as_of: datetime | None = None,
) -> ProfileView:
    """The profile with this id. Ages are counted at `as_of`, or else at `now`.

    `coverage` gives that of the same moment; it is asked last, so that it may be found beside
    the reading of the lake. Raises NotFound when there is no such profile.
    """
    pinned = lake.profiles(catalogue).pin() if as_of is None else all_provenance(lake, catalogue)
    columns = list(pinned.table.columns)
    own, records, *memberships = lake.engine.side_by_side(
        [
            partial(_own_rows, lake, pinned, columns, profile_id, as_of),
            partial(records_of, catalogue, lake, profile_id, as_of=as_of),
            *(partial(_membership, lake, name, profile_id, as_of) for name in catalogue.audiences),
        ]
    )
    if not own:
        raise NotFound(f"there is no profile {profile_id}" + (" at that time" if as_of else ""))
    receipts = receipts_of(
        catalogue,
        lake,
        profile_id,
        [int(str(record["record_id"])) for record in records],
        own[0],
        pinned.state,
        as_of=as_of,
    )
    known = known_values(catalogue, lake, records, as_of=as_of)
    identifiers = {name: tuple(each.value for each in values) for name, values in known.items()}
    answers = dict(zip(catalogue.audiences, memberships, strict=True))
    audiences = tuple(name for name, rows in answers.items() if any(r["member"] for r in rows))
    held = tuple(name for name, rows in answers.items() if any(r["held"] for r in rows))
    covered = coverage()
    then = catalogue if as_of is None else catalogue_then(catalogue, pinned.state, as_of)
    values = {
        receipt.attribute: _value(then, covered, receipt, as_of or now) for receipt in receipts
    }
    not_kept = () if as_of is None else attributes_not_kept(catalogue, as_of, now)
    return ProfileView(
        profile_id, as_of, identifiers, values, audiences, held, not_kept, known_values=known
    )


def attributes_not_kept(catalogue: Catalogue, as_of: datetime, now: datetime) -> tuple[str, ...]:
    """The attributes whose `keep_history` doesn't reach back to the moment."""
    return tuple(
        name
        for name, attribute in catalogue.attributes.items()
        if attribute.keep_history is not None and as_of < now - attribute.keep_history
    )


def history_of(catalogue: Catalogue, lake: Lake, profile_id: int) -> list[Change]:
    """The profile's changes, newest first."""
    pinned = all_provenance(lake, catalogue)
    if not pinned.exists:
        return []
    own = exp.EQ(this=column("profile_id"), expression=literal(profile_id))
    rows = pinned.changes(pinned.table.columns, "h", where=own)
    log = lake.engine.rows(rows.sql, rows.relations)
    codes = pinned.state["systems"]
    changes: list[Change] = []
    for row in sorted(log, key=lambda r: -r["seq"]):
        created = row["changed"] is None and not row["removed"]
        names = [
            name
            for name in catalogue.attributes
            if (created and row[name] is not None) or name in (row["changed"] or [])
        ]
        changes.append(
            Change(
                row["recorded_at"],
                row["run_id"],
                created,
                row["removed"],
                {name: (row[name], systems_in(row, name, codes)) for name in names},
            )
        )
    return changes


def _value(
    catalogue: Catalogue,
    coverage: Mapping[tuple[str, str], datetime],
    receipt: Receipt,
    now: datetime,
) -> Value:
    attribute = catalogue.attributes[receipt.attribute]
    if any(each.system == UNSUBSCRIBES for each in receipt.winners):
        # the ledger knows it from the moment of the click: it is never old
        return Value(receipt, timedelta(0), attribute.fresh_within, stale=False)
    deciding = (
        [c.system for c in receipt.winners] if receipt.value is not None else (attribute.sources)
    )
    covered = [coverage.get((system, receipt.attribute)) for system in deciding]
    known = [moment for moment in covered if moment is not None]
    age = now - min(known) if known and len(known) == len(covered) else None
    stale = age is None or age > attribute.fresh_within
    return Value(receipt, age, attribute.fresh_within, stale)


def _membership(
    lake: Lake, audience: str, profile_id: int, as_of: datetime | None
) -> list[dict[str, Any]]:
    columns = ["profile_id", "member", "held"]
    return _own_rows(lake, lake.audience(audience).pin(), columns, profile_id, as_of)


def _own_rows(
    lake: Lake, pinned: Pinned, columns: list[str], profile_id: int, as_of: datetime | None
) -> list[dict[str, Any]]:
    """The profile's row in a table that has one a profile; none where it was never in it."""
    if not pinned.exists:
        return []
    own = exp.EQ(this=column("profile_id"), expression=literal(profile_id))
    rows = pinned.as_of(as_of, columns, "own", where=own)
    return lake.engine.rows(rows.sql, rows.relations)
