"""Do a sync's aggregates fit its child records and the attributes that they are for?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from profile_pipelines.catalog.aggregates import Aggregate, ChildField
from profile_pipelines.catalog.conditions import Condition, check_condition
from profile_pipelines.catalog.convert_checks import convert_mistakes
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.systems import Sync

_BECOMES: Mapping[str, tuple[str, ...]] = {
    "integer": ("integer", "decimal"),
    "date": ("date", "timestamp"),
    "timestamp": ("timestamp", "date"),
}
"""The attribute types, beside its own, that a child's type can become."""


def child_attributes(
    fields: Mapping[str, ChildField], system: str, ordered: Collection[str] = ()
) -> dict[str, Attribute]:
    """The child fields as attributes, by which they are checked, cast and compared; `ordered` names
    those whose lists are no sets."""
    return {
        name: Attribute(
            type=each.type,
            sources=[system],
            fresh_within=timedelta(days=1),
            ordered=name in ordered,
            # what becomes of the customers' values is watched, see docs/adr/0009
            max_emptied=1,
            max_changed=1,
        )
        for name, each in fields.items()
    }


def aggregate_mistakes(
    sync: Sync, attributes: Mapping[str, Attribute], system: str
) -> Iterator[tuple[Path, str]]:
    """What is wrong, each with its path below the sync."""
    if not sync.is_aggregating:
        return
    if sync.key is None:
        yield ("key",), "is missing; an aggregating sync needs the field that tells children apart"
    if len(sync.identifiers) > 1:
        yield (
            ("identifiers",),
            "an aggregating sync counts by one identifier; keep the one that all children bear",
        )
    children = child_attributes(sync.fields, system)
    for name, each in sync.fields.items():
        field = MappedField(**each.under(name))
        for path, text in convert_mistakes(field, children[name]):
            yield ("fields", name, *path), text.replace("the attribute's", "the field's")
    for name, mapped in sync.attributes.items():
        at = ("attributes", name)
        if mapped.aggregate is None:
            yield at, "this sync's records are children, so it needs `aggregate`, such as count"
            continue
        if mapped.field or mapped.convert:
            yield at, "stands beside `aggregate`; put the field and its steps under `fields`"
        for path, text in _function(mapped.aggregate, sync, attributes.get(name)):
            yield (*at, "aggregate", *path), text
        where = mapped.aggregate.where
        if where is not None:
            found = [*check_condition(where, children, ()), *_changes(where)]
            for path, text in found:
                field_text = text.replace("unknown attribute", "unknown field")
                yield (*at, "aggregate", "where", *path), field_text


def _function(
    aggregate: Aggregate, sync: Sync, attribute: Attribute | None
) -> Iterator[tuple[Path, str]]:
    function, of, by = aggregate.function, aggregate.of, aggregate.by
    for key, name in ((function, of), ("by", None if by is None else by.field)):
        if name is not None and name not in sync.fields:
            hint = did_you_mean(name, sync.fields, all_of="there are")
            yield (key,), f"unknown field{hint or '; declare it under the sync as fields'}"
    if by is not None and by.field in sync.fields:
        kind = sync.fields[by.field].type
        if by.words and kind != "string":
            yield ("by",), f"orders words, but the type of {by.field} is {kind}"
        elif kind in ("boolean", "list"):
            yield ("by",), f"needs values in order; the field's type is {kind}"
    if function == "last" and by is None and sync.updated_at is None:
        yield ("last",), "needs `by`, the field that makes a child the last, such as a time"
    if attribute is None or (of is not None and of not in sync.fields):
        return
    if function == "count":
        wanted: tuple[str, ...] = ("integer", "decimal")
    else:
        kind = sync.fields[of or ""].type
        if function in ("any", "all") and kind != "boolean":
            yield (function,), f"needs a boolean; the field's type is {kind}"
            return
        if function == "sum" and kind not in ("integer", "decimal"):
            yield (function,), f"needs numbers; the field's type is {kind}"
            return
        if function in ("min", "max") and kind in ("boolean", "list"):
            yield (function,), f"needs values in order; the field's type is {kind}"
            return
        if function == "list_distinct":
            if kind not in ("string", "list"):
                yield (function,), f"needs texts or lists; the field's type is {kind}"
                return
            kind = "list"
        wanted = _BECOMES.get(kind, (kind,))
    if attribute.type not in wanted:
        made = in_words(wanted, "or")
        yield (function,), f"gives {made}, but the attribute's type is {attribute.type}"


def _changes(where: Condition) -> Iterator[tuple[Path, str]]:
    for key in ("all", "any", "none"):
        for index, child in enumerate(getattr(where, key) or ()):
            for path, text in _changes(child):
                yield (key, index, *path), text
    if where.test is not None:
        name, operators = where.test
        if any(operator == "changed_within" for operator, _ in operators):
            yield (name, "changed_within"), "asks about profiles; it can't be asked of children"
