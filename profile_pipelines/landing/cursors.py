"""How far each attribute of a sync has been read, and from where the next read goes on.

A cursor has the `mapping` that was read, the source's `mark` before it was read, and the newest
time of a record, or of an event that named one, `at`. Cursors are committed with the data that
they tell of. Beside them stands how the stored records are told apart and identified: when that
is declared otherwise, all attributes are read together, whole, and what is stored stands until
then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, overload

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import is_incremental
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.lake import RECORDS
from profile_pipelines.sources.files_read import FileMark, FilesRead

FILES = "files"
"""The key, in a cursor and in a commit's state, of the files that were read."""


class Cursors:
    """The cursors of the attributes that a sync is to read this time."""

    def __init__(
        self, catalogue: Catalogue, system: str, name: str, chosen: Sequence[str], pinned: Pinned
    ) -> None:
        self._declared = catalogue.systems[system].syncs[name]
        self._chosen = chosen
        self._mappings = {a: _mapping(catalogue, system, name, a) for a in chosen}
        self._landed: dict[str, Any] | None = pinned.state.get(RECORDS)
        self._records = _records(catalogue, system, name)
        stored: Mapping[str, dict[str, Any]] = pinned.state.get("cursors", {})
        # Those of attributes that are no longer declared go: nobody reads on from there.
        still = set(pinned.table.columns)
        self._stored = {name: cursor for name, cursor in stored.items() if name in still}
        self._files: Mapping[str, dict[str, Any]] = pinned.state.get(FILES, {})

    @property
    def moved(self) -> bool:
        """Whether the records are declared to be others, or identified otherwise, than stored."""
        return self._landed is not None and self._landed["mapping"] != self._records["mapping"]

    @property
    def rekeyed(self) -> bool:
        """Whether the stored records are told apart by other keys."""
        return self._landed is not None and self._landed["key"] != self._records["key"]

    def records(self, *, whole: bool) -> dict[str, Any]:
        """What to commit of how the records are identified; only a whole read moves them."""
        known = {} if self._landed is None else self._landed
        return self._records if whole or not self.moved else known

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

    def files(self) -> tuple[FilesRead, ...]:
        """The files that were there when the attributes were read; none where that isn't known of
        each."""
        names = {"" if cursor is None else cursor.get(FILES, "") for cursor in self._valid()}
        if not names <= self._files.keys():
            return ()
        return tuple(FilesRead.from_state(self._files[name]) for name in names)

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
        self,
        brought: Sequence[str],
        mark: str | None,
        latest: datetime | None,
        files: Collection[FileMark] = (),
        *,
        whole: bool,
    ) -> dict[str, Any]:
        """The state to commit, once `brought` was read up to the record time `latest`, of `files`
        where the source tells them.

        Only a `whole` read takes a cursor back.
        """
        cursors = dict(self._stored)
        found = FilesRead.of(files).state if files else None
        read = {} if found is None else {FILES: digest(json.dumps(found))}
        for name, known in zip(self._chosen, self._valid(), strict=True):
            if name not in brought:
                continue
            at = None if latest is None else latest.isoformat()
            if not whole and known is not None and known["at"] is not None:
                at = known["at"] if at is None else max(at, known["at"])
            cursors[name] = {
                "mapping": self._mappings[name], "at": at, "mark": digest(mark), **read
            }  # fmt: skip
        kept = {cursor[FILES] for cursor in cursors.values() if FILES in cursor}
        remembered = {**self._files, **({read[FILES]: found} if read else {})}
        remembered = {name: state for name, state in remembered.items() if name in kept}
        return {"cursors": cursors, **({FILES: remembered} if remembered else {})}

    def _valid(self) -> list[dict[str, Any] | None]:
        """The chosen attributes' cursors; None where the mapping is another than was read."""
        found = [self._stored.get(name) for name in self._chosen]
        return [
            cursor if cursor is not None and cursor["mapping"] == self._mappings[name] else None
            for name, cursor in zip(self._chosen, found, strict=True)
        ]


