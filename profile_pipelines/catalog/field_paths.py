"""Paths of source fields: `items.data.0.price`, `tags[*].name`, `custom_fields[id=1234].value`.

One reading of them serves records of JSON and columns alike: a column that the path begins with
is looked into as a member of a record is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A member of an object, or the entry of a list if it is a number.

    `rest` is the path from here on: a key that itself contains dots wins over the parts. None
    where the name stands in brackets, and thus for itself.
    """

    name: str
    rest: str | None


@dataclass(frozen=True)
class Each:
    """All entries of a list: `[*]`."""


@dataclass(frozen=True)
class Pick:
    """The first entry of a list whose members have these values: `[id=1234]`."""

    members: tuple[tuple[str, str], ...]


Step = Key | Each | Pick
_STEP = re.compile(r"\[(?P<inside>[^\[\]]*)\]|(?P<dot>\.?)(?P<name>[^.\[\]]+)")
_QUOTED = re.compile(r'\["(?P<name>[^\[\]]+)"\]')
_NEXT_MEMBER = re.compile(r",(?=[^,=]+=)")
_HINT = "write for example tags[*].name, items[0].id or custom_fields[id=1234].value"


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises ValueError, saying what would be right."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (found["inside"] is None and bool(found["dot"]) == (at == 0)):
            raise ValueError(f"isn't a path; {_HINT}")
        inside = found["inside"]
        if inside is None:
            steps.append(Key(found["name"], path[at + len(found["dot"]) :]))
        else:
            steps.append(_bracket(inside.strip()))
        at = found.end()
    return tuple(steps)


def split_path(path: str, names: Collection[str]) -> tuple[str, str] | None:
    """The column (or member) that the path begins with, and its rest, `""` for the column itself.

    Of several the longest wins: names may themselves have dots and brackets. None where the path
    begins with none of them.
    """
    if path in names:
        return path, ""
    begins = [name for name in names if len(path) > len(name) + 1 and _goes_on(path, name)]
    if begins:
        name = max(begins, key=len)
        return name, path[len(name) :].removeprefix(".")
    first = _QUOTED.match(path)
    if first is not None and first["name"] in names:
        return first["name"], path[first.end() :].removeprefix(".")
    return None


def _goes_on(path: str, name: str) -> bool:
    return path.startswith((f"{name}.", f"{name}["))


def leads_to_list(path: str) -> bool:
    """Whether the path gives a list of its own making: it goes through `[*]`."""
    return "[*]" in path


def _bracket(inside: str) -> Step:
    if inside == "*":
        return Each()
    if inside.isdecimal():
        return Key(inside, None)
    if len(inside) > 2 and inside[0] == inside[-1] == '"':
        return Key(inside[1:-1], None)
    members: list[tuple[str, str]] = []
    for part in _NEXT_MEMBER.split(inside):
        name, is_given, value = part.partition("=")
        if not is_given or not name.strip() or not value.strip():
            raise ValueError(f"has [{inside}], which picks no entry of a list; {_HINT}")
        members.append((name.strip(), value.strip()))
    return Pick(tuple(members))
