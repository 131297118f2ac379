"""The mark that a lake and a ledger bear: which catalogue they belong to (see docs/adr/0017).

A run into another catalogue's lake would take all of its customers for gone. So the first run
writes the mark, and every command compares it before anything else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profile_pipelines.catalog.mistakes import in_words
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import LakeError
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import using_lake

_FILE = "catalogue.json"


@dataclass(frozen=True)
class CatalogueMark:
    """What tells a catalogue from others: its `id`, or else what it names, and where it lies.

    `names` are those of systems, attributes and audiences, and of what they are read from.
    """

    id: str | None
    names: frozenset[str]
    folder: str

    @classmethod
    def of(cls, catalogue: Catalogue, folder: Path) -> CatalogueMark:
        """The mark of a catalogue in this folder."""
        names = {f"attribute {name}" for name in catalogue.attributes}
        names |= {f"audience {name}" for name in catalogue.audiences}
        for system, declared in catalogue.systems.items():
            names.add(f"system {system}")
            for sync in declared.syncs.values():
                names.add(f"place {sync.table or sync.path or sync.query}")
                names |= {f"field {each.field}" for each in sync.attributes.values() if each.field}
        return cls(catalogue.settings.id, frozenset(names), str(folder.resolve()))

    @classmethod
    def read(cls, stored: object) -> CatalogueMark | None:
        """The mark from its JSON; None for anything else."""
        match stored:
            case {"id": str() | None as id_, "names": [*names], "folder": str() as folder}:
                return cls(id_, frozenset(map(str, names)), folder)
            case _:
                return None

    def as_json(self) -> dict[str, Any]:
        """The mark as it is stored."""
        return {"id": self.id, "folder": self.folder, "names": sorted(self.names)}

    def fits(self, catalogue: CatalogueMark) -> bool:
        """Whether this is the mark of the given catalogue, perhaps as it was some edits ago.

        Where the mark has an id, the id decides. Else more than half of what the smaller one names
        (of the larger one, where only the catalogue has an id) stands in both; in the same folder
        anything does.
        """
        if self.id is not None:
            return self.id == catalogue.id
        shared = len(self.names & catalogue.names)
        if self.folder == catalogue.folder:
            return shared > 0
        sizes = len(self.names), len(catalogue.names)
        return 2 * shared > (min(sizes) if catalogue.id is None else max(sizes))

    def says_the_same(self, other: CatalogueMark) -> bool:
        """Whether it needn't be written anew; where a catalogue lies is told by who wrote last."""
        return (self.id, self.names) == (other.id, other.names)

    def __str__(self) -> str:
        named = f"{self.id}, in {self.folder}" if self.id else self.folder
        systems = sorted(n.removeprefix("system ") for n in self.names if n.startswith("system "))
        return f"{named}, with {in_words(systems)}"


def mark_of_lake(lake: Place) -> CatalogueMark | None:
    """The mark that a lake bears; None without one, and where the lake can't be read: what is done
    next tells that."""
    try:
        return CatalogueMark.read(json.loads((lake / _FILE).read_text(encoding="utf-8")))
    except Exception:  # of whichever library reaches the store
        return None


def mark_lake(lake: Place, mark: CatalogueMark) -> None:
    """Write the mark into a lake. Raises LakeError when it can't be written."""
    content = json.dumps(mark.as_json(), indent=1).encode()
    with using_lake(lake, "written"):
        if isinstance(lake, Path):
            lake.mkdir(parents=True, exist_ok=True)
            unfinished = lake / f".{_FILE}.unfinished"
            unfinished.write_bytes(content)
            unfinished.replace(lake / _FILE)
        else:
            (lake / _FILE).write_bytes(content)


def refuse_other(what: str, place: str, found: CatalogueMark | None, own: CatalogueMark) -> None:
    """Raise LakeError where the mark that was found is another catalogue's, with the way out."""
    if found is None or found.fits(own):
        return
    raise LakeError(
        f"the {what} {place} belongs to another catalogue ({found}), not to {own.folder}: name the "
        f"right one with --{what} or PROFILE_PIPELINES_{what.upper()} (by default it lies beside "
        "the catalogue), or, if it is this catalogue's all the same, take it over with "
        "`profile-pipelines adopt`"
    )
