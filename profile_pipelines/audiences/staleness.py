"""How old each attribute's values are, by source, and which of them no longer decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from profile_pipelines.audiences.compile import StaleSources
from profile_pipelines.catalog.models import Catalogue

Coverage = Mapping[tuple[str, str], datetime]
"""By (system, attribute): when its last successful sync began (UTC)."""


@dataclass(frozen=True)
class SourceFreshness:
    """The age of what one system gives for one attribute. `covered_at` None: never synced."""

    attribute: str
    system: str
    covered_at: datetime | None
    age: timedelta | None
    fresh_within: timedelta
    stale: bool


def freshness(catalogue: Catalogue, coverage: Coverage, now: datetime) -> list[SourceFreshness]:
    """Every attribute with each of its sources, in order of trust."""
    found: list[SourceFreshness] = []
    for name, attribute in catalogue.attributes.items():
        for system in attribute.sources:
            covered_at = coverage.get((system, name))
            age = None if covered_at is None else now - covered_at
            stale = age is None or age > attribute.fresh_within
            found.append(
                SourceFreshness(name, system, covered_at, age, attribute.fresh_within, stale)
            )
    return found


def stale_sources(
    catalogue: Catalogue, coverage: Coverage, codes: Mapping[str, int], now: datetime
) -> dict[str, StaleSources]:
    """By attribute: the codes of the stale systems. A gap is stale when any source is: the value
    may stand there by now."""
    stale: dict[str, list[str]] = {name: [] for name in catalogue.attributes}
    for entry in freshness(catalogue, coverage, now):
        if entry.stale:
            stale[entry.attribute].append(entry.system)
    return {
        name: StaleSources(frozenset(codes[s] for s in systems if s in codes), bool(systems))
        for name, systems in stale.items()
    }
