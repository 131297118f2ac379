"""What a declaration still says where some of it is wrong.

A wrong type in one place mustn't hide what is wrong elsewhere: an unknown attribute, a cron
expression that is none. So the wrong places are cut out, and what is left is read again. What then
only shows because of the cuts (something is missing) is no mistake of its own, and cut out, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from profile_pipelines.catalog.declaration import Declaration
from profile_pipelines.catalog.mistakes import Path
from profile_pipelines.catalog.plain_words import in_plain_words

_D = TypeVar("_D", bound=Declaration)

_ROUNDS = 50
_STAND_INS: Mapping[Path, object] = {
    ("kind",): "crm",
    ("connection",): {"type": "sql", "url": "sqlite://"},
    ("type",): "string",
    ("fresh_within",): "10000 days",
    ("to",): {"type": "file", "path": "x", "format": "csv"},
    ("channel",): {"type": "file"},
}
"""By the end of the path: what stands in for what may not be missing; it tells of nothing else."""
_GOES_WITH: Mapping[Path, Path] = {("type",): ("valid",)}
"""What can't be judged without something else."""


@dataclass(frozen=True)
class Salvaged(Generic[_D]):
    """What is left of a declaration; `cuts` are the places that were cut out of it."""

    declaration: _D | None
    cuts: tuple[Path, ...]
    mistakes: tuple[tuple[Path, str], ...]
    """What the wrong places had hidden."""

    def original(self, path: Path) -> Path:
        """The path as it is in the file, of one in what is left."""
        return _original(path, self.cuts)

    def can_tell(self, path: Path, text: str) -> bool:
        """Whether a mistake that was found in what is left, at this path of the file, stands
        whatever was cut out: what is unknown is so; other mistakes only in a sync that is whole."""
        if any(related(cut, path) for cut in self.cuts):
            return False
        if text.startswith("unknown "):
            return True
        own = path[:2]
        around: Sequence[Path] = (("connection",), own)
        whole = not any(related(cut, each) for cut in self.cuts for each in around)
        return path[:1] == ("syncs",) and whole


def related(one: Path, other: Path) -> bool:
    """Whether one place lies in the other."""
    return one == other[: len(one)] or other == one[: len(other)]


def salvage(model: type[_D], data: object, told: Sequence[Path]) -> Salvaged[_D]:
    """Read a declaration without the places where mistakes were told."""
    cuts = list(dict.fromkeys(told))
    cuts += [_GOES_WITH[cut] for cut in cuts if cut in _GOES_WITH]
    found: list[tuple[Path, str]] = []
    standing: dict[Path, object] = {}
    for _ in range(_ROUNDS):
        if () in cuts:
            break
        rest = _without(data, (), cuts, standing)
        try:
            left = model.model_validate(rest)
        except ValidationError as error:
            known = tuple(cuts)
            for below, text in in_plain_words(error, rest):
                path = _original(below, known)
                behind = [cut for cut in cuts if related(cut, path) or cut[:-1] == path[:-1]]
                if not behind and text.startswith("is missing"):
                    cuts.append(path[:-1])  # what isn't missing from the start is cut out
                    continue
                if not behind:
                    found.append((path, text))
                    cuts.append(path)
                    continue
                deepest = max((c for c in behind if related(c, path)), key=len, default=path)
                stand_in = _STAND_INS.get(deepest[-1:])
                if stand_in is not None and deepest not in standing:
                    standing[deepest] = stand_in
                else:
                    cuts.append(min(deepest[:-1], path, key=len))
        else:
            return Salvaged(left, tuple(cuts), tuple(found))
    return Salvaged(None, tuple(cuts), tuple(found))


def _without(value: object, at: Path, cuts: Sequence[Path], standing: Mapping[Path, object]) -> Any:
    if isinstance(value, dict):
        kept: dict[str, object] = {}
        for key, each in cast("dict[str, object]", value).items():
            below = (*at, key)
            if below in standing:
                kept[key] = standing[below]
            elif below not in cuts:
                kept[key] = _without(each, below, cuts, standing)
        for below, each in standing.items():
            if below[:-1] == at and isinstance(below[-1], str):
                kept[below[-1]] = each
        return kept
    if isinstance(value, list):
        return [
            _without(each, (*at, number), cuts, standing)
            for number, each in enumerate(cast("list[object]", value))
            if (*at, number) not in cuts
        ]
    return value


def _original(path: Path, cuts: Sequence[Path]) -> Path:
    """Items of a list that were cut out make those behind them move up."""
    found: Path = ()
    for step in path:
        if isinstance(step, int):
            gone = sorted(
                cut[-1] for cut in cuts if cut and cut[:-1] == found and isinstance(cut[-1], int)
            )
            for each in gone:
                step += each <= step
        found = (*found, step)
    return found
