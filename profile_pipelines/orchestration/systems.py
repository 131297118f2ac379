"""Each system as one subsettable multi-asset, an asset per attribute, each with its check."""

import re
from collections.abc import Iterator
from hashlib import sha256

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import schedule_of, sync_of
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.orchestration.session import Session, now_of, reads_in_full

CHECK = "valid_values"
_SHORTEST_WINDOW_SECONDS = 60
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def attribute_key(system: str, attribute: str) -> dg.AssetKey:
    """The asset of what one system says of one attribute."""
    return dg.AssetKey([system, attribute])


def attributes_of(system: System) -> list[str]:
    """The attributes that the system's syncs map."""
    return [attribute for sync in system.syncs.values() for attribute in sync.attributes]


def attribute_keys(catalogue: Catalogue) -> list[dg.AssetKey]:
    """The assets of all attributes of all systems."""
    return [
        attribute_key(name, attribute)
        for name, system in catalogue.systems.items()
        for attribute in attributes_of(system)
    ]


def system_assets(catalogue: Catalogue, name: str) -> dg.AssetsDefinition:
    """The system's attributes; a run of some of them runs each of their syncs once."""
    declared = catalogue.systems[name]
    specs = [_spec(catalogue, declared, attribute) for attribute in attributes_of(declared)]

    @dg.multi_asset(
        name=f"sync_{name}",
        specs=specs,
        can_subset=True,
        pool=name,
        required_resource_keys={"session"},
        description=declared.description or None,
    )
    def sync_system(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        from profile_pipelines.pipeline import DueSync, sync_attributes

        session: Session = context.resources.session
        now, full = now_of(context.run.tags), reads_in_full(context.run.tags)
        selected = {key.path[-1] for key in context.selected_asset_keys}
        failures: list[dg.Failure] = []
        for sync, each in declared.syncs.items():
            attributes = tuple(a for a in each.attributes if a in selected)
            if not attributes:
                continue
            step = f"{name}.{sync}"
            try:
                with session.step(step) as details:
                    result = sync_attributes(
                        session.workspace,
                        DueSync(name, sync, attributes),
                        now=now,
                        run_id=context.run.run_id,
                        full=full,
                        progress=lambda rows, step=step: session.progress.rows(step, rows),
                    )
                    details.append(f"{result.rows_read:,} rows read")
                    details.append(f"{result.changed + result.deleted:,} changed")
            except dg.Failure as failure:
                failures.append(failure)
                continue
            session.report.syncs.append(result)
            counts = {
                "rows_read": result.rows_read,
                "records_changed": result.changed,
                "records_deleted": result.deleted,
                "bad_records": result.bad_records,
                "full_read": result.full,
            }
            for attribute in attributes:
                entry = result.attributes[attribute]
                yield dg.MaterializeResult(
                    asset_key=attribute_key(name, attribute),
                    metadata={
                        **counts,
                        "values_read": entry.values_read,
                        "invalid_values": entry.invalid,
                        "set_aside": entry.set_aside,
                    },
                )
        if failures:
            # Failure of one sync leaves the assets of the system's other syncs materialised
            raise failures[0] if len(failures) == 1 else _together(failures)

    return sync_system


def system_checks(catalogue: Catalogue, name: str) -> dg.AssetChecksDefinition:
    """A blocking check for each of the system's attributes: were its latest values valid?

    One op for all of a system's checks and not one for each: measured with 50 systems of 10
    attributes, ops of their own add 0.7 s of CPU to every load of the definitions, and 4 ms
    each to every run. Nothing is lost: what depends on one attribute depends on all of them.
    """
    specs = [
        dg.AssetCheckSpec(
            CHECK,
            asset=attribute_key(name, attribute),
            blocking=True,
            description=(
                "Fails when too many of the values that the latest sync read are invalid "
                f"(more than {catalogue.attributes[attribute].max_invalid:.0%}): they were set "
                "aside, and the last good values stay. Warns while any lie in quarantine."
            ),
        )
        for attribute in attributes_of(catalogue.systems[name])
    ]

    @dg.multi_asset_check(
        name=f"check_{name}",
        specs=specs,
        can_subset=True,
        required_resource_keys={"session"},
    )
    def check_system(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        session: Session = context.resources.session
        latest = session.workspace.ledger.latest_of(name)
        for check in context.selected_asset_check_keys:
            entry = latest.get(check.asset_key.path[-1])
            if entry is None:
                yield dg.AssetCheckResult(
                    asset_key=check.asset_key,
                    check_name=CHECK,
                    passed=False,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="no sync has read this attribute yet",
                )
                continue
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=CHECK,
                passed=not entry.in_quarantine and not entry.set_aside,
                severity=(
                    dg.AssetCheckSeverity.ERROR if entry.set_aside else dg.AssetCheckSeverity.WARN
                ),
                description=(
                    "too many values are invalid: they were set aside, the last good ones stay"
                    if entry.set_aside
                    else None
                ),
                metadata={
                    "values_read": entry.values_read,
                    "invalid_values": entry.invalid,
                    "in_quarantine": entry.in_quarantine,
                    **{f"invalid: {reason}": n for reason, n in sorted(entry.reasons.items())},
                },
            )

    return check_system


def owners(declared: str | None) -> list[str]:
    """An owner as Dagster takes it: an email address, or else the name of a team."""
    if not declared:
        return []
    if _EMAIL.fullmatch(declared):
        return [declared]
    return ["team:" + "-".join(re.findall(r"\w+", declared.removeprefix("team:").lower()))]


def _spec(catalogue: Catalogue, system: System, name: str) -> dg.AssetSpec:
    attribute = catalogue.attributes[name]
    sync, field = sync_of(catalogue, system.system, name)
    trust = attribute.sources.index(system.system) + 1 if system.system in attribute.sources else 0
    seconds = attribute.fresh_within.total_seconds()
    described = [attribute.description] if attribute.description else []
    described.append(f"From the field `{field.field}` of {system.system}'s {sync}.")
    tags = {
        "profile_pipelines/sync": sync,
        "profile_pipelines/trust": str(trust),
    }
    if attribute.consent:
        tags["profile_pipelines/consent"] = attribute.consent
    return dg.AssetSpec(
        attribute_key(system.system, name),
        group_name=system.system,
        kinds={system.kind, _connection_kind(system, system.syncs[sync])},
        description="\n\n".join(described),
        owners=owners(attribute.owner or system.owner),
        tags=tags,
        code_version=_code_version(catalogue, system, sync, name),
        metadata={
            "sync": sync,
            "field": field.field,
            "type": attribute.type,
            "schedule": schedule_of(catalogue, system.system, name),
            "merge": attribute.merge,
            "trust": f"{trust} of {len(attribute.sources)}" if trust else "not used",
            "fresh_within_hours": round(seconds / 3600, 2),
        },
        freshness_policy=(
            dg.FreshnessPolicy.time_window(fail_window=attribute.fresh_within)
            if seconds >= _SHORTEST_WINDOW_SECONDS
            else None
        ),
    )


def _connection_kind(system: System, sync: Sync) -> str:
    return sync.format or system.connection.type


def _code_version(catalogue: Catalogue, system: System, sync: str, name: str) -> str:
    """Changes when the same source would give other values."""
    attribute = catalogue.attributes[name]
    declared = [
        system.syncs[sync].attributes[name].field,
        attribute.type,
        attribute.valid.model_dump_json(),
    ]
    return sha256("\n".join(declared).encode()).hexdigest()[:12]


def _together(failures: list[dg.Failure]) -> dg.Failure:
    return dg.Failure(
        "\n".join(str(failure.description) for failure in failures),
        allow_retries=all(failure.allow_retries for failure in failures),
    )
