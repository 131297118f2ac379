"""Makes an ordinary system of one whose connection names a preset.

What the user writes is laid over what the preset declares: mappings key by key (`null` takes a
key away), but for `auth` and `paging` of another `type`; these, `identifiers`, `attributes` and
everything else stand in place of the preset's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words
from profile_pipelines.catalog.plain_words import SECRET_WANTED
from profile_pipelines.catalog.preset_files import (
    LoadedPreset,
    connection_keys,
    placeholder,
    shipped,
    shipped_names,
)
from profile_pipelines.catalog.preset_template import NotTextError, fields_in, fill

_PLACES = ("path", "table", "query")
_NOT_OF_A_SYNC = ("description", "docs", "notes", "attributes")
_REPLACED = ("identifiers", "attributes")
_TYPED = ("auth", "paging")


@dataclass
class Expansion:
    """A system without its preset, and what is wrong, each with its path in the user's file."""

    data: dict[str, Any]
    mistakes: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    known: bool = True
    """False when the preset isn't there or has mistakes: nothing can be said of the system."""


def expand_system(draft: Draft, system: dict[str, Any]) -> Expansion:
    """The system as it stands when its connection names no preset, else what it stands for."""
    kind = _mapping(system.get("connection")).get("type")
    if not isinstance(kind, str) or kind in connection_keys():
        return Expansion(system)
    if kind in draft.presets:
        return expand(system, draft.presets[kind])
    if kind in shipped_names() and ("preset", kind) not in draft.places:
        return expand(system, shipped(kind))
    if not draft.is_unknown("preset", kind):
        return Expansion(system, known=False)
    types = list(connection_keys())
    presets = sorted({*shipped_names(), *draft.declared("preset")})
    near = did_you_mean(kind, [*types, *presets])
    text = f"must be {in_words(types, 'or')}, or a preset of `profile-pipelines sources`{near}"
    return Expansion(system, [(("connection", "type"), text)], known=False)


def expand(system: Mapping[str, Any], loaded: LoadedPreset) -> Expansion:
    """The system with the preset's connection and streams, which isn't validated yet.

    Where there are mistakes the data is what could be made of the rest.
    """
    written = _mapping(system.get("connection"))
    own = {k: v for k, v in written.items() if k != "type" and k not in loaded.preset.fields}
    template = {
        "connection": _over(loaded.data["connection"], own),
        "streams": loaded.data["streams"],
    }
    mistakes = _field_mistakes(written, loaded, fields_in(template))
    wrong = {str(path[1]) for path, _ in mistakes}
    filled = _filled(template, _field_values(written, loaded, wrong), mistakes)
    data = {"kind": loaded.preset.kind, **system, "connection": filled["connection"]}
    syncs = system.get("syncs")
    if isinstance(syncs, dict):
        data["syncs"] = {
            name: _sync(name, sync, loaded.preset.preset, filled["streams"], mistakes)
            for name, sync in cast(dict[str, Any], syncs).items()
        }
    return Expansion(data, mistakes)


def _field_values(
    written: Mapping[str, Any], loaded: LoadedPreset, wrong: set[str]
) -> dict[str, Any]:
    """What the fields stand for; what is wrong is replaced, so that the rest can be checked."""
    return {
        name: placeholder(field)
        if name in wrong
        else (written[name] if written.get(name) is not None else field.default)
        for name, field in loaded.preset.fields.items()
    }


def _filled(
    template: dict[str, Any], values: dict[str, Any], mistakes: list[tuple[Path, str]]
) -> dict[str, Any]:
    while True:
        try:
            return fill(template, values)
        except NotTextError as error:
            name = str(error)
            text = "must be plain text, since the preset makes it part of another text"
            mistakes.append((("connection", name), text))
            values[name] = ""


def _field_mistakes(
    written: Mapping[str, Any], loaded: LoadedPreset, used: set[str]
) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    kind = loaded.preset.connection.get("type")
    known = [*loaded.preset.fields, *connection_keys().get(str(kind), ())]
    for name in written:
        if name not in known:
            hint = did_you_mean(name, known, all_of="the keys here are")
            found.append((("connection", name), f"unknown key{hint}"))
    for name, declared in loaded.preset.fields.items():
        path = ("connection", name)
        value = written.get(name)
        if value is None:
            if declared.required and name in used:
                example = declared.example or "…"
                if declared.secret:
                    example = f"{{env: {loaded.preset.preset.upper()}_{name.upper()}}}"
                told = declared.description.rstrip(".")
                found.append((path, f"is missing: {told}; write for example {name}: {example}"))
        elif declared.secret and not _is_secret(value):
            given = _mapping(value)
            at = (*path, "env") if set(given) == {"env"} else path
            found.append((at, SECRET_WANTED))
        elif not isinstance(value, str | int | dict) or isinstance(value, bool):
            found.append((path, f"must be text: {declared.description.rstrip('.')}"))
    return found


