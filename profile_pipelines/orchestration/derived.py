"""What is made of the systems' attributes: identities, profiles, audiences."""

from collections.abc import Sequence

import dagster as dg

from profile_pipelines.catalog.conditions import attributes_of, audiences_of
from profile_pipelines.catalog.models import Audience, Catalogue
from profile_pipelines.orchestration.session import Session, now_of
from profile_pipelines.orchestration.systems import attribute_keys, owners
from profile_pipelines.orchestration.webhooks import webhook_keys

UNSUBSCRIBES = dg.AssetKey("unsubscribes")
IDENTITIES = dg.AssetKey("identities")
PROFILES = dg.AssetKey("profiles")
POOL = "profiles"
"""One run at a time brings identities, profiles and audiences up to date."""
_CHARTED = 20
_BARS = "▁▂▃▄▅▆▇█"


def audience_key(name: str) -> dg.AssetKey:
    """The asset of an audience."""
    return dg.AssetKey(["audiences", name])


def derived_keys(catalogue: Catalogue) -> list[dg.AssetKey]:
    """All that is made of the attributes."""
    return [IDENTITIES, PROFILES, *map(audience_key, catalogue.audiences)]


def derived_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Identities, profiles and each audience; and what customers unsubscribed from."""
    sources = [*attribute_keys(catalogue), *webhook_keys(catalogue)]
    unsubscribes = _unsubscribes(catalogue)
    return [
        *unsubscribes,
        _identities(sources),
        _profiles([each.key for each in unsubscribes]),
        *(_audience(audience) for audience in catalogue.audiences.values()),
    ]


def _identities(sources: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=IDENTITIES,
        deps=sources,
        group_name="profiles",
        kinds={"delta", "polars"},
        pool=POOL,
        required_resource_keys={"session"},
        description="Which records of the systems are one customer.",
    )
    def identities(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.pipeline import resolve_identities

        session: Session = context.resources.session
        with session.step("identities") as details:
            result = resolve_identities(
                session.workspace, now=now_of(context.run.tags), run_id=context.run.run_id
            )
            details += [f"{result.profiles:,} customers", f"{result.changed:,} records changed"]
        session.report.identities = result
        return dg.MaterializeResult(
            metadata={
                "records": result.records,
                "profiles": result.profiles,
                "records_changed": result.changed,
                "records_held_apart": result.held_apart,
                **{f"shared_{name}": count for name, count in result.shared.items() if count},
            }
        )

    return identities


def _unsubscribes(catalogue: Catalogue) -> list[dg.AssetSpec]:
    """The built-in source of consents, where there are any; each run of the profiles reads it."""
    consents = sorted({each.consent for each in catalogue.attributes.values() if each.consent})
    if not consents:
        return []
    return [
        dg.AssetSpec(
            UNSUBSCRIBES,
            group_name="profiles",
            kinds={"consent"},
            description="What customers unsubscribed from by a link. It outranks every system.",
            metadata={"purposes": ", ".join(consents)},
        )
    ]


def _profiles(unsubscribes: Sequence[dg.AssetKey]) -> dg.AssetsDefinition:
    @dg.asset(
        key=PROFILES,
        deps=[IDENTITIES, *unsubscribes],
        group_name="profiles",
        kinds={"delta", "duckdb"},
        pool=POOL,
        required_resource_keys={"session"},
        description="One merged record per customer, with a receipt for every value.",
    )
    def profiles(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.pipeline import merge_profiles

        session: Session = context.resources.session
        with session.step("profiles") as details:
            result = merge_profiles(
                session.workspace, now=now_of(context.run.tags), run_id=context.run.run_id
            )
            changed = result.created + result.changed + result.removed
            details += [f"{result.profiles:,} profiles", f"{changed:,} changed"]
        session.report.profiles = result
        for key in unsubscribes:
            context.log_event(dg.AssetMaterialization(key, description="read with the profiles"))
        return dg.MaterializeResult(
            metadata={
                "profiles": result.profiles,
                "created": result.created,
                "changed": result.changed,
                "removed": result.removed,
            }
        )

    return profiles


def _audience(audience: Audience) -> dg.AssetsDefinition:
    name = audience.audience

    @dg.asset(
        key=audience_key(name),
        deps=[PROFILES, *map(audience_key, sorted(audiences_of(audience.where)))],
        group_name="audiences",
        kinds={"audience", "delta"},
        owners=owners(audience.owner),
        pool=POOL,
        required_resource_keys={"session"},
        description=audience.description or None,
        metadata={"attributes": ", ".join(sorted(attributes_of(audience.where)))},
    )
    def evaluate(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.pipeline import evaluate_audience

        session: Session = context.resources.session
        with session.step(f"audiences.{name}") as details:
            result = evaluate_audience(
                session.workspace, name, now=now_of(context.run.tags), run_id=context.run.run_id
            )
            counts = result.counts
            details += [
                f"{counts.members:,} members",
                f"{counts.entered:,} entered",
                f"{counts.exited:,} exited",
            ]
            if counts.held:
                details.append(f"{counts.held:,} held")
        session.report.audiences.append(result)
        return dg.MaterializeResult(
            metadata={
                "chart": dg.MetadataValue.md(_chart(context, counts.members)),
                "members": counts.members,
                "entered": counts.entered,
                "exited": counts.exited,
                "held": counts.held,
                **{
                    f"held: {attribute} is stale": n for attribute, n in counts.held_by.items() if n
                },
            }
        )

    return evaluate


def _chart(context: dg.AssetExecutionContext, members: int) -> str:
    """The members after the latest evaluations, oldest first, as bars."""
    history = [members]
    if context.instance.is_persistent:
        known = context.instance.fetch_materializations(context.asset_key, limit=_CHARTED - 1)
        for record in known.records:
            event = record.asset_materialization
            count = event.metadata.get("members") if event else None
            if isinstance(count, dg.IntMetadataValue) and count.value is not None:
                history.insert(0, count.value)
    top = max(*history, 1)
    bars = "".join(_BARS[round((len(_BARS) - 1) * count / top)] for count in history)
    return f"`{bars}` {history[0]:,} → {members:,} members"
