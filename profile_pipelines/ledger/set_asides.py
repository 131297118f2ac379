"""What was set aside of a sync, why, and who let it through.

A row is open until a later sync brings what it held. An approval lets that sync go beyond the
limit by as much as was seen, and is used up by it, whether it was needed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from profile_pipelines.errors import NotFound
from profile_pipelines.ledger.storage import COUNTED, UtcDateTime, create_tables

Kind = Literal["invalid", "emptied", "changed", "deleted", "backwards", "missing"]
WHOLE_SYNC = ""
"""Stands for the attribute where all of a sync was set aside."""

_metadata = sa.MetaData()
_rows = set_asides = sa.Table(
    "set_asides",
    _metadata,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("system", sa.String, primary_key=True),
    sa.Column("sync", sa.String, primary_key=True),
    sa.Column("attribute", sa.String, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("out_of", sa.BigInteger, nullable=False),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("full", sa.Boolean, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("approved_at", UtcDateTime),
    sa.Column("approved_by", sa.String),
    sa.Column("closed_at", UtcDateTime),
    sa.Column("closed_by", sa.String),
    sa.Index("set_asides_open", "system", "sync", "closed_at"),
)

sync_order = sa.Table(
    "sync_order",
    _metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("system", sa.String, nullable=False),
    sa.Column("sync", sa.String, nullable=False),
    sa.UniqueConstraint("run_id", "system", "sync"),
    sqlite_autoincrement=True,
)
"""Which of the syncs with one and the same `now` came later. Those of a ledger from before it was
kept have none."""


@dataclass(frozen=True)
class Excess:
    """What was more than may be: `count` of `out_of`, where a share of `limit` is allowed.

    Values of one attribute, or records where all of a sync is concerned. `detail` holds names of
    fields and times, never a value; of invalid values the child fields of which they are, if any.
    """

    kind: Kind
    count: int
    out_of: int
    limit: float
    detail: str = ""

    def __str__(self) -> str:
        of = f"{self.count:,} of {self.out_of:,}"
        limit = f"(limit {self.limit * 100:.4g}%)"
        match self.kind:
            case "invalid":
                children = f" of {self.detail}" if self.detail else ""
                return f"{of} values{children} are invalid {limit}"
            case "emptied":
                return f"{of} values would be emptied {limit}"
            case "changed":
                return f"{of} values would change {limit}"
            case "deleted":
                empty = f"{self.detail}: " if self.detail else ""
                return f"{empty}{of} records would be deleted {limit}"
            case "backwards":
                return f"{self.detail}: {of} records would go back in time"
            case "missing":
                return self.detail


@dataclass(frozen=True)
class SetAside:
    """One reason for which one run set aside an attribute, or (attribute empty) a whole sync.

    `full`: the run read the source whole, and the next one does so too. `closed_by` is the run
    that brought what was held; where it was approved, the one that used the approval.
    """

    run_id: str
    system: str
    sync: str
    attribute: str
    excess: Excess
    full: bool
    seen_at: datetime
    approved_at: datetime | None = None
    approved_by: str | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None

    @property
    def place(self) -> str:
        """`system.attribute`, or `system.sync` for all of it."""
        return f"{self.system}.{self.attribute or self.sync}"


class SetAsides:
    """The set-asides of a ledger."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def open(self, system: str | None = None, sync: str | None = None) -> list[SetAside]:
        """What is set aside and not yet brought, oldest run first."""
        select = sa.select(_rows).where(_rows.c.closed_at.is_(None))
        if system is not None:
            select = select.where(_rows.c.system == system)
        if sync is not None:
            select = select.where(_rows.c.sync == sync)
        return self._read(select)

    def newest(self, system: str | None = None) -> list[SetAside]:
        """What is open, by the latest run that set it aside, or by the one that is approved."""
        rows = self.open(system)
        latest = {(row.system, row.sync, row.attribute): row.run_id for row in rows}
        return [
            row
            for row in rows
            if row.approved_at or latest[row.system, row.sync, row.attribute] == row.run_id
        ]

    def all(self) -> list[SetAside]:
        """Everything that ever was set aside, oldest run first."""
        return self._read(sa.select(_rows))

    def approve(self, run: str, *, by: str, now: datetime) -> list[SetAside]:
        """Let through what `run` (an id, or the end of one) set aside; what that is.

        Approving again changes nothing. A field that the source hasn't got can't be approved.
        Raises NotFound when nothing of such a run is waiting.
        """
        found = [row for row in self.open() if row.run_id.endswith(run)] if run else []
        runs = sorted({row.run_id for row in found})
        if len(runs) > 1:
            raise NotFound(f"several runs end with {run}: {', '.join(runs)}; write more of the id")
        if not found:
            raise NotFound(
                f"nothing that run {run} set aside is waiting; `profile-pipelines approve` lists "
                "what is"
            )
        if all(row.excess.kind == "missing" for row in found):
            raise NotFound(
                f"run {run} found fields missing, which no approval brings back: correct the "
                "source, or the mapping in the catalogue"
            )
        approving = (
            sa.update(_rows)
            .where(
                _rows.c.run_id == runs[0],
                _rows.c.kind != "missing",
                _rows.c.closed_at.is_(None),
                _rows.c.approved_at.is_(None),
            )
            .values(approved_at=now, approved_by=by)
        )
        with self._engine.begin() as connection:
            connection.execute(approving)
        return [row for row in self.open() if row.run_id == runs[0] and row.approved_at]

    def note(
        self,
        found: Mapping[str, Sequence[Excess]],
        *,
        run_id: str,
        system: str,
        sync: str,
        used: Iterable[str] = (),
        now: datetime,
    ) -> None:
        """Note what was set aside of records that events named, whose reading covers nothing.

        The approvals of the attributes `used` have served their purpose.
        """
        with self._engine.begin() as connection:
            record_set_asides(
                connection,
                found,
                run_id=run_id,
                system=system,
                sync=sync,
                brought=used,
                full=False,
                now=now,
            )

    def _read(self, select: sa.Select[*tuple[Any, ...]]) -> list[SetAside]:
        ordered = in_order(select, _rows, _rows.c.seen_at).order_by(
            _rows.c.run_id, _rows.c.system, _rows.c.attribute, _rows.c.kind
        )
        with self._engine.connect() as connection:
            return [_set_aside(row) for row in connection.execute(ordered).mappings()]


