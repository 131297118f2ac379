"""A catalogue while it's being read: what is valid so far, what stands where, and the mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from profile_pipelines.catalog.channels import Channels
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.message_templates import MessageTemplate
from profile_pipelines.catalog.mistakes import Mistake, Path, spell_path
from profile_pipelines.catalog.models import Attribute, Audience, Identifier, Settings
from profile_pipelines.catalog.preset_files import LoadedPreset
from profile_pipelines.catalog.salvage import Salvaged
from profile_pipelines.catalog.systems import System
from profile_pipelines.catalog.yaml_lines import Document

_T = TypeVar("_T")
Kind = Literal[
    "settings",
    "identifier",
    "attribute",
    "preset",
    "system",
    "audience",
    "channels",
    "journey",
    "destination",
]


@dataclass(frozen=True)
class Place:
    """Where a declaration stands: a file, and the path of the declaration in it."""

    file: str
    document: Document
    path: Path = ()

    def mistake(self, path: Path, text: str) -> Mistake:
        """A mistake at `path` below the declaration."""
        whole = (*self.path, *path)
        return Mistake(self.file, self.document.line_of(whole), whole, text)


@dataclass
class Draft:
    """Valid declarations by name; `places` also knows the invalid ones.

    A name that stands in `places` or whose kind is in `unread` may not be called unknown: its
    declaration has mistakes of its own, which are reported.
    """

    settings: Settings = field(default_factory=Settings)
    identifiers: dict[str, Identifier] = field(default_factory=dict[str, Identifier])
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    presets: dict[str, LoadedPreset] = field(default_factory=dict[str, LoadedPreset])
    systems: dict[str, System] = field(default_factory=dict[str, System])
    audiences: dict[str, Audience] = field(default_factory=dict[str, Audience])
    journeys: dict[str, Journey] = field(default_factory=dict[str, Journey])
    destinations: dict[str, Destination] = field(default_factory=dict[str, Destination])
    channels: Channels = field(default_factory=Channels)
    templates: dict[str, MessageTemplate] = field(default_factory=dict[str, MessageTemplate])
    salvaged: dict[tuple[Kind, str], Salvaged[Any]] = field(
        default_factory=dict[tuple[Kind, str], "Salvaged[Any]"]
    )
    """What is left of declarations that have mistakes."""
    channel_names: set[str] = field(default_factory=set[str])
    """Also of those that have mistakes."""
    template_names: set[str] = field(default_factory=set[str])
    """Also of those that have mistakes."""
    places: dict[tuple[Kind, str], Place] = field(default_factory=dict[tuple[Kind, str], Place])
    unread: set[Kind] = field(default_factory=set[Kind])
    mistakes: list[Mistake] = field(default_factory=list[Mistake])

    def declared(self, kind: Kind) -> list[str]:
        """The names that are declared, also those whose declaration has mistakes."""
        return [name for found, name in self.places if found == kind]

    def is_unknown(self, kind: Kind, name: str) -> bool:
        """Whether nothing of this kind is declared under the name."""
        return kind not in self.unread and (kind, name) not in self.places

    def is_flawed(self, kind: Kind, name: str, valid: Mapping[str, object]) -> bool:
        """Whether the declaration is there but can't be judged, having mistakes of its own."""
        return not self.is_unknown(kind, name) and name not in valid

    def declare(self, kind: Kind, name: str, place: Place, key: Path = ()) -> bool:
        """Note a declaration whose name stands at `key`; a name that is taken is a mistake."""
        first = self.places.setdefault((kind, name), place)
        if first is place:
            return True
        where = f"{first.file}:{first.document.line_of((*first.path, *key))}"
        text = f"the {kind} {name} is declared already in {where}; keep one"
        self.mistakes.append(place.mistake(key, text))
        return False

    def also_salvaged(self, kind: Kind, valid: Mapping[str, _T]) -> dict[str, _T]:
        """The valid declarations of a kind, with what is left of those that have mistakes."""
        left = {
            name: each.declaration
            for (found, name), each in self.salvaged.items()
            if found == kind and each.declaration is not None
        }
        return {**valid, **left}

    def report(self, kind: Kind, name: str, path: Path, text: str) -> None:
        """Note a mistake at `path` below a declaration; of one with mistakes of its own, only what
        can't be their consequence."""
        salvaged = self.salvaged.get((kind, name))
        if salvaged is not None:
            path = salvaged.original(path)
            if not salvaged.can_tell(path, text):
                return
        place = self.places.get((kind, name)) or Place("catalogue.yaml", Document())
        self.mistakes.append(place.mistake(path, text))

    def missing(self, file: str, text: str) -> None:
        """Note that something isn't there which should stand in `file`."""
        self.mistakes.append(Place(file, Document()).mistake((), text))

    def in_order(self) -> list[str]:
        """The mistakes as lines for people, by file and line, each once."""
        order = sorted(
            set(self.mistakes), key=lambda m: (m.file, m.line, spell_path(m.path), m.text)
        )
        return [str(mistake) for mistake in order]
