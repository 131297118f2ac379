"""Each system as one subsettable multi-asset, an asset per attribute, each with its check."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import schedule_of, sync_of
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.orchestration.session import APPROVE_TAG, Session, now_of, reads_in_full

if TYPE_CHECKING:
    from profile_pipelines.ledger import SetAside
    from profile_pipelines.ledger.ledger import AttributeEntry
    from profile_pipelines.system_steps import ReadStep

CHECK = "valid_values"
RETRIES_TAG = "dagster/max_retries"
"""Run tag, read by the daemon: how often a run that failed is repeated."""
_SHORTEST_WINDOW_SECONDS = 60
_EMAIL = re.compile(r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}\b")
"""The addresses that Dagster takes; it refuses the definitions for any other."""


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
    """The system's attributes; a run of some of them runs each of their syncs once, and those
    that bring no attribute and only link identifiers."""
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
    def sync_system(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckEvaluation]:
        session: Session = context.resources.session
        now, full = now_of(context.run.tags), reads_in_full(context.run.tags)
        if approved := context.run.tags.get(APPROVE_TAG):
            _approve(session, approved, context.run.run_id, now)
        selected = {key.path[-1] for key in context.selected_asset_keys}
        found: dict[str, AttributeEntry] = {}
        failures: list[dg.Failure] = []
        for step, attributes in steps_of(
            session, declared, selected, now=now, run_id=context.run.run_id, full=full
        ):
            outcome = session.read(step)
            try:
                with session.failing(step.name):
                    outcome.check()
            except dg.Failure as failure:
                failures.append(failure)
                continue
            result = outcome.synced
            assert result is not None
            session.report.syncs.append(result)
            counts = {
                "rows_read": result.rows_read,
                "records_changed": result.changed,
                "records_deleted": result.deleted,
                "bad_records": result.bad_records,
                "full_read": result.full,
                **({"records_ahead_of_time": result.ahead} if result.ahead else {}),
                **({"records_left_out": result.left_out} if result.left_out else {}),
                **({"records_kept_out": result.kept_out} if result.kept_out else {}),
                **({"records_with_repeated_key": result.repeated} if result.repeated else {}),
                **(
                    {
                        f"unread_{name}": sum(reasons.values())
                        for name, reasons in result.unread.items()
                    }
                ),
                **({"schema_drift": "; ".join(result.drift)} if result.drift else {}),
            }
            for attribute in attributes:
                entry = found[attribute] = result.attributes[attribute]
                if entry.set_aside:
                    # materialised it would look fresh, while its values are going stale
                    continue
                yield dg.MaterializeResult(
                    asset_key=attribute_key(name, attribute),
                    metadata={
                        **counts,
                        "values_read": entry.values_read,
                        "invalid_values": entry.invalid,
                    },
                )
        if failures or any(entry.set_aside for entry in found.values()):
            # The op of the checks is left out then: what they found is told here, and fails this
            # one where an attribute was set aside.
            keys = [attribute_key(name, attribute) for attribute in found]
            if not failures:
                # to read again would bring the same
                context.instance.add_run_tags(context.run.run_id, {RETRIES_TAG: "0"})
            for result in _check_results(session, catalogue, name, keys, found):
                yield _evaluation(result)
        if failures:
            # Failure of one sync leaves the assets of the system's other syncs materialised
            raise failures[0] if len(failures) == 1 else _together(failures)

    return sync_system


def steps_of(
    session: Session,
    declared: System,
    selected: Collection[str],
    *,
    now: datetime,
    run_id: str,
    full: bool,
) -> "list[tuple[ReadStep, tuple[str, ...]]]":
    """What is read of the system for these attributes, each with those that it brings; and the
    syncs that bring none and only link identifiers."""
    from profile_pipelines.system_steps import sync_steps

    chosen = {
        sync: tuple(a for a in each.attributes if a in selected)
        for sync, each in declared.syncs.items()
    }
    wanted = {
        sync: attributes
        for sync, attributes in chosen.items()
        if attributes or not declared.syncs[sync].attributes
    }
    steps = sync_steps(
        lambda: session.workspace, declared.system, wanted, now=now, run_id=run_id, full=full
    )
    return [(step, wanted[sync]) for sync, step in steps.items()]


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
                "Fails when the latest sync was set aside: too many of its values were invalid "
                f"(more than {catalogue.attributes[attribute].max_invalid * 100:.4g}%), or it "
                "would have emptied, changed or deleted too much, or the source has lost the "
                "field. The last good values stay. Warns while any lie in quarantine."
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
        keys = [check.asset_key for check in context.selected_asset_check_keys]
        yield from _check_results(context.resources.session, catalogue, name, keys, {})

    return check_system


def _check_results(
    session: Session,
    catalogue: Catalogue,
    system: str,
    keys: Iterable[dg.AssetKey],
    found: "Mapping[str, AttributeEntry]",
) -> Iterator[dg.AssetCheckResult]:
    """What the latest sync of each of these attributes of the system found; the run's own, by
    attribute, is `found`."""
    from profile_pipelines.ledger import WHOLE_SYNC

    with session.failing(f"checks.{system}"):
        ledger = session.workspace.ledger
        latest = {**ledger.latest_of(system), **found}
        waiting = ledger.set_asides.newest(system)
    for key in keys:
        attribute = key.path[-1]
        entry = latest.get(attribute)
        if entry is None:
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=CHECK,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description="no sync has read this attribute yet",
            )
            continue
        sync, _ = sync_of(catalogue, system, attribute)
        held = [
            each
            for each in waiting
            if each.sync == sync and each.attribute in (WHOLE_SYNC, attribute)
        ]
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=CHECK,
            passed=not entry.in_quarantine and not entry.set_aside,
            severity=(
                dg.AssetCheckSeverity.ERROR if entry.set_aside else dg.AssetCheckSeverity.WARN
            ),
            description=_told(held) if entry.set_aside else None,
            metadata={
                "values_read": entry.values_read,
                "invalid_values": entry.invalid,
                "in_quarantine": entry.in_quarantine,
                **{f"invalid: {reason}": n for reason, n in sorted(entry.reasons.items())},
                **(_figures(held) if entry.set_aside else {}),
            },
        )


def _evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """The result as the event that tells it, from another op than the check's own."""
    assert result.asset_key is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=CHECK,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=True,
    )