def in_order(
    select: sa.Select[*tuple[Any, ...]],
    of: sa.Table,
    moment: sa.ColumnElement[datetime],
    *,
    newest_first: bool = False,
) -> sa.Select[*tuple[Any, ...]]:
    """The rows of a table of syncs, oldest first; of one moment, in the order of their ends."""
    same = [of.c[name] == sync_order.c[name] for name in ("run_id", "system", "sync")]
    turn = [moment, sa.func.coalesce(sync_order.c.number, 0)]
    joined = select.join(sync_order, sa.and_(*same), isouter=True)
    return joined.order_by(*(each.desc() for each in turn) if newest_first else turn)


def record_set_asides(
    connection: sa.Connection,
    found: Mapping[str, Sequence[Excess]],
    *,
    run_id: str,
    system: str,
    sync: str,
    brought: Iterable[str],
    full: bool,
    now: datetime,
) -> None:
    """Note that a run came to the end of a sync and what it set aside; close what it brought.

    Repeating a run keeps approvals.
    """
    place = {"system": system, "sync": sync}
    connection.execute(sa.delete(sync_order).filter_by(run_id=run_id, **place))
    connection.execute(sa.insert(sync_order).values(run_id=run_id, **place))
    closing = (
        sa.update(_rows)
        .filter_by(**place)
        .where(_rows.c.attribute.in_(list(brought)), _rows.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=run_id)
    )
    connection.execute(closing)
    again = sa.delete(_rows).filter_by(run_id=run_id, **place)
    connection.execute(again.where(_rows.c.approved_at.is_(None), _rows.c.closed_at.is_(None)))
    known = sa.select(_rows.c.attribute, _rows.c.kind).filter_by(run_id=run_id, **place)
    kept = {(attribute, kind) for attribute, kind in connection.execute(known)}
    rows = [
        {
            "run_id": run_id,
            **place,
            "attribute": attribute,
            "kind": each.kind,
            "count": each.count,
            "out_of": each.out_of,
            "share": each.limit,
            "detail": each.detail,
            "full": full,
            "seen_at": now,
        }
        for attribute, excesses in found.items()
        for each in excesses
        if (attribute, each.kind) not in kept
    ]
    if rows:
        connection.execute(sa.insert(_rows), rows)


def _set_aside(row: sa.RowMapping) -> SetAside:
    excess = Excess(row["kind"], row["count"], row["out_of"], row["share"], row["detail"])
    rest = {
        name: row[name]
        for name in (
            "run_id", "system", "sync", "attribute", "full", "seen_at", "approved_at",
            "approved_by", "closed_at", "closed_by",
        )
    }  # fmt: skip
    return SetAside(excess=excess, **rest)
