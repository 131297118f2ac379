"""Who may be written to for a purpose, read at this moment and never from what was kept.

A message needs a consent that is present, true and fresh, and no unsubscription since.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.consent.addresses import address_names
from profile_pipelines.consent.opt_outs import silenced_apart
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.errors import UnknownName
from profile_pipelines.identity.former import former_profiles
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import Rows
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.unsubscribes import Act
from profile_pipelines.profiles.unsubscribed import acts_table, unsubscribed_today
from profile_pipelines.profiles.values import values_of

Missing = Literal["consent", "stale", "gone", "suppressed"]
"""Why no message may be sent: the consent is missing, withdrawn or unsubscribed, or too old to
count; there is no such profile; or its address is suppressed."""


def consent_attributes(catalogue: Catalogue, purpose: str) -> list[str]:
    """The attributes that hold the consent for a purpose; all of them must be true."""
    return [name for name, each in catalogue.attributes.items() if each.consent == purpose]


def consent_condition(catalogue: Catalogue, purpose: str) -> Condition | None:
    """What must be true of a profile that consents to a purpose; None when nothing holds it."""
    tests = [{name: {"is": True}} for name in consent_attributes(catalogue, purpose)]
    return Condition.model_validate({"all": tests}) if tests else None


def check_purpose(catalogue: Catalogue, purpose: str) -> None:
    """Raise UnknownName when no attribute is the consent for the purpose."""
    known = sorted({each.consent for each in catalogue.attributes.values() if each.consent})
    if purpose not in known:
        raise UnknownName(
            f"no attribute is the consent for {purpose}; there is consent for "
            f"{', '.join(known) or 'nothing'}"
        )


def without_consent(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    unsubscribed: Unsubscribed,
    purpose: str,
    profile_ids: Collection[int],
    *,
    now: datetime,
) -> Mapping[int, Missing]:
    """Those of the profiles that may not be written to for the purpose, and why not."""
    wanted = sorted(set(profile_ids))
    condition = consent_condition(catalogue, purpose)
    if condition is None:
        return dict.fromkeys(wanted, "consent")
    rows = decided(catalogue, lake, coverage, {"consented": condition}, now=now)
    asked = profile_id_table(wanted)
    only = rows.sql.join(
        named("asked_profiles", "asked"),
        on=column("profile_id", "asked").eq(column("profile_id", "profiles")),
        join_type="semi",
    )
    found = lake.engine.query(only, {**rows.relations, "asked_profiles": asked})
    told: dict[int, bool | None] = dict(
        zip(found["profile_id"].to_pylist(), found["consented"].to_pylist(), strict=True)
    )
    missing: dict[int, Missing] = {}
    # asked last, so that a click while the profiles were read counts
    withdrawn = unsubscribed.of(purpose)
    for profile_id in wanted:
        if profile_id not in told:
            missing[profile_id] = "gone"
        elif profile_id in withdrawn:
            missing[profile_id] = "consent"
        elif not told[profile_id]:
            missing[profile_id] = "stale" if told[profile_id] is None else "consent"
    return missing


class Unsubscribed:
    """Who is unsubscribed at this moment, by the profiles that they are today.

    Reads the acts that are new; the identities only when they have moved on. Not to be shared
    between threads.
    """

    def __init__(self, catalogue: Catalogue, lake: Lake, ledger: Ledger) -> None:
        self._catalogue = catalogue
        self._lake = lake
        self._unsubscribes = ledger.unsubscribes
        self._suppressions = ledger.suppressions
        self._acts: dict[tuple[int, str], Act] = {}
        self._number = 0
        self._seq: int | None = None
        self._apart: dict[str, tuple[object, set[int]]] = {}
        self._former = pa.table({})
        self._today: dict[str, set[int]] = {}

    def of(self, purpose: str) -> set[int]:
        """The profiles that are unsubscribed from the purpose, or with an address of which a
        record that is nobody's says no."""
        return self.acted(purpose) | self._said_apart(purpose)

    def at_addresses(
        self, purpose: str, profile_ids: Collection[int], *, every: bool = False
    ) -> set[int]:
        """Those of the profiles of whose addresses one gets nothing for the purpose; with `every`
        those of which none gets anything."""
        names = address_names(self._catalogue)
        suppressed = {act.address for act in self._suppressions.standing(purpose)}
        if not names or not suppressed:
            return set()
        found: set[int] = set()
        values = values_of(self._catalogue, self._lake, profile_ids, names)
        for profile_id, own in values.items():
            marks = [
                self._suppressions.mark(value_text(own[name]))
                for name in names
                if own[name] is not None
            ]
            silent = [mark in suppressed for mark in marks]
            if any(silent) and (all(silent) or not every):
                found.add(profile_id)
        return found

    def _said_apart(self, purpose: str) -> set[int]:
        merged = self._lake.profiles(self._catalogue).pin().state.get("inputs")
        if self._apart.get(purpose, (None,))[0] != merged:
            identities = self._lake.identities(self._catalogue).pin()
            found = silenced_apart(self._catalogue, self._lake, identities, purpose)
            self._apart[purpose] = (merged, found)
        return self._apart[purpose][1]

    def acted(self, purpose: str) -> set[int]:
        """The profiles that are unsubscribed from the purpose by an act."""
        news = self._unsubscribes.since(self._number)
        if not self._number and not news:
            return set()
        identities = self._lake.identities(self._catalogue).pin()
        if identities.seq != self._seq:
            self._former = former_profiles(self._catalogue, self._lake, identities)
        if news or identities.seq != self._seq:
            self._acts |= {(act.profile_id, act.purpose): act for act in news}
            self._number = max(self._number, *(act.number for act in news), 0)
            self._seq = identities.seq
            self._today = self._found()
        return self._today.get(purpose, set())

    def _found(self) -> dict[str, set[int]]:
        acts = Rows(
            exp.select(exp.Star()).from_(named("ledger_acts")),
            {"ledger_acts": acts_table(list(self._acts.values()))},
        )
        table = unsubscribed_today(self._lake, acts, self._former)
        found: dict[str, set[int]] = {}
        for profile_id, purpose in zip(
            table["profile_id"].to_pylist(), table["purpose"].to_pylist(), strict=True
        ):
            found.setdefault(purpose, set()).add(profile_id)
        return found