def _approve(session: Session, approved: str, run_id: str, now: datetime) -> None:
    """Once more in a run that is retried: then there is nothing left to approve."""
    set_asides = session.workspace.ledger.set_asides
    if any(each.run_id.endswith(approved) and each.approved_at for each in set_asides.all()):
        return
    with session.step("approval") as details:
        rows = set_asides.approve(approved, by=f"run {run_id}", now=now)
        details.append(f"{len(rows)} let through")


def _told(held: "list[SetAside]") -> str:
    """Why, and what to do."""
    reasons = "; ".join(str(each.excess) for each in held) or "too much was invalid or would change"
    runs = sorted({each.run_id for each in held if each.excess.kind != "missing"})
    todo = (
        f" Correct the source, or let it through: profile-pipelines approve {runs[-1]}, or run it "
        f"with the tag {APPROVE_TAG}: {runs[-1]}."
        if runs
        else ""
    )
    if any(each.excess.kind == "missing" for each in held):
        todo = f" Correct the mapping of the missing field in the catalogue, or the source.{todo}"
    return f"{reasons}: set aside, what was known before stays.{todo}"


def _figures(held: "list[SetAside]") -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for each in held:
        kind = each.excess.kind
        found[f"set aside: {kind}"] = each.excess.count
        found[f"set aside: {kind}, of"] = each.excess.out_of
        found[f"set aside: {kind}, limit"] = each.excess.limit
    return found


def owners(declared: str | None) -> list[str]:
    """An owner as Dagster takes it: an email address, or else the name of a team."""
    if not declared:
        return []
    if _EMAIL.fullmatch(declared):
        return [declared]
    words = re.findall(r"\w+", declared.removeprefix("team:").lower())
    return ["team:" + "-".join(words)] if words else []


def _spec(catalogue: Catalogue, system: System, name: str) -> dg.AssetSpec:
    attribute = catalogue.attributes[name]
    sync, field = sync_of(catalogue, system.system, name)
    trust = attribute.sources.index(system.system) + 1 if system.system in attribute.sources else 0
    seconds = attribute.fresh_within.total_seconds()
    described = [attribute.description] if attribute.description else []
    of = "field " if field.aggregate is None else ""
    described.append(f"From the {of}`{field.origin}` of {system.system}'s {sync}.")
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
            "field": field.origin,
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
        system.syncs[sync].attributes[name].model_dump_json(exclude={"schedule"}),
        attribute.type,
        attribute.valid.model_dump_json(),
    ]
    return sha256("\n".join(declared).encode()).hexdigest()[:12]


def _together(failures: list[dg.Failure]) -> dg.Failure:
    return dg.Failure(
        "\n".join(str(failure.description) for failure in failures),
        allow_retries=all(failure.allow_retries for failure in failures),
    )
