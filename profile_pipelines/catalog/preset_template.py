"""Texts of a preset with `{field}`, which are filled in with what a user's connection gives."""

from __future__ import annotations

import re
from typing import Any, cast

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class NotTextError(Exception):
    """A field's value can't be part of a text; the message is the field's name."""


def fill(template: Any, fields: dict[str, object]) -> Any:
    """The template with `{field}` replaced; a key whose whole text is a field of None is left out.

    Text in braces that is no field stays. Raises `NotTextError` with the field's name where a value
    that isn't plain text would stand within other text.
    """
    if isinstance(template, dict):
        items = cast(dict[str, Any], template).items()
        filled = {key: fill(value, fields) for key, value in items}
        return {k: v for k, v in filled.items() if v is not None or template[k] is None}
    if isinstance(template, list):
        return [fill(item, fields) for item in cast(list[Any], template)]
    if not isinstance(template, str):
        return template
    whole = _FIELD.fullmatch(template)
    if whole and whole[1] in fields:
        return fields[whole[1]]
    return _FIELD.sub(lambda found: _part(found, fields), template)


def _part(found: re.Match[str], fields: dict[str, object]) -> str:
    name = found[1]
    if name not in fields:
        return found[0]
    value = fields[name]
    if not isinstance(value, str | int):
        raise NotTextError(name)
    return str(value)


def fields_in(template: Any) -> set[str]:
    """The names that stand in braces anywhere in the template."""
    if isinstance(template, dict):
        return set[str]().union(*map(fields_in, cast(dict[str, Any], template).values()))
    if isinstance(template, list):
        return set[str]().union(*map(fields_in, cast(list[Any], template)))
    return set(_FIELD.findall(template)) if isinstance(template, str) else set()
