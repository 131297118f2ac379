"""Who was erased, and what keeps them out: tombstones.

A tombstone is a keyed hash (BLAKE2b) of an identifier or a record's key, in the one form that
syncs bring it to. Without the key nobody can tell from it who it was, also not by trying all
customer numbers; with it, each sync recognises whom it must not bring back.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of
from profile_pipelines.ledger.tombstones import ASKED_AT_ONCE, Tombstones, tombstones

if TYPE_CHECKING:
    from profile_pipelines.ledger.refusals import Keeper

KEY = "PROFILE_PIPELINES_ERASURE_KEY"
_SHORTEST = 16
_ASKED_ONE_BY_ONE = 20_000

_metadata = sa.MetaData()
_erasures = sa.Table(
    "erasures",
    _metadata,
    sa.Column("erasure", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("reference", sa.String),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("requested_at", UtcDateTime, nullable=False),
    sa.Column("completed_at", UtcDateTime),
    sa.Column("profiles", sa.JSON, nullable=False),
    sa.Column("removed", sa.JSON, nullable=False),
)
_keys = sa.Table(
    "erasure_key",
    _metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String),
    sa.Column("check", sa.String, nullable=False),
)

_LAST = sa.select(sa.func.coalesce(sa.func.max(_erasures.c.erasure), 0))


@dataclass(frozen=True)
class Erasure:
    """One request to erase people, who are known by opaque profile ids alone.

    `removed` counts, by place, what was taken away. It isn't complete before `completed_at`.
    """

    erasure: int
    reference: str | None
    by: str
    requested_at: datetime
    completed_at: datetime | None
    profiles: list[int]
    removed: dict[str, int]


class Erasures:
    """The tables of erasures and tombstones, in the ledger's database."""

    def __init__(self, engine: sa.Engine, keeper: Keeper | None = None) -> None:
        self._engine = engine
        self._keeper = keeper
        self._checks: dict[int, str] = {}
        self._insert = insert_of(engine)
        create_tables(_metadata, engine)
        self.tombstones = Tombstones(engine, self._told)
        """Whose the tombstones are, and their ends."""

    def begin(
        self,
        profiles: Collection[int],
        marks: Iterable[tuple[str, str, int]],
        *,
        reference: str | None,
        by: str,
        now: datetime,
        until: str | None = None,
    ) -> Erasure:
        """Put up the tombstones; from here on nobody brings the people back.

        `marks` are (kind, value, person) of all that they are known by; `until` says how long they
        are kept out where that isn't as the settings have it. Begun again before its end, an
        erasure of one of the profiles goes on, and takes the others in.
        """
        owned = {(self.digest(kind, value), kind, person) for kind, value, person in marks}
        with self._engine.begin() as connection:
            rows = connection.execute(
                sa.select(_erasures).where(_erasures.c.completed_at.is_(None))
            ).mappings()
            begun = [row for row in rows if set(row["profiles"]) & set(profiles)]
            if begun:
                number = begun[0]["erasure"]
                known = {each for row in begun for each in row["profiles"]} | set(profiles)
                connection.execute(
                    sa.update(_erasures)
                    .where(_erasures.c.erasure == number)
                    .values(profiles=sorted(known))
                )
            else:
                number = 1 + connection.execute(_LAST).scalar_one()
                connection.execute(
                    sa.insert(_erasures).values(
                        erasure=number, reference=reference, by=by, requested_at=now,
                        profiles=sorted(profiles), removed={},
                    )
                )  # fmt: skip
            self.tombstones.put_up(connection, number, owned, until)
            if self._keeper is not None:
                told = {
                    "erasure": number, "reference": reference, "by": by, "requested_at": now,
                    "profiles": sorted(profiles), "until": until, "marks": sorted(owned),
                    "key": self.key_check(),
                }  # fmt: skip
                self._keeper.keep("erasure", [told])
        return self.get(number)

    def put_back(self, told: Mapping[str, Any]) -> bool:
        """Put up the tombstones of an erasure as a keeper was told of it; whether the erasure isn't
        known here, or not as completed."""
        number, at = told["erasure"], datetime.fromisoformat(told["requested_at"])
        with self._engine.begin() as connection:
            select = sa.select(_erasures.c.requested_at, _erasures.c.completed_at)
            row = connection.execute(select.where(_erasures.c.erasure == number)).first()
            if row is not None and row.requested_at != at and row.completed_at is not None:
                row, number = None, 1 + connection.execute(_LAST).scalar_one()
            if row is None:
                connection.execute(
                    sa.insert(_erasures).values(
                        erasure=number, reference=told["reference"], by=told["by"],
                        requested_at=at, profiles=told["profiles"], removed={},
                    )
                )  # fmt: skip
            marks = {(digest, kind, person) for digest, kind, person in told["marks"]}
            self.tombstones.put_up(connection, number, marks, told["until"])
        return row is None or row.completed_at is None

    def _told(self, digests: Collection[str]) -> None:
        if self._keeper is not None:
            told = {"digests": sorted(digests), "key": self.key_check()}
            if digests:
                self._keeper.keep("let_in", [told])

    def get(self, number: int) -> Erasure:
        """One erasure; KeyError when there's none of this number."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_erasures).filter_by(erasure=number)).first()
        if row is None:
            raise KeyError(number)
        return Erasure(*row)

    def all(self) -> list[Erasure]:
        """Every erasure, the first one first."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_erasures).order_by(_erasures.c.erasure))
            return [Erasure(*row) for row in rows]

    def count(self, number: int, removed: Mapping[str, int]) -> None:
        """Note what an erasure is about to remove, by place; done again, it finds no more."""
        with self._engine.begin() as connection:
            select = sa.select(_erasures.c.removed).filter_by(erasure=number)
            before: dict[str, int] = connection.execute(select).scalar_one()
            total = {k: max(before.get(k, 0), removed.get(k, 0)) for k in {**before, **removed}}
            connection.execute(sa.update(_erasures).filter_by(erasure=number).values(removed=total))

    def complete(self, number: int, *, now: datetime) -> Erasure:
        """Say that all is done."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(_erasures)
                .where(_erasures.c.erasure == number, _erasures.c.completed_at.is_(None))
                .values(completed_at=now)
            )
        return self.get(number)

    def of(self, marks: Iterable[tuple[str, str]]) -> Erasure | None:
        """The erasure that put up a tombstone for any of the marks."""
        digests = [self.digest(*mark) for mark in marks] if self.any else []
        select = sa.select(sa.func.max(tombstones.c.erasure)).where(
            tombstones.c.digest.in_(digests)
        )
        with self._engine.connect() as connection:
            number = connection.execute(select).scalar()
        return None if number is None else self.get(number)

    @property
    def any(self) -> bool:
        """Whether anybody was ever erased."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(tombstones.c.digest).limit(1)).first() is not None

    def tombstoned(self, digests: Collection[str]) -> set[str]:
        """Those of the digests that have a tombstone."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            if len(digests) > _ASKED_ONE_BY_ONE:
                stones = connection.execute(sa.select(tombstones.c.digest)).scalars()
                return set(digests) & set(stones)
            asked = list(digests)
            for start in range(0, len(asked), ASKED_AT_ONCE):
                select = sa.select(tombstones.c.digest).where(
                    tombstones.c.digest.in_(asked[start : start + ASKED_AT_ONCE])
                )
                found |= set(connection.execute(select).scalars())
        return found

    def digest(self, kind: str, value: str) -> str:
        """The tombstone of a value of some kind, such as an identifier's type."""
        told = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(told, key=self._key, digest_size=16).hexdigest()

    def address_digest(self, address: str) -> str:
        """The hash of an address to which messages go, under a key of its own."""
        told = address.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(told, key=self._address_key, digest_size=16).hexdigest()

    def key_check(self) -> str:
        """What tells the key of the tombstones from others; nothing before the first one."""
        return self._check_of(1)

    def address_key_check(self) -> str:
        """What tells the key of addresses from others; nothing before the first one."""
        return self._check_of(2)

    def settle_keys(self) -> None:
        """Where the environment has a key, take it for what was hashed before, too. Raises like
        `_key`."""
        if os.environ.get(KEY):
            _ = self._key, self._address_key

    def _check_of(self, number: int) -> str:
        known = vars(self).get("_key" if number == 1 else "_address_key")
        if known is not None:
            return _check(known)
        if number not in self._checks:
            # read alone: the caller may be within a small transaction
            select = sa.select(_keys.c.check).where(_keys.c.one == number)
            with self._engine.connect() as connection:
                found = connection.execute(select).scalar()
            if found is None:
                return ""
            self._checks[number] = found
        return self._checks[number]

    @cached_property
    def _key(self) -> bytes:
        """The key of the tombstones: the environment's, else one that is kept in the ledger.

        Raises ProfilePipelinesError when it isn't the one that the first tombstone was made with.
        """
        return self._settled(1)

    @cached_property
    def _address_key(self) -> bytes:
        """The key of addresses: the environment's of when the first one was hashed, else one that
        is kept in the ledger, also when the environment has one later. Raises like `_key`."""
        return self._settled(2)

    def _settled(self, number: int) -> bytes:
        given = os.environ.get(KEY)
        if given is not None and len(given) < _SHORTEST:
            raise ProfilePipelinesError(f"{KEY} is too short; take {_SHORTEST} characters or more")
        made = given or secrets.token_hex(32)
        statement = self._insert(_keys).values(
            one=number, key=None if given else made, check=_check(_bytes(made))
        )
        with self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_nothing())
            kept, check = connection.execute(
                sa.select(_keys.c.key, _keys.c.check).filter_by(one=number)
            ).one()
        key = _bytes((kept or given if number == 2 else given or kept) or "")
        if _check(key) != check:
            whose = "tombstones" if number == 1 else "addresses"
            where = "is kept in the ledger; unset it" if kept else "was another; set that one"
            raise ProfilePipelinesError(
                f"{KEY} isn't the key of the {whose} that are there: theirs {where}. Without "
                "it, people who were erased would come back, and suppressed addresses get mail"
            )
        return key


def _bytes(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _check(key: bytes) -> str:
    return hashlib.blake2b(b"check", key=key, digest_size=16).hexdigest()
