"""The part of the JSON Schema by which editors know systems whose connection names a preset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from profile_pipelines.catalog.preset_files import LoadedPreset

_SECRET = {"$ref": "#/$defs/Secret"}


def add_preset_systems(defs: dict[str, Any], presets: Iterable[LoadedPreset]) -> dict[str, str]:
    """Add to the definitions what a system over a preset looks like; a reference to it."""
    sync = defs["Sync"]
    suggested = {
        "type": "object",
        "required": ["suggested"],
        "properties": {**defs["SourceField"]["properties"], "suggested": {"type": "string"}},
        "additionalProperties": False,
    }
    taken = {
        "anyOf": [
            {"type": "array", "items": {"type": "string"}},
            _with_more_values(sync["properties"]["attributes"], suggested),
        ],
        "description": "Suggested attributes by name, or attribute: source field.",
    }
    defs["PresetSync"] = {
        **{key: value for key, value in sync.items() if key != "required"},
        "properties": {
            **{key: {"anyOf": [v, {"type": "null"}]} for key, v in sync["properties"].items()},
            "attributes": taken,
            "stream": {"type": "string", "description": "The preset's stream, if not the name."},
        },
        "required": ["attributes"],
    }
    system = defs["System"]
    syncs = system["properties"]["syncs"]
    defs["PresetSystem"] = {
        **system,
        "title": "A system over a preset",
        "properties": {
            **system["properties"],
            "connection": {"oneOf": [_connection(each, defs) for each in presets]},
            "syncs": _with_reference(syncs, "#/$defs/Sync", "#/$defs/PresetSync"),
        },
        "required": [key for key in system["required"] if key != "kind"],
    }
    return {"$ref": "#/$defs/PresetSystem"}


def _connection(loaded: LoadedPreset, defs: dict[str, Any]) -> dict[str, Any]:
    preset = loaded.preset
    text = {"anyOf": [{"type": ["string", "integer"]}, _SECRET]}
    fields = {
        name: {
            **(_SECRET if field.secret else text),
            "description": field.description,
        }
        for name, field in preset.fields.items()
    }
    model = f"{str(preset.connection['type']).capitalize()}Connection"
    return {
        "type": "object",
        "title": preset.title,
        "properties": {
            **defs[model]["properties"],
            **fields,
            "type": {"const": preset.preset, "description": f"{preset.title} {preset.docs or ''}"},
        },
        "required": ["type"],
        "additionalProperties": False,
    }


def _with_more_values(mapping: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    patterns = cast(dict[str, Any], mapping["patternProperties"])
    return {
        **mapping,
        "patternProperties": {k: {"anyOf": [v, value]} for k, v in patterns.items()},
    }


def _with_reference(schema: Any, old: str, new: str) -> Any:
    if isinstance(schema, dict):
        items = cast(dict[str, Any], schema).items()
        return {
            k: new if k == "$ref" and v == old else _with_reference(v, old, new) for k, v in items
        }
    if isinstance(schema, list):
        return [_with_reference(item, old, new) for item in cast(list[Any], schema)]
    return schema
