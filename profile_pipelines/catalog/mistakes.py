"""Mistakes in the catalogue: where they are and how they are written for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Path = tuple[str | int, ...]
"""The way from a file's top to a value: keys and list indexes."""


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake; `file` is relative to the catalogue's folder."""

    file: str
    line: int
    path: Path
    text: str

    def __str__(self) -> str:
        place = f"{spell_path(self.path)}: " if self.path else ""
        return f"{self.file}:{self.line}: {place}{self.text}"


def spell_path(path: Path) -> str:
    """`("where", "all", 0, "tier")` as people read it: `where.all[0].tier`."""
    spelled = ""
    for step in path:
        if isinstance(step, int):
            spelled += f"[{step}]"
        else:
            spelled += f".{step}" if spelled else step
    return spelled


_ELSEWHERE = {
    "string": ("text", "str", "varchar", "char", "email", "uuid", "enum"),
    "integer": ("number", "int", "bigint", "smallint", "long", "int64"),
    "decimal": ("float", "double", "numeric", "money", "real", "currency"),
    "boolean": ("bool", "flag", "bit"),
    "timestamp": ("datetime", "time", "timestamptz"),
    "list": ("array", "set"),
    "sql": ("postgres", "postgresql", "mysql", "sqlite", "database", "db"),
    "rest": ("api", "http", "https", "json"),
    "files": ("csv", "parquet", "s3", "folder"),
}
"""What other tools call ours."""


def did_you_mean(word: str, known: Iterable[str], *, all_of: str | None = None) -> str:
    """The near match of `word` as a hint, or else what there is (`all_of` says of what)."""
    names = list(known)
    word = word.strip().lower()
    ours = next((n for n, others in _ELSEWHERE.items() if word in others and n in names), word)
    near = get_close_matches(ours, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    if all_of and names:
        known = all_of.replace("there are", "there is only") if len(names) == 1 else all_of
        return f"; {known} {in_words(names)}"
    return ""


def in_words(names: Iterable[str], last: str = "and") -> str:
    """`a, b and c`; long lists are cut."""
    names = list(names)
    if len(names) > 25:
        names = [*names[:24], f"{len(names) - 24} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"
