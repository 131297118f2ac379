"""The lake as it stood at a moment, for what only reads."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake.lake import Lake
from profile_pipelines.lake.table import LakeTable, Pinned, Rows


class PastLake(Lake):
    """A lake whose profiles and audiences are as they were recorded by a moment (UTC)."""

    def __init__(self, lake: Lake, moment: datetime) -> None:
        super().__init__(lake.root, lake.engine, lake.witness)
        self._moment = moment

    def profiles(self, catalogue: Catalogue) -> LakeTable:
        return _PastTable(super().profiles(catalogue), self._moment)

    def audience(self, name: str) -> LakeTable:
        return _PastTable(super().audience(name), self._moment)


class _PastTable(LakeTable):
    def __init__(self, table: LakeTable, moment: datetime) -> None:
        vars(self).update(vars(table))
        self._moment = moment

    def pin(self) -> Pinned:
        return _PastPinned(super().pin(), self._moment)


class _PastPinned(Pinned):
    """What is read of it is as of the moment; its state is today's."""

    def __init__(self, pinned: Pinned, moment: datetime) -> None:
        vars(self).update(vars(pinned))
        self._moment = moment

    def current(self, columns: Iterable[str], alias: str, *, where: exp.Expr | None = None) -> Rows:
        return self.as_of(self._moment, columns, alias, where=where)

    def changes(
        self, columns: Iterable[str], alias: str, *, since: int = 0, where: exp.Expr | None = None
    ) -> Rows:
        past = exp.LTE(this=column("recorded_at"), expression=literal(self._moment))
        both = past if where is None else exp.and_(past, where)
        return super().changes(columns, alias, since=since, where=both)
