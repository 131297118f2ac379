"""JSON without loss: exact numbers, fields by dotted path, and their values as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any

import msgspec
import simplejson
from simplejson.raw_json import RawJSON

from profile_pipelines.catalog.field_paths import Each, Key, Step, parse_path
from profile_pipelines.catalog.values import number_text


@dataclass(frozen=True)
class Unreadable:
    """In place of a value that can't be read, which is `shown` as well as it can be; `reason` is
    for people, without the value."""

    reason: str
    shown: str | None = None


INFINITE = "infinity is no number"


def _no_number(constant: str) -> Unreadable | None:
    """Python writes NaN and Infinity, which JSON doesn't have: NaN says that nothing is known."""
    return None if constant == "NaN" else Unreadable(INFINITE, constant)


def _in_json(value: Any) -> Any:
    """What the encoder has no type for: a number in its one spelling, all else as text."""
    return RawJSON(number_text(value) or "null") if isinstance(value, Decimal) else as_text(value)


# made once: making one costs more than reading a short record
_FAST = msgspec.json.Decoder(float_hook=Decimal)
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)
_ENCODER = simplejson.JSONEncoder(
    use_decimal=False, ensure_ascii=False, ignore_nan=True, default=_in_json
)

_EXACT = 2**53
_INFINITY = float("inf")
ABSENT: Any = object()
"""What a path gives when nothing stands there; JSON's null is None."""


def parse(content: bytes | str) -> Any:
    """The JSON value with numbers as int and Decimal; ValueError when it isn't whole JSON.

    Of what Python writes into JSON beside it, NaN is null, and Infinity is `Unreadable`.
    """
    try:
        try:
            return _FAST.decode(content)
        except msgspec.DecodeError:
            # it refuses halves of surrogate pairs, which APIs do escape
            text = content.decode() if isinstance(content, bytes) else content
            return _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except InvalidOperation:
        raise ValueError("a number has too large an exponent") from None


_DAY = ("year", "month", "day")
_CLOCK = ("hour", "minute", "second", "microsecond")
_TIMES = {*_DAY, *_CLOCK, "__class__", "@type", "type"}


def as_text(value: Any) -> str | None:
    """Scalars as text, lists and objects as JSON, null (and absence) as None.

    Numbers have the one spelling of `number_text`, also within lists and objects; NaN is None.
    Dates and times are written as ISO 8601, be they Python's, which a function of the user's own
    may give, or objects that are a date or time by their parts, and nothing else (Google's
    `type.Date`, Tryton's tagged values).
    """
    if value is None or value is ABSENT or isinstance(value, Unreadable):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal | float):
        return scalar_number(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict) and "year" in value and value.keys() <= _TIMES:
        try:
            if "hour" not in value:
                return date(*(value[part] for part in _DAY)).isoformat()
            clock = (value.get(part, 0) for part in _CLOCK)
            return datetime(*(value[part] for part in _DAY), *clock).isoformat()
        except (KeyError, TypeError, ValueError, OverflowError):
            pass
    if isinstance(value, dict | list | tuple):
        return as_json(value)
    # NumPy's numbers, which a function of the user's own may give
    return as_text(value.item()) if hasattr(value, "item") else str(value)


def problem(value: Any) -> Unreadable | None:
    """Why a value, or anything within a list or an object, can't be read: it is marked so, or
    infinite."""
    if isinstance(value, Unreadable):
        return value
    if isinstance(value, list | tuple):
        return next(filter(None, map(problem, value)), None)
    if isinstance(value, dict):
        return next(filter(None, map(problem, value.values())), None)
    if isinstance(value, float | Decimal) and value in (_INFINITY, -_INFINITY):
        return Unreadable(INFINITE, "Infinity" if value > 0 else "-Infinity")
    return None


def scalar_number(value: int | Decimal | float) -> str | None:
    """The number's one spelling. What is written as a float and is too large for one to be exact
    keeps its `.0`, by which identifiers see that its last digits aren't known."""
    text = number_text(value)
    if text is None or isinstance(value, int) or -_EXACT < value < _EXACT:
        return text
    return f"{text}.0" if text.lstrip("-").isdecimal() else text


def as_json(value: Any) -> str:
    """The value as JSON, in which what is no number and what can't be read is null."""
    return _ENCODER.encode(value)


def getter(path: str) -> Callable[[Any], Any]:
    """Reads a path (see `catalog.field_paths`) from a JSON value.

    A key that itself contains dots or brackets wins over the parts. `[*]` gives a list of what
    stands there in the entries, leaving out nulls: an empty list where there are no entries, and
    null where all that stands there is. Gives `ABSENT` where nothing stands.
    """
    if "[" in path:
        return _bracket_getter(path)
    parts = path.split(".")
    steps = [(part, ".".join(parts[at:])) for at, part in enumerate(parts)]

    def get(value: Any) -> Any:
        for part, rest in steps:
            if isinstance(value, dict):
                if rest in value:
                    return value[rest]
                value = value.get(part, ABSENT)
            elif isinstance(value, list):
                at = int(part) if part.isdecimal() else len(value)
                value = value[at] if at < len(value) else ABSENT
            else:
                return ABSENT
        return value

    return get


def _bracket_getter(path: str) -> Callable[[Any], Any]:
    try:
        steps = parse_path(path)
    except ValueError:
        steps = (Key(path, path),)

    def get(value: Any) -> Any:
        if isinstance(value, dict) and path in value:
            return value[path]
        return _follow(value, steps)

    return get


def _follow(value: Any, steps: Sequence[Step]) -> Any:
    for at, step in enumerate(steps):
        if isinstance(step, Key):
            if isinstance(value, dict):
                if step.rest is not None and step.rest in value:
                    return value[step.rest]
                value = value.get(step.name, ABSENT)
            elif isinstance(value, list) and step.name.isdecimal():
                value = value[int(step.name)] if int(step.name) < len(value) else ABSENT
            else:
                return ABSENT
        elif not isinstance(value, list):
            return ABSENT
        elif isinstance(step, Each):
            rest = steps[at + 1 :]
            every = [_follow(entry, rest) for entry in value]
            found = [each for each in every if each is not None and each is not ABSENT]
            if every and not found:
                return None if None in every else ABSENT
            return list(chain.from_iterable(found)) if Each() in rest else found
        else:
            value = next((entry for entry in value if _has(entry, step.members)), ABSENT)
    return value


def _has(entry: Any, members: Iterable[tuple[str, str]]) -> bool:
    return all(as_text(getter(name)(entry)) == wanted for name, wanted in members)


def flattened(records: Iterable[Any]) -> dict[str, str]:
    """Every path that occurs in the records, lists by their first element, with its JSON type."""
    found: dict[str, str] = {}
    for record in records:
        _flatten(record, "", found)
    return dict(sorted(found.items()))


def _flatten(value: Any, path: str, found: dict[str, str]) -> None:
    if path and (value is not None or path not in found):
        found[path] = _type_name(value)
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value[:1])
    for key, child in children:
        _flatten(child, f"{path}.{key}" if path else str(key), found)


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | Decimal() | Unreadable():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
        case _:
            return "object"
