"""The `valid` rules of an attribute: do they fit its type, and in which Python type are they?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from profile_pipelines.catalog.mistakes import Path
from profile_pipelines.catalog.values import AttributeType, typed_value

if TYPE_CHECKING:
    from profile_pipelines.catalog.models import Valid

_ORDERED: frozenset[AttributeType] = frozenset({"integer", "decimal", "date", "timestamp"})


def typed_rules(
    attribute_type: AttributeType, valid: Valid
) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """The rules whose values take the attribute's type, by field name, and what is wrong."""
    rules: dict[str, Any] = {}
    mistakes: list[tuple[Path, str]] = []
    for name, bound in (("min", valid.min), ("max", valid.max)):
        if bound is None:
            continue
        if attribute_type not in _ORDERED:
            mistakes.append(
                ((name,), f"the type {attribute_type} has no order; use `in` or `matches`")
            )
            continue
        try:
            rules[name] = typed_value(attribute_type, bound)
        except ValueError as error:
            mistakes.append(((name,), str(error)))
    if "min" in rules and "max" in rules and rules["min"] > rules["max"]:
        mistakes.append((("min",), "is above max; no value would be valid"))
    if valid.in_ is not None:
        rules["in_"] = _choices(attribute_type, valid.in_, mistakes)
    if valid.matches is not None:
        mistakes.extend((("matches",), text) for text in _pattern(attribute_type, valid.matches))
    return rules, mistakes


def _choices(
    attribute_type: AttributeType, values: list[Any], mistakes: list[tuple[Path, str]]
) -> list[Any]:
    if not values:
        mistakes.append((("in",), "is empty; no value would be valid"))
    item_type = "string" if attribute_type == "list" else attribute_type
    typed: list[Any] = []
    for index, value in enumerate(values):
        try:
            typed.append(typed_value(item_type, value))
        except ValueError as error:
            mistakes.append((("in", index), str(error)))
    return typed


def pattern_mistakes(pattern: str) -> list[str]:
    """What is wrong with a regular expression; only plain ones are read."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return [f"isn't a regular expression: {getattr(error, 'msg', 'too complex')}"]
    unescaped = re.sub(r"\\[^1-9]", "", pattern)
    if re.search(r"\(\?(=|!|<=|<!|P=|\()|\\[1-9]", unescaped):
        return ["look-around and back-references aren't read; write a plain regular expression"]
    return []


def _pattern(attribute_type: AttributeType, pattern: str) -> list[str]:
    if attribute_type != "string":
        return [f"only a string can be matched; its type is {attribute_type}"]
    return pattern_mistakes(pattern)
