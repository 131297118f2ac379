"""How far each attribute of a sync has been read, and from where the next read goes on.

A cursor has the `mapping` that was read, the source's `mark` before it was read, and the newest
time of a record, or of an event that named one, `at`. Cursors are committed with the data that
they tell of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, overload

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import is_incremental
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.lake import Pinned


class Cursors:
    """The cursors of the attributes that a sync is to read this time."""

    def __init__(
        self, catalogue: Catalogue, declared: Sync, chosen: Sequence[str], pinned: Pinned
    ) -> None:
        self._declared = declared
        self._chosen = chosen
        self._mappings = {name: _mapping(catalogue, declared, name) for name in chosen}
        stored: Mapping[str, dict[str, Any]] = pinned.state.get("cursors", {})
        # Those of attributes that are no longer declared go: nobody reads on from there.
        still = set(pinned.table.columns)
        self._stored = {name: cursor for name, cursor in stored.items() if name in still}

    def oldest(self) -> datetime | None:
        """The oldest of the cursors; None when an attribute has to be read whole."""
        if not self._chosen or not is_incremental(self._declared):
            return None
        times: list[datetime] = []
        for cursor in self._valid():
            if cursor is None or cursor["at"] is None:
                return None
            times.append(datetime.fromisoformat(cursor["at"]))
        return min(times)

    def since(self) -> datetime | None:
        """From where to read: a while before the oldest cursor, for what comes late."""
        oldest = self.oldest()
        return None if oldest is None else oldest - self._declared.lateness

    def newest(self) -> datetime | None:
        """The newest time of a record that was read for any of the attributes."""
        times = [cursor["at"] for cursor in self._valid() if cursor and cursor["at"]]
        return datetime.fromisoformat(max(times)) if times else None

    def have_mark(self, mark: str | None) -> bool:
        """Whether all was read already when the source had this mark; never known of a sync that
        brings no attribute."""
        known = self._valid()
        return (
            mark is not None
            and bool(known)
            and all(each is not None and each["mark"] == digest(mark) for each in known)
        )

    def after(
        self, brought: Sequence[str], mark: str | None, latest: datetime | None, *, whole: bool
    ) -> dict[str, Any]:
        """The cursors to commit, once `brought` was read up to the record time `latest`.

        Only a `whole` read takes a cursor back.
        """
        cursors = dict(self._stored)
        for name, known in zip(self._chosen, self._valid(), strict=True):
            if name not in brought:
                continue
            at = None if latest is None else latest.isoformat()
            if not whole and known is not None and known["at"] is not None:
                at = known["at"] if at is None else max(at, known["at"])
            cursors[name] = {"mapping": self._mappings[name], "at": at, "mark": digest(mark)}
        return cursors

    def _valid(self) -> list[dict[str, Any] | None]:
        """The chosen attributes' cursors; None where the mapping is another than was read."""
        found = [self._stored.get(name) for name in self._chosen]
        return [
            cursor if cursor is not None and cursor["mapping"] == self._mappings[name] else None
            for name, cursor in zip(self._chosen, found, strict=True)
        ]


def _mapping(catalogue: Catalogue, declared: Sync, attribute: str) -> str:
    """Changes when the attribute has to be read anew: other records, field, type or rules."""
    spec = catalogue.attributes[attribute]
    parts = {
        "field": declared.attributes[attribute].model_dump(mode="json", exclude={"schedule"}),
        "type": spec.type,
        "valid": spec.valid.model_dump(mode="json"),
        "timezone": catalogue.settings.timezone,
        "origin": declared.model_dump(
            mode="json",
            include={
                *("table", "query", "path", "method", "params", "body", "graphql", "records"),
                *("bulk", "key", "updated_at", "deleted", "deleted_when"),
            },
        ),
        "identifiers": {
            name: [path, catalogue.identifiers[name].model_dump(mode="json")]
            for name, path in declared.identifiers.items()
        },
    }
    if declared.events is not None:
        # other events tell of other records, which may have changed before
        parts["events"] = declared.events.model_dump(mode="json", exclude={"kept"})
    return digest(json.dumps(parts, sort_keys=True, default=str))


@overload
def digest(text: str) -> str: ...
@overload
def digest(text: None) -> None: ...
def digest(text: str | None) -> str | None:
    """Short, and without anything of the text itself: it stands in the table's metadata."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]