def _is_secret(value: object) -> bool:
    given = _mapping(value)
    return set(given) == {"env"} and isinstance(given["env"], str)


def _sync(
    name: str,
    written: object,
    preset: str,
    streams: dict[str, Any],
    mistakes: list[tuple[Path, str]],
) -> object:
    if written is not None and not isinstance(written, dict):
        return written
    own = dict(_mapping(cast(object, written)))
    at: Path = ("syncs", name)
    stream = own.pop("stream", name)
    if stream not in streams:
        if stream == name and any(place in own for place in _PLACES):
            return own
        if stream != name:
            at = (*at, "stream")
        hint = did_you_mean(str(stream), streams) or f"; there are {in_words(streams)}"
        text = f"{preset} has no stream {stream}{hint}"
        mistakes.append((at, f"{text}; or give the path of an endpoint of your own"))
        return None
    declared = _mapping(streams[stream])
    suggested = _mapping(declared.get("attributes"))
    if own.get("attributes") is None:
        takes = f"take some of {in_words(suggested)}" if suggested else "map some fields"
        text = f"is missing; {takes}, or write {{}} to link identifiers only"
        mistakes.append(((*at, "attributes"), text))
    own["attributes"] = _attributes(own.get("attributes"), suggested, (*at, "attributes"), mistakes)
    unfit = _unfit_survivorship(declared, own)
    left_out = (*_NOT_OF_A_SYNC, *unfit)
    return _over({k: v for k, v in declared.items() if k not in left_out}, own)


def _unfit_survivorship(declared: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, ...]:
    """What a stream says about the record that wins which doesn't go with what was taken of it."""
    taken = _mapping(own.get("attributes"))
    fields = {
        each if isinstance(each, str) else _mapping(each).get("field") for each in taken.values()
    }
    if "fields" in own or any("aggregate" in _mapping(each) for each in taken.values()):
        return ("survivorship", "winner")
    compared = _mapping(declared.get("winner"))
    known = {*taken, *fields, "then", "updated_at"}
    if own.get("survivorship") == "attribute" or not known.issuperset(compared):
        return ("winner",)
    return ()


def _attributes(
    written: object, suggested: Mapping[str, Any], at: Path, mistakes: list[tuple[Path, str]]
) -> object:
    """`[name, …]` takes suggestions; `name: {suggested: …}` one under another name."""
    if isinstance(written, list):
        taken: dict[str, Any] = {}
        for index, name in enumerate(cast(list[Any], written)):
            taken[str(name)] = _suggestion(name, {}, suggested, (*at, index), mistakes)
        return taken
    if not isinstance(written, dict):
        return {} if written is None else written
    made: dict[str, Any] = {}
    for name, value in cast(dict[str, Any], written).items():
        rest = dict(_mapping(value))
        if "suggested" in rest:
            named = rest.pop("suggested")
            made[name] = _suggestion(named, rest, suggested, (*at, name, "suggested"), mistakes)
        else:
            made[name] = value
    return made


def _suggestion(
    name: object,
    own: dict[str, Any],
    suggested: Mapping[str, Any],
    at: Path,
    mistakes: list[tuple[Path, str]],
) -> dict[str, Any]:
    if not isinstance(name, str) or name not in suggested:
        hint = did_you_mean(str(name), suggested, all_of="there are")
        mistakes.append((at, f"the stream suggests no attribute {name}{hint}"))
        return {"field": "unknown"}
    return {**{k: v for k, v in suggested[name].items() if k != "attribute"}, **own}


def _over(base: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(_mapping(base))
    for key, value in own.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif key in _REPLACED or not isinstance(value, dict) or not isinstance(below, dict):
            merged[key] = value
        else:
            mine, theirs = _mapping(cast(object, value)), _mapping(cast(object, below))
            another = key in _TYPED and "type" in mine and mine["type"] != theirs.get("type")
            merged[key] = mine if another else _over(theirs, mine)
    return merged


def _mapping(value: object) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}
