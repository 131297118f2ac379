"""What people and notebooks read: profiles now or as of, receipts, members, quarantine.

import profile_pipelines

customers = profile_pipelines.open("catalog", lake="lake", ledger="sqlite:///ledger.db")
customers.profiles().to_pandas()
customers.profile("C-000123").values["package"].receipt
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlglot import exp

from profile_pipelines.audiences.staleness import SourceFreshness, freshness
from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.catalog.models import COMBINING
from profile_pipelines.catalog.plan import find_declared, is_incremental
from profile_pipelines.engine.sql import column
from profile_pipelines.errors import NotFound, ProfilePipelinesError
from profile_pipelines.lake.lake import provenance_column
from profile_pipelines.lake.table import Rows
from profile_pipelines.profiles.lookup import find_customers, find_profiles
from profile_pipelines.profiles.past_rules import catalogue_then
from profile_pipelines.profiles.view import Change, ProfileView, history_of, view_profile
from profile_pipelines.workspace import Places, Workspace

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from profile_pipelines.consent.history import ConsentHistory


@dataclass(frozen=True)
class Frame:
    """A table that turns into the frame of your choice."""

    _table: pa.Table

    def __len__(self) -> int:
        return self._table.num_rows

    def to_arrow(self) -> pa.Table:
        """As an Arrow table."""
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas frame. Numbers and truth values stay what they are beside missing ones:
        as `Int64` and `boolean`, in place of pandas' floats and objects."""
        import pandas as pd
        import pyarrow as pa

        kept = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        return self._table.to_pandas(types_mapper=kept.get)

    def to_polars(self) -> pl.DataFrame:
        """As a Polars frame."""
        import polars as pl

        frame = pl.from_arrow(self._table)
        assert isinstance(frame, pl.DataFrame)
        return frame


