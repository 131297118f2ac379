"""Ends tombstones as was declared: so long after the erasure, or once no system delivers the
people any more."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.local_time import later
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.periods import Period
from profile_pipelines.catalog.tombstones import SOURCE_STOPS, read_until, spell_until
from profile_pipelines.landing.barred import record_kind
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.tombstones import TombstoneEnd


def end_tombstones(catalogue: Catalogue, ledger: Ledger, *, now: datetime) -> list[TombstoneEnd]:
    """End what is over by now, of erasures that are complete; what ended.

    An erasure's own `until` counts more than that of the settings. Done again, it finds nothing.
    """
    register = ledger.erasures.tombstones
    standing = set(register.standing())
    if not standing:
        return []
    own, usual = register.terms(), catalogue.settings.erasure.until
    zone = ZoneInfo(catalogue.settings.timezone)
    declared = declared_syncs(catalogue)
    found: list[TombstoneEnd] = []
    by_source: list[int] = []
    for each in ledger.erasures.all():
        until = read_until(own[each.erasure]) if each.erasure in own else usual
        if until is None or each.completed_at is None or each.erasure not in standing:
            continue
        if not isinstance(until, Period):
            by_source.append(each.erasure)
        elif later(each.completed_at, until, zone) <= now:
            because = f"{spell_until(until)} have passed"
            found += register.end_erasure(each.erasure, declared, because=because, now=now)
    if by_source:
        people = register.undelivered(by_source, declared)
        because = f"until: {SOURCE_STOPS}"
        found += register.end_people(people, declared, because=because, now=now)
    return found


def declared_syncs(catalogue: Catalogue) -> dict[str, list[str]]:
    """By sync, as its tombstones name it: its attributes."""
    return {
        record_kind(system, name): list(sync.attributes)
        for system, each in catalogue.systems.items()
        for name, sync in each.syncs.items()
    }
