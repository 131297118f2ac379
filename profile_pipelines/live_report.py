"""What a live check tells of a catalogue's systems."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["identifier", "attribute", "key", "updated_at", "deleted"]


@dataclass
class LiveField:
    """A mapped field as it stands in the system.

    `name` is the attribute or identifier that it is mapped to. `filled` is the share of the
    sample's records with a value, None without records; `invalid` counts those values that the
    catalogue's rules refuse. `samples` are masked. `exists` None can't be told: an API's mark of
    deletion that no record of the sample bears, and all fields where only records tell of fields
    and there are none.
    """

    role: Role
    name: str
    field: str
    exists: bool | None
    type: str | None = None
    filled: float | None = None
    invalid: int = 0
    samples: tuple[str, ...] = ()
    hint: str = ""
    problem: str = ""
    """Why the mapping can't work although the field is there."""


@dataclass
class LiveSync:
    """One sync's sample. `whole` says that the sample is all that the source has, `empty` that
    there are no records, which alone would tell of its fields."""

    system: str
    sync: str
    problem: str | None = None
    unreachable: bool = False
    records: int = 0
    whole: bool = True
    empty: bool = False
    drift: tuple[str, ...] = ()
    """How the source's fields differ from those that the last sync saw."""
    dialects: tuple[str, ...] = ()
    """How the CSV files are written that the sample was read from."""
    repeated: int = 0
    """Records of the sample whose key one before them has, too."""
    keys: str = ""
    """What to say where they are many."""
    late: str = ""
    """What to say where records came too late to be read as changes, by the source's count."""
    fields: list[LiveField] = field(default_factory=list[LiveField])


@dataclass(frozen=True)
class MatchRate:
    """Which share of a system's identifiers the other systems have too, of the samples."""

    identifier: str
    system: str
    values: int
    matched: float | None
    """Found in any other system; None when no other system has this identifier."""
    by_system: dict[str, float]
    problem: str = ""
    """Why records can't be joined by it."""


@dataclass(frozen=True)
class LiveReport:
    """What a live check found."""

    syncs: list[LiveSync]
    matches: list[MatchRate]
    unset: tuple[str, ...] = ()
    """A line for each environment variable that the systems need and that isn't set; then nothing
    was read."""
    unset_later: tuple[str, ...] = ()
    """Likewise what only a run needs, for webhooks, channels and destinations."""

    @property
    def missing(self) -> list[str]:
        """A line for every mapped field that its source hasn't got."""
        return [
            f"{each.system}.{each.sync}: {' '.join(dict.fromkeys([found.role, found.name]))}: "
            f"the source has no field {found.field}" + (f"; {found.hint}" if found.hint else "")
            for each in self.syncs
            for found in each.fields
            if found.exists is False
        ]

    @property
    def broken(self) -> list[str]:
        """A line for every mapping whose field is there, and that can't work all the same."""
        fields = [
            f"{each.system}.{each.sync}: {' '.join(dict.fromkeys([found.role, found.name]))}: "
            f"{found.problem}"
            for each in self.syncs
            for found in each.fields
            if found.problem
        ]
        return fields + [
            f"{rate.system}: identifier {rate.identifier}: {rate.problem}"
            for rate in self.matches
            if rate.problem
        ]

    @property
    def untold(self) -> list[str]:
        """A line for every sync without a record that could tell of its fields."""
        return [
            f"{each.system}.{each.sync}: there are no records, so that its fields can't be told"
            for each in self.syncs
            if each.empty
        ]

    @property
    def failed(self) -> list[str]:
        """A line for every sync that couldn't be read, and for what it needs to be read."""
        unread = [
            each.problem
            if each.problem.startswith(each.system)
            else f"{each.system}.{each.sync}: {each.problem}"
            for each in self.syncs
            if each.problem is not None
        ]
        return [*self.unset, *unread]