class Customers:
    """Reads a workspace. Nothing here writes; every call sees the latest committed state.

    A moment is a time, or a date for its first moment. Without an offset it is wall-clock time in
    the catalogue's time zone, as on the command line.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def profile(
        self, identifier: str, *, as_of: date | None = None, now: date | None = None
    ) -> ProfileView:
        """The profile with this identifier, in any spelling.

        Where several profiles have it (an identifier of clusters that are held apart), the one
        with the least id. Raises NotFound.
        """
        return self.profiles_with(identifier, as_of=as_of, now=now)[0]

    def profiles_with(
        self, identifier: str, *, as_of: date | None = None, now: date | None = None
    ) -> list[ProfileView]:
        """All profiles with this identifier, at most ten. Raises NotFound."""
        space = self.workspace
        at, as_of = self._present(now), self._past(as_of, now)
        with ThreadPoolExecutor(1) as beside:
            # SQLAlchemy loads while the engine reads the lake: a quarter of what a profile takes
            coverage = beside.submit(lambda: space.ledger.coverage(as_of))
            ids = find_profiles(space.catalogue, space.lake, identifier, as_of=as_of)
            return [
                view_profile(
                    space.catalogue, space.lake, coverage.result, each, now=at, as_of=as_of
                )
                for each in ids[:10]
            ]

    def history(self, identifier: str) -> list[Change]:
        """The changes of the profile with this identifier, newest first. Raises NotFound."""
        space = self.workspace
        found = find_profiles(space.catalogue, space.lake, identifier)
        return history_of(space.catalogue, space.lake, found[0])

    def consent_history(
        self, identifier: str, *, purpose: str | None = None, now: date | None = None
    ) -> dict[int, list[ConsentHistory]]:
        """By profile with this identifier: its customer's consents, to one purpose or to all.

        When no profile has it today, of those that ever had it, also when they are gone.
        Raises NotFound, and UnknownName for the purpose.
        """
        from profile_pipelines.consent.history import consent_history

        space, at = self.workspace, self._present(now)
        return {
            each: consent_history(
                space.catalogue, space.lake, space.ledger, each, now=at, purpose=purpose
            )
            for each in find_customers(space.catalogue, space.lake, identifier)[:10]
        }

    def everything_about(self, identifier: str, *, now: date | None = None) -> dict[str, Any]:
        """Everything that is held about a customer, for an access request; see docs/privacy.md.

        Raises NotFound when nobody ever had the identifier.
        """
        from profile_pipelines.privacy.access import everything_about

        space, at = self.workspace, self._present(now)
        outbox = space.places.outbox
        return everything_about(
            space.catalogue, space.lake, space.ledger, outbox, identifier, now=at
        )

    def profiles(self, *, as_of: date | None = None, provenance: bool = False) -> Frame:
        """All profiles: `profile_id`, a list column per identifier type, the attributes.

        With `provenance`, `<attribute>__from` names the systems that decided each value.
        """
        return _frame(self.workspace, self.profile_rows(as_of=as_of, provenance=provenance))

    def profile_rows(self, *, as_of: date | None = None, provenance: bool = False) -> Rows:
        """The same as a SELECT, for exports that are larger than memory."""
        space, as_of = self.workspace, self._past(as_of)
        catalogue = space.catalogue
        pinned = space.lake.profiles(catalogue).pin()
        if as_of is not None:
            catalogue = catalogue_then(catalogue, pinned.state, as_of)
            pinned = space.lake.profiles(catalogue).pin()
        attributes = catalogue.attributes
        columns = ["profile_id"]
        for name, attribute in attributes.items():
            columns += [name, provenance_column(name, attribute)]
        rows = pinned.as_of(as_of, columns, "p")
        identities = space.lake.identities(catalogue).pin()
        id_columns = ["profile_id", *(f"id_{name}" for name in catalogue.identifiers)]
        ids = identities.as_of(as_of, id_columns, "i")
        grouped = (
            exp.select(
                column("profile_id", "g"),
                *(
                    exp.alias_(_sorted_values(f"id_{name}"), name, quoted=True)
                    for name in catalogue.identifiers
                ),
            )
            .from_(ids.sql.subquery("g"))
            .group_by(column("profile_id", "g"))
        )
        codes = pinned.state.get("systems", {})
        select = (
            exp.select(
                column("profile_id", "p"),
                *(column(name, "k") for name in catalogue.identifiers),
            )
            .from_(rows.sql.subquery("p"))
            .join(
                grouped.subquery("k"),
                on=exp.EQ(this=column("profile_id", "k"), expression=column("profile_id", "p")),
                join_type="left",
            )
            .order_by(column("profile_id", "p"))
        )
        for name, attribute in attributes.items():
            select = select.select(column(name, "p"))
            if provenance:
                stored = column(provenance_column(name, attribute), "p")
                words = _in_words(stored, codes, attribute.merge in COMBINING)
                select = select.select(exp.alias_(words, f"{name}__from", quoted=True))
        return Rows(select, {**rows.relations, **ids.relations})

    def members(self, audience: str, *, as_of: date | None = None) -> Frame:
        """The audience's rows: `profile_id`, `member`, `held`, by id. Raises UnknownName."""
        space = self.workspace
        find_declared("audience", audience, space.catalogue.audiences)
        pinned = space.lake.audience(audience).pin()
        columns = ["profile_id", "member", "held"]
        rows = pinned.as_of(self._past(as_of), columns, "a")
        return _frame(space, Rows(rows.sql.order_by(column("profile_id", "a")), rows.relations))

    def audience_size(self, audience: str) -> tuple[int, int] | None:
        """How many are members, and how many are held; None before the first evaluation.

        Raises UnknownName.
        """
        space = self.workspace
        find_declared("audience", audience, space.catalogue.audiences)
        pinned = space.lake.audience(audience).pin()
        if not pinned.exists:
            return None
        rows = pinned.current(["profile_id", "member", "held"], "a")
        counts = exp.select(
            *(
                exp.alias_(exp.CountIf(this=column(name, "a")), name, quoted=True)
                for name in ("member", "held")
            )
        ).from_(rows.sql.subquery("a"))
        [found] = space.lake.engine.rows(counts, rows.relations)
        return found["member"] or 0, found["held"] or 0  # over no rows a sum is missing

    def audience_changes(self, audience: str) -> Frame:
        """Everything recorded of an audience: `profile_id`, `member`, `held`, `recorded_at`…

        In the order of the commits, then of the profiles' ids. Raises UnknownName.
        """
        find_declared("audience", audience, self.workspace.catalogue.audiences)
        pinned = self.workspace.lake.audience(audience).pin()
        rows = pinned.changes(["profile_id", "member", "held"], "a")
        ordered = rows.sql.order_by(column("seq"), column("profile_id"))
        return _frame(self.workspace, Rows(ordered, rows.relations))

    def freshness(self, *, now: date | None = None) -> list[SourceFreshness]:
        """The age of each attribute by source."""
        space = self.workspace
        return freshness(space.catalogue, space.ledger.coverage(), self._present(now))

    def left_out(self) -> dict[str, int]:
        """By `system.sync`: how many records of a database came too late to be read as changes,
        at least, by its own count."""
        from profile_pipelines.landing.children import children_table
        from profile_pipelines.landing.counted import records_left_out

        space = self.workspace
        found: dict[str, int] = {}
        for system, declared in space.catalogue.systems.items():
            for name, sync in declared.syncs.items():
                if declared.connection.type == "sql" and is_incremental(sync):
                    if sync.is_aggregating:
                        table = children_table(space.catalogue, space.lake, system, name)
                    else:
                        table = space.lake.source(space.catalogue, system, name)
                    if count := records_left_out(table.pin()):
                        found[f"{system}.{name}"] = count
        return found

    def filled(self) -> dict[str, float]:
        """By attribute: the share of all profiles that have a value."""
        space = self.workspace
        pinned = space.lake.profiles(space.catalogue).pin()
        names = list(space.catalogue.attributes)
        rows = pinned.current(names, "p")
        counts = exp.select(
            exp.alias_(exp.Count(this=exp.Star()), "profiles", quoted=True),
            *(
                exp.alias_(exp.Count(this=column(name, "p")), f"n_{name}", quoted=True)
                for name in names
            ),
        ).from_(rows.sql.subquery("p"))
        found = space.lake.engine.rows(counts, rows.relations)[0]
        total = found["profiles"] or 1
        return {name: found[f"n_{name}"] / total for name in names}

    def quarantine(self, system: str | None = None) -> Frame:
        """What lies in quarantine now, one row a value.

        Columns: `system`, `sync`, `record_key`, `attribute` (empty: the whole record),
        `reason`, `value` (as the source gave it), `source_updated_at`, `recorded_at`,
        `run_id`. Raises UnknownName.
        """
        space = self.workspace
        if system is not None:
            find_declared("system", system, space.catalogue.systems)
        import pyarrow as pa

        tables: list[pa.Table] = []
        for name, declared in space.catalogue.systems.items():
            if system in (None, name):
                for sync, each in declared.syncs.items():
                    tables.append(_quarantine(space, name, sync))
                    if each.is_aggregating:
                        tables.append(_quarantine(space, name, sync, of_children=True))
        return Frame(pa.concat_tables(tables))

    def shared_identifiers(self) -> Frame:
        """The values of identifiers that join nobody, since they fit several customers.

        Columns: `identifier`, `value` (in its normal form), how many `profiles` and `records` have
        it; those of most profiles first.
        """
        from profile_pipelines.identity.shared import shared_values

        return Frame(shared_values(self.workspace.catalogue, self.workspace.lake))

    def held_apart(self) -> Frame:
        """The records that belong to no customer, or to a cluster above `max_cluster`.

        Columns: `system`, `sync`, `record_key`, `profile_id` (none: no profile), and the normal
        form of each identifier.
        """
        from profile_pipelines.identity.shared import held_apart

        return Frame(held_apart(self.workspace.catalogue, self.workspace.lake))

    def _moment(self, given: date | None) -> datetime | None:
        if given is None:
            return None
        moment = given if isinstance(given, datetime) else datetime.combine(given, time())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(self.workspace.catalogue.settings.timezone))
        return moment.astimezone(UTC)

    def _past(self, given: date | None, now: date | None = None) -> datetime | None:
        """The moment. Raises ProfilePipelinesError where nothing is known of it yet: it lies after
        the present and after all that is on record."""
        moment = self._moment(given)
        if moment is None or moment <= self._present(now) + CLOCKS_DIFFER:
            return moment
        space = self.workspace
        merged = space.lake.profiles(space.catalogue).pin().committed_at
        known = [merged, *space.ledger.coverage().values()]
        if any(each is not None and moment <= each for each in known):
            return moment
        raise ProfilePipelinesError(
            f"{moment:%Y-%m-%dT%H:%M:%SZ} lies in the future, of which nothing is known yet: as-of "
            "takes a past moment (`audience preview NAME --now WHEN` shows what the clock alone "
            "will change)"
        )

    def _present(self, given: date | None) -> datetime:
        return self._moment(given) or datetime.now(UTC)


