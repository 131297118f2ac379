"""Pydantic's complaints in plain words, with the path as it stands in the YAML.

No message repeats a value from the file, since it may be a secret; only names of keys appear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words

SECRET_WANTED = "secrets never stand in YAML; write {env: NAME} and set that environment variable"
_MISTAKE = "mistake"
_PYDANTICS_OWN = frozenset(get_args(ErrorType))

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list, for example [a, b]",
    "tuple_type": "a list, for example [a, b]",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}


def located(mistakes: Iterable[tuple[Path, str]]) -> ValidationError:
    """A ValidationError with our own texts, each at its path below the validated value."""
    return ValidationError.from_exception_data(
        "catalogue",
        [
            InitErrorDetails(
                type=PydanticCustomError(_MISTAKE, "{text}", {"text": text}), loc=path, input=None
            )
            for path, text in mistakes
        ],
    )


def explain_keys(model: type[BaseModel], error: ValidationError) -> ValidationError:
    """Say for unknown keys which are known, and for missing ones how to write them."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    details: list[InitErrorDetails] = []
    for found in error.errors(include_url=False):
        key = str(found["loc"][0]) if len(found["loc"]) == 1 else ""
        if key and found["type"] == "extra_forbidden":
            text = f"unknown key{did_you_mean(key, fields, all_of='the keys here are')}"
        elif key in fields and found["type"] == "missing":
            example = fields[key].examples
            text = "is missing" + (
                f"; write for example {key}: {_in_yaml(example[0])}" if example else ""
            )
        else:
            details.append(_again(found))
            continue
        custom = PydanticCustomError(_MISTAKE, "{text}", {"text": text})
        details.append(InitErrorDetails(type=custom, loc=found["loc"], input=None))
    return ValidationError.from_exception_data(error.title, details)


def in_plain_words(error: ValidationError, data: object) -> list[tuple[Path, str]]:
    """Path and text of each mistake in `data`, one per place."""
    wanted: dict[Path, list[str]] = {}
    others: list[tuple[Path, str]] = []
    for found in error.errors(include_url=False):
        path = _path_in(data, found["loc"], wanting=_is_missing(found))
        kind = found["type"]
        if kind == "model_type" and found.get("ctx", {}).get("class_name") == "Secret":
            others.append((path, SECRET_WANTED))
        elif kind in _WANTED:
            wanted.setdefault(path, []).append(_WANTED[kind])
        else:
            others.append(_explain(path, found, _value_at(data, path)))
    merged = [(path, _must_be(list(dict.fromkeys(kinds)))) for path, kinds in wanted.items()]
    return list(dict.fromkeys([*merged, *others]))


def _must_be(kinds: list[str]) -> str:
    hint = "; put it in quotes" if kinds == ["text"] else ""
    return f"must be {in_words(kinds, 'or')}{hint}"


def _explain(path: Path, found: ErrorDetails, value: object) -> tuple[Path, str]:
    ctx: dict[str, Any] = found.get("ctx", {})
    match found["type"]:
        case "mistake":
            text = str(ctx["text"])
        case "value_error":
            text = str(ctx["error"])
        case "missing":
            text = "is missing"
        case "literal_error":
            text = _choose(re.findall(r"'([^']*)'", ctx["expected"]), value)
        case "union_tag_invalid":
            chosen = value  # the plain text that may stand for {type: text}
            if isinstance(value, dict):
                path = (*path, ctx["discriminator"].strip("'"))
                chosen = cast(dict[str, Any], value)[str(path[-1])]
            text = _choose(re.findall(r"'([^']*)'", ctx["expected_tags"]), chosen)
        case "union_tag_not_found":
            text = f"the key {ctx['discriminator']} is missing".replace("'", "`")
        case "string_pattern_mismatch" if path and path[-1] == "env":
            text = "must be the name of an environment variable, for example CRM_URL"
        case "string_pattern_mismatch":
            text = "must be lower case words joined by single underscores, like contract_end_date"
        case "string_too_long":
            text = f"is longer than {ctx['max_length']} characters"
        case "too_short":
            text = "is empty; at least one entry is needed"
        case "greater_than_equal":
            text = f"must be at least {ctx['ge']}"
        case "less_than_equal":
            text = f"must be at most {ctx['le']}"
        case "greater_than":
            text = "must be more than 0"
        case _:
            text = found["msg"].removeprefix("Input ").replace("should be", "must be")
    return path, text


def _in_yaml(value: object) -> str:
    if isinstance(value, dict):
        items = cast(dict[str, object], value).items()
        return "{" + ", ".join(f"{key}: {_in_yaml(item)}" for key, item in items) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_in_yaml, cast(list[object], value)))}]"
    return str(value)


def _choose(choices: list[str], value: object) -> str:
    near = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"must be {in_words(choices, 'or')}{near}"


def _is_missing(found: ErrorDetails) -> bool:
    text = str(found.get("ctx", {}).get("text", ""))
    return found["type"] == "missing" or text.startswith("is missing")


def _path_in(data: object, loc: tuple[int | str, ...], *, wanting: bool) -> Path:
    """Pydantic's location without what isn't in the YAML: union tags and `[key]`. With `wanting`
    the last step is the key that isn't there."""
    path: list[int | str] = []
    for index, step in enumerate(loc):
        if isinstance(data, dict) and step in data:
            data = cast(dict[object, object], data)[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(cast(Any, data)):
            data = cast(list[object], data)[step]
        elif index < len(loc) - 1 or not isinstance(data, dict) or not wanting:
            continue
        path.append(step)
    return tuple(path)


def _value_at(data: object, path: Path) -> object:
    for step in path:
        if not (isinstance(data, dict) and step in data) and not isinstance(data, list):
            return None
        data = cast(Any, data)[step]
    return data


def _again(found: ErrorDetails) -> InitErrorDetails:
    kind: Any = found["type"]
    ctx: dict[str, Any] = found.get("ctx", {})
    if kind not in _PYDANTICS_OWN:
        text = ctx["text"] if kind == _MISTAKE else found["msg"]
        kind = PydanticCustomError(_MISTAKE, "{text}", {"text": text})
    return InitErrorDetails(type=kind, loc=found["loc"], input=found["input"], ctx=ctx)
