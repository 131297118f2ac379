"""Whom a request to erase means: one person for each identifier, or nobody at all is erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import NotFound, ProfilePipelinesError
from profile_pipelines.lake import Lake
from profile_pipelines.landing.tombstone_ends import declared_syncs
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.erasures import Erasure
from profile_pipelines.profiles.lookup import find_profiles
from profile_pipelines.validation.one_identifier import normalise_one


@dataclass(frozen=True)
class Requested:
    """The profiles to erase, those of erasures that were begun among them, and what is done."""

    profiles: list[int]
    done: list[Erasure]


def requested(
    catalogue: Catalogue, lake: Lake, ledger: Ledger, identifiers: Iterable[tuple[str, str]]
) -> Requested:
    """Whom the identifiers mean, each given with where it stands (`requests.txt:3: ` or nothing).

    Raises NotFound, or ProfilePipelinesError where one belongs to several people, with all that
    is wrong at once; messages don't repeat the identifiers.
    """
    profiles: set[int] = set()
    done: dict[int, Erasure] = {}
    unknown: list[str] = []
    several: list[str] = []
    for where, text in identifiers:
        erasure = ledger.erasures.of(_identifiers(catalogue, text))
        if erasure is not None:
            if erasure.completed_at is None:
                profiles |= set(erasure.profiles)
                continue
            done[erasure.erasure] = erasure
        try:
            found = find_profiles(catalogue, lake, text)
        except NotFound as error:
            if erasure is None:
                unknown.append(f"{where}{error}")
            continue
        if len(found) > 1:
            names = ", ".join(f'"profile {each}"' for each in found)
            several.append(f"{where}this identifier belongs to several people; name one: {names}")
        profiles |= set(found)
    if several:
        raise ProfilePipelinesError("\n".join([*several, *unknown]))
    if unknown:
        raise NotFound("\n".join(unknown))
    return Requested(sorted(profiles), list(done.values()))


def marks_of(catalogue: Catalogue, text: str) -> list[tuple[str, str]]:
    """(kind, value) of all that a text may be of somebody: identifiers, and the keys of records."""
    values = list(_identifiers(catalogue, text))
    keys = {text, *(value for _, value in values)}
    return [*values, *((sync, key) for sync in declared_syncs(catalogue) for key in sorted(keys))]


def _identifiers(catalogue: Catalogue, text: str) -> Iterator[tuple[str, str]]:
    for name, identifier in catalogue.identifiers.items():
        value = normalise_one(text, identifier)
        if value is not None:
            yield name, value
