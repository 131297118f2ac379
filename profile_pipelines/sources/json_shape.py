"""Which fields records of JSON have, and of which types, as far as a sample of them tells.

Only names that are plain words are kept, and nothing below an object that looks like a map: its
keys could be somebody's address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_OF_A_PAGE = 20
_IN_ALL = 500
_DEEPEST = 3
_MOST_FIELDS = 500
_MAP_FROM = 40
"""From so many different keys on, an object counts as a map."""
_WORD = re.compile(r"[A-Za-z_][A-Za-z_-]*[0-9]{0,2}")
_KINDS = {bool: "boolean", str: "text", dict: "object", list: "list"}


def sampled(pages: Iterable[list[Any]], shape: dict[str, set[str]]) -> Iterator[list[Any]]:
    """The pages as they are; what some of each one's records look like goes into `shape`."""
    left = _IN_ALL
    for page in pages:
        for record in islice(page, min(left, _OF_A_PAGE)):
            left -= 1
            _look(record, "", 1, shape)
        yield page


def kinds(shape: dict[str, set[str]]) -> dict[str, str]:
    """The fields by path, each with its type, or its types: `number or text`."""
    below: dict[str, int] = {}
    for path in shape:
        above = path.rpartition(".")[0]
        below[above] = below.get(above, 0) + 1
    maps = {path for path, count in below.items() if path and count >= _MAP_FROM}
    known = (p for p in sorted(shape) if not any(p.startswith(f"{each}.") for each in maps))
    return {path: " or ".join(sorted(shape[path])) for path in islice(known, _MOST_FIELDS)}


def _look(value: Any, path: str, depth: int, shape: dict[str, set[str]]) -> None:
    if not isinstance(value, dict):
        return
    for key, child in value.items():
        if child is None or not _WORD.fullmatch(key):
            continue
        below = f"{path}.{key}" if path else key
        shape.setdefault(below, set()).add(_KINDS.get(type(child), "number"))
        if depth < _DEEPEST:
            if isinstance(child, list):
                child, below = (child[0] if child else None), f"{below}[*]"
            _look(child, below, depth + 1, shape)
