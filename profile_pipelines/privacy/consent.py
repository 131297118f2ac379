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
from profile_pipelines.engine.sql import column, named, select_from
from profile_pipelines.lake import Lake
from profile_pipelines.ledger.unsubscribes import Unsubscribes

Missing = Literal["consent", "stale", "gone"]
"""Why there is no consent: missing, withdrawn or unsubscribed; too old to count;
or there is no such profile."""


def consent_attributes(catalogue: Catalogue, purpose: str) -> list[str]:
    """The attributes that hold the consent for a purpose; all of them must be true."""
    return [name for name, each in catalogue.attributes.items() if each.consent == purpose]


def without_consent(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    unsubscribes: Unsubscribes,
    purpose: str,
    profile_ids: Collection[int],
    *,
    now: datetime,
) -> Mapping[int, Missing]:
    """Those of the profiles that may not be written to for the purpose, and why not."""
    wanted = sorted(set(profile_ids))
    attributes = consent_attributes(catalogue, purpose)
    if not attributes:
        return dict.fromkeys(wanted, "consent")
    tests = [{name: {"is": True}} for name in attributes]
    condition = Condition.model_validate({"all": tests})
    rows = decided(catalogue, lake, coverage, {"consented": condition}, now=now)
    asked = pa.table({"profile_id": pa.array(wanted, pa.int64())})
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
    unsubscribed = _with_their_records(catalogue, lake, unsubscribes.of(purpose))
    for profile_id in wanted:
        if profile_id not in told:
            missing[profile_id] = "gone"
        elif profile_id in unsubscribed:
            missing[profile_id] = "consent"
        elif not told[profile_id]:
            missing[profile_id] = "stale" if told[profile_id] is None else "consent"
    return missing


def _with_their_records(catalogue: Catalogue, lake: Lake, profile_ids: set[int]) -> set[int]:
    """The profiles, and those in which any record that was ever theirs is today.

    Identities join and part; an unsubscription follows the records wherever they went.
    """
    identities = lake.identities(catalogue).pin()
    if not profile_ids or not identities.exists:
        return profile_ids
    log = identities.changes(["record_id", "profile_id"], "ever")
    asked = {"unsubscribed": pa.table({"profile_id": pa.array(sorted(profile_ids), pa.int64())})}
    theirs = (
        exp.select(column("record_id", "e"))
        .from_(log.sql.subquery("e"))
        .where(
            exp.In(
                this=column("profile_id", "e"),
                query=select_from("unsubscribed", ["profile_id"]).subquery(),
            )
        )
    )
    now = identities.current(["record_id", "profile_id"], "now")
    today = (
        exp.select(column("profile_id", "n"))
        .distinct()
        .from_(now.sql.subquery("n"))
        .where(exp.In(this=column("record_id", "n"), query=theirs.subquery()))
    )
    found = lake.engine.query(today, {**log.relations, **now.relations, **asked})
    return profile_ids | set(found["profile_id"].to_pylist())