def open_workspace(
    catalogue: str | Path | None = None,
    lake: str | Path | None = None,
    ledger: str | None = None,
) -> Customers:
    """Open a catalogue with its lake and ledger for reading.

    What isn't given comes from `PROFILE_PIPELINES_CATALOG`, `_LAKE` and `_LEDGER`; lake and ledger
    lie beside the catalogue otherwise. Raises CatalogueError with all mistakes at once.
    """
    return Customers(
        Workspace(Places.from_environment(catalogue=catalogue, lake=lake, ledger=ledger))
    )


def _frame(space: Workspace, rows: Rows) -> Frame:
    return Frame(space.lake.engine.query(rows.sql, rows.relations))


def _sorted_values(name: str) -> exp.Expr:
    value = column(name, "g")
    distinct = exp.Order(
        this=exp.Distinct(expressions=[value]), expressions=[exp.Ordered(this=value.copy())]
    )
    present = exp.not_(exp.Is(this=value.copy(), expression=exp.null()))
    return exp.Filter(this=exp.ArrayAgg(this=distinct), expression=exp.Where(this=present))


def _in_words(stored: exp.Expr, codes: dict[str, int], combining: bool) -> exp.Expr:
    if not combining:
        case = exp.Case()
        for system, code in codes.items():
            case = case.when(
                exp.EQ(this=stored.copy(), expression=exp.Literal.number(code)),
                exp.Literal.string(system),
            )
        return case if codes else exp.cast(exp.null(), "VARCHAR")
    parts = [
        exp.Case().when(
            exp.NEQ(
                this=exp.paren(
                    exp.BitwiseAnd(this=stored.copy(), expression=exp.Literal.number(1 << code))
                ),
                expression=exp.Literal.number(0),
            ),
            exp.Literal.string(system),
        )
        for system, code in codes.items()
    ]
    joined = exp.ConcatWs(expressions=[exp.Literal.string(", "), *parts], safe=True, coalesce=True)
    return exp.Nullif(this=joined, expression=exp.Literal.string(""))


def _quarantine(space: Workspace, system: str, sync: str, *, of_children: bool = False) -> pa.Table:
    # what syncs are made of needn't be loaded to show a profile
    from profile_pipelines.landing.children import children_table
    from profile_pipelines.landing.quarantine import quarantine_entries

    if of_children:
        table = children_table(space.catalogue, space.lake, system, sync)
    else:
        table = space.lake.source(space.catalogue, system, sync)
    pinned = table.pin()
    rows = quarantine_entries(system, sync, pinned)
    return space.lake.engine.query(rows.sql, rows.relations)


__all__ = ["Change", "Customers", "Frame", "NotFound", "ProfileView", "open_workspace"]
