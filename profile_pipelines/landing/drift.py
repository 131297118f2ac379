"""Does a source still have the fields that it had?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from profile_pipelines.catalog.field_paths import split_path
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.errors import MissingField
from profile_pipelines.ledger import Excess
from profile_pipelines.sources import Source
from profile_pipelines.sources.reading import near

_MOST = 500
"""So many fields of JSON are kept in mind at most."""
_EXPECTED = 20
"""So many values have to be expected before their absence says that the field is gone."""


def told_fields(system: System, source: Source) -> dict[str, str] | None:
    """The source's fields and their types; None where only its records tell (JSON)."""
    if system.connection.type not in ("sql", "files") or _is_json(source):
        return None
    return source.inspect() or None


def drift(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> tuple[str, ...]:
    """What is another than when the fields were last seen, a line for each field."""
    if before is None or now is None:
        return ()
    new = {name: kind for name, kind in now.items() if name not in before}
    lines: list[str] = []
    for name, kind in before.items():
        if name not in now:
            alike = get_close_matches(name, [n for n in new if new[n] == kind], n=1, cutoff=0.6)
            renamed = f"; it may be called {alike[0]} now" if alike else ""
            lines.append(f"the field {name} is gone{renamed}")
        elif now[name] != kind:
            lines.append(f"the field {name} has the type {now[name]} now, not {kind}")
    return (*lines, *(f"the field {name} is new" for name in new))


def learned(
    before: Mapping[str, str] | None, sample: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """What a sample of JSON records shows that wasn't known, a line for each field; and what is
    known now. A sample without some field says nothing, since records need not have it."""
    if not sample:
        return (), None if before is None else dict(before)
    known, lines = dict(before or {}), list[str]()
    for path, kind in sample.items():
        if path not in known:
            if len(known) >= _MOST:
                continue
            # with a new object, its members are new, too
            if path.rpartition(".")[0].removesuffix("[*]") in (*(before or ()), ""):
                lines.append(f"the field {path} is new")
            known[path] = kind
            continue
        kinds = {*known[path].split(" or ")}
        if fresh := {*kind.split(" or ")} - kinds:
            now = " or ".join(sorted(fresh))
            lines.append(f"the field {path} has the type {now} now, not {known[path]}")
            known[path] = " or ".join(sorted(kinds | fresh))
    return (() if before is None else tuple(lines)), known


def missing(
    declared: Sync, chosen: Sequence[str], fields: Mapping[str, str] | None
) -> dict[str, Excess]:
    """Those of the attributes whose field the source hasn't got."""
    if fields is None:
        return {}
    found: dict[str, Excess] = {}
    for name in chosen:
        for path in declared.attributes[name].reads:
            if name not in found and split_path(path, fields) is None:
                found[name] = no_field(path, fields)
    return found


def check_needed(where: str, needed: Sequence[str], fields: Mapping[str, str] | None) -> None:
    """Raises MissingField where fields are gone without which no record can be read."""
    if fields is None:
        return
    if lacking := [field for field in needed if split_path(field, fields) is None]:
        said = "; ".join(str(no_field(field, fields)) for field in lacking)
        raise MissingField(lacking[0], f"{where}: {said}")


def unseen(
    declared: Sync,
    chosen: Sequence[str],
    seen: set[str],
    rows: int,
    at_least: Mapping[str, int],
    records: int,
) -> dict[str, Excess]:
    """Those of the attributes whose path no record has any more, though many should have one.

    `at_least` values of each were known among `records`.
    """
    return {
        name: Excess(
            "missing", rows, rows, 0.0, f"no record has the field {declared.attributes[name].field}"
        )
        for name in chosen
        if seen.isdisjoint(declared.attributes[name].reads)
        and records
        and rows * at_least.get(name, 0) / records >= _EXPECTED
    }


def no_field(field: str, fields: Mapping[str, str]) -> Excess:
    """The reason why an attribute can't be read."""
    return Excess("missing", 0, 0, 0.0, f"the source has no field {field}; {near(field, fields)}")


def _is_json(source: Source) -> bool:
    return getattr(source, "format", None) == "jsonl"