def moved(catalogue: Catalogue, system: str, name: str, pinned: Pinned) -> bool:
    """Whether a sync's records are declared to be others, or identified otherwise, than stored."""
    return Cursors(catalogue, system, name, (), pinned).moved


def other_mappings(
    catalogue: Catalogue, system: str, name: str, chosen: Sequence[str], pinned: Pinned
) -> set[str]:
    """The attributes whose declaration is another than the one by which they were last read."""
    stored: Mapping[str, dict[str, Any]] = pinned.state.get("cursors", {})
    return {
        each
        for each in chosen
        if each in stored and stored[each]["mapping"] != _mapping(catalogue, system, name, each)
    }


def fingerprint(catalogue: Catalogue) -> str:
    """Changes when anything may have to be read anew."""
    systems = {
        system: {
            name: [
                _origin(catalogue, system, name),
                each.model_dump(mode="json", include={"attributes", "fields"}),
            ]
            for name, each in declared.syncs.items()
        }
        for system, declared in catalogue.systems.items()
    }
    types = {
        name: each.model_dump(mode="json", include={"type", "valid", "ordered"})
        for name, each in catalogue.attributes.items()
    }
    return _fingerprint([systems, types, catalogue.settings.timezone])


def _mapping(catalogue: Catalogue, system: str, name: str, attribute: str) -> str:
    """Changes when the attribute has to be read anew: other records, field, type or rules."""
    declared, spec = catalogue.systems[system].syncs[name], catalogue.attributes[attribute]
    parts = {
        "field": declared.attributes[attribute].model_dump(mode="json", exclude={"schedule"}),
        "type": spec.type,
        "valid": spec.valid.model_dump(mode="json"),
        "timezone": catalogue.settings.timezone,
        **_origin(catalogue, system, name),
    }
    if spec.ordered:
        parts["ordered"] = True
    return _fingerprint(parts)


def _records(catalogue: Catalogue, system: str, name: str) -> dict[str, Any]:
    """How a sync's records are identified and told apart, as it is committed with them."""
    declared = catalogue.systems[system].syncs[name]
    origin = _origin(catalogue, system, name)
    by_key = declared.key is not None and not declared.is_aggregating
    return {
        "mapping": _fingerprint(origin),
        "key": _fingerprint(origin["origin"]["key"] if by_key else origin["identifiers"]),
        "identifiers": list(declared.identifiers),
    }


def _origin(catalogue: Catalogue, system: str, name: str) -> dict[str, Any]:
    """Which records are read, and how they are identified and dated."""
    declared = catalogue.systems[system].syncs[name]
    parts: dict[str, Any] = {
        "origin": declared.model_dump(
            mode="json",
            include={
                *("table", "query", "path", "method", "params", "body", "graphql", "records"),
                *("bulk", "key", "updated_at", "deleted", "deleted_when"),
            },
        ),
        "identifiers": {
            each: [
                # many only where it is: older versions knew nothing of it
                field.model_dump(mode="json", exclude=set() if field.many else {"many"}),
                catalogue.identifiers[each].model_dump(
                    mode="json", include={"normalise", "deny", "description"}
                ),
            ]
            for each, field in declared.identifiers.items()
        },
    }
    if (zone := catalogue.systems[system].zone_of(declared)) != "UTC":
        parts["zone"] = zone
    if declared.csv is not None:
        # the same files say something else then
        plain = {"escape"} if declared.csv.escape is None else set[str]()
        parts["csv"] = declared.csv.model_dump(mode="json", exclude=plain)
    if declared.events is not None:
        # other events tell of other records, which may have changed before
        parts["events"] = declared.events.model_dump(mode="json", exclude={"kept"})
    return parts


def _fingerprint(parts: object) -> str:
    return digest(json.dumps(parts, sort_keys=True, default=str))


@overload
def digest(text: str) -> str: ...
@overload
def digest(text: None) -> None: ...
def digest(text: str | None) -> str | None:
    """Short, and without anything of the text itself: it stands in the table's metadata."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]
