"""Do a field's `convert` steps follow from each other, and do they lead to the attribute's type?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from profile_pipelines.catalog.convert_steps import ConvertStep, DefaultStep, MapStep, step_name
from profile_pipelines.catalog.field_paths import leads_to_list
from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words
from profile_pipelines.catalog.values import AttributeType, typed_value

if TYPE_CHECKING:
    from profile_pipelines.catalog.mapped_fields import MappedField
    from profile_pipelines.catalog.models import Attribute
    from profile_pipelines.catalog.systems import Sync

Kind = Literal["raw", "text", "list", "number", "date", "timestamp"]
"""What a value is between two steps; `raw` is the source's own value, whatever it is."""

_TEXTUAL: tuple[Kind, ...] = ("raw", "text", "list")
_TAKES: dict[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("trim", "lower", "upper", "map", "replace", "extract", "pad"), _TEXTUAL),
    "default": ("raw", "text", "list", "number", "date", "timestamp"),
    "split": ("raw", "text"),
    "first": ("raw", "list"),
    "last": ("raw", "list"),
    "join": ("raw", "list"),
    "date": ("raw", "text"),
    "timestamp": ("raw", "text"),
    "number": ("raw", "text"),
    "minor_units": ("raw", "text", "number"),
}
_GIVES: dict[str, Kind] = {
    "split": "list",
    "first": "text",
    "last": "text",
    "join": "text",
    "date": "date",
    "timestamp": "timestamp",
    "number": "number",
    "minor_units": "number",
}
_LEADS_TO: dict[Kind, tuple[AttributeType, ...]] = {
    "list": ("list",),
    "number": ("decimal", "integer"),
    "date": ("date", "timestamp"),
    "timestamp": ("timestamp", "date"),
}


def control_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    """What is wrong with the steps of a sync's control fields, each with its path below it."""
    for at, field in sync.roles:
        kind = _at_first(field)
        before = ""
        for index, step in enumerate(field.convert):
            name = step_name(step)
            if kind not in _TAKES[name]:
                yield (*at, "convert", index), _out_of_place(name, kind, before)
                break
            kind, before = _after(kind, name), name
        else:
            if kind == "list" and field.convert:
                todo = "one value is needed; add first, last or {join: …}"
                yield (*at, "convert", len(field.convert) - 1), f"leads to a list, and {todo}"


def convert_mistakes(field: MappedField, attribute: Attribute) -> Iterator[tuple[Path, str]]:
    """What is wrong with the steps for this attribute, each with its path below the field."""
    kind = _at_first(field)
    before = ""
    for index, step in enumerate(field.convert):
        name = step_name(step)
        if kind not in _TAKES[name]:
            yield ("convert", index), _out_of_place(name, kind, before)
            return
        kind = _after(kind, name)
        before = name
        if all(isinstance(later, DefaultStep) for later in field.convert[index + 1 :]):
            yield from _written_values(index, step, attribute)
    leads_to = _LEADS_TO.get(kind)
    if leads_to is not None and attribute.type not in leads_to:
        wanted = f"the attribute's type is {attribute.type}"
        todo = "; add first, last or {join: …}" if kind == "list" else ""
        path: Path = ("convert", len(field.convert) - 1) if field.convert else ()
        yield path, f"leads to a {kind}, but {wanted}{todo}"


def _after(kind: Kind, name: str) -> Kind:
    """What a value is after a step; a text step changes the entries of a list."""
    if kind == "list" and _TAKES[name] == _TEXTUAL:
        return kind
    return _GIVES.get(name, "text" if kind == "raw" and name != "default" else kind)


def _at_first(field: MappedField) -> Kind:
    if field.join:
        return "text"
    return "list" if leads_to_list(field.field) else "raw"


def _out_of_place(name: str, kind: Kind, before: str) -> str:
    takes = _TAKES[name]
    if kind == "list":
        return f"takes one text, and here is a list; put first, last or {{join: …}} before {name}"
    if "list" in takes and "text" not in takes:
        return f"takes a list, and here is a {kind}; put {{split: …}} before {name}"
    return f"takes text, and {before} gives a {kind}; put {name} before it"


def _written_values(
    index: int, step: ConvertStep, attribute: Attribute
) -> Iterator[tuple[Path, str]]:
    """Values that the catalogue writes down and that become the attribute's as they are."""
    values: list[tuple[Sequence[str | int], object]] = []
    if isinstance(step, DefaultStep):
        values.append((("default",), step.default))
    elif isinstance(step, MapStep):
        values += [(("map", key), value) for key, value in step.map.items()]
        values.append((("otherwise",), step.otherwise))
    item_type = "string" if attribute.type == "list" else attribute.type
    for path, value in values:
        if value is None:
            continue
        at: Path = ("convert", index, *path)
        try:
            typed = typed_value(item_type, value)
        except ValueError as error:
            yield at, str(error)
            continue
        allowed = attribute.valid.in_
        if allowed is not None and typed not in allowed:
            hint = did_you_mean(str(typed), map(str, allowed)) or (
                f"; there are {in_words(map(str, allowed))}"
            )
            yield at, f"isn't among the attribute's valid values{hint}"
