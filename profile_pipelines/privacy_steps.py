"""What is done at a customer's word: all of her is erased, or an unsubscription taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from profile_pipelines.destination_steps import delivery_to
from profile_pipelines.errors import Conflict, DestinationError, NotFound
from profile_pipelines.pipeline import in_turn
from profile_pipelines.workspace import Workspace

if TYPE_CHECKING:
    from profile_pipelines.ledger.erasures import Erasure
    from profile_pipelines.ledger.tombstones import TombstoneEnd


def erase_people(
    workspace: Workspace,
    profile_ids: Sequence[int],
    *,
    reference: str | None,
    by: str,
    now: datetime,
    until: str | None = None,
    step: Callable[[str], None] = lambda name: None,
) -> Erasure:
    """Erase the people of these profiles everywhere, the destinations included.

    They are kept out for `until` (`2 years`, `source stops delivering them`), by default as the
    catalogue's settings say.

    Raises like `privacy.erasure.erase`. Begun again, it goes on where it ended.
    """
    from profile_pipelines.privacy.erasure import erase

    return erase(
        workspace.catalogue,
        workspace.lake,
        workspace.ledger,
        workspace.places.outbox,
        profile_ids,
        reference=reference,
        by=by,
        now=now,
        until=until,
        step=step,
        from_destinations=lambda ids: _removals(workspace, ids, now),
    )


def lift_tombstones(
    workspace: Workspace,
    identifiers: Sequence[tuple[str, str]],
    *,
    by: str,
    because: str,
    now: datetime,
) -> list[TombstoneEnd]:
    """Let people in again who were erased, by any identifier that they were known by; what ended.

    Each identifier is given with where it stands (`requests.txt:3: ` or nothing). The syncs that
    may have kept their records out are read whole at the next run. Raises NotFound, and lifts
    nothing, where one has no tombstone; Conflict where their erasure isn't ended.
    """
    from profile_pipelines.landing.tombstone_ends import declared_syncs
    from profile_pipelines.privacy.erasure_request import marks_of

    catalogue, erasures = workspace.catalogue, workspace.ledger.erasures
    digests: set[str] = set()
    unknown: list[str] = []
    for where, text in identifiers:
        marks = marks_of(catalogue, text)
        found = erasures.tombstoned({erasures.digest(*mark) for mark in marks})
        if not found:
            unknown.append(f"{where}nobody with this identifier is kept out")
        elif (erasure := erasures.of(marks)) and erasure.completed_at is None:
            raise Conflict(
                f"{where}erasure {erasure.erasure} isn't ended; end it first: profile-pipelines "
                "erase --resume"
            )
        digests |= found
    if unknown:
        raise NotFound("\n".join(unknown))
    return erasures.tombstones.lift(
        digests, declared_syncs(catalogue), by=by, because=because, now=now
    )


def _removals(
    workspace: Workspace, profile_ids: Sequence[int], now: datetime
) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """What a destination that isn't declared any more holds can't be removed: that is said."""
    declared = workspace.catalogue.destinations
    held = Counter(
        row["destination"] for row in workspace.ledger.deliveries.of_profiles(profile_ids)
    )
    for name in sorted({*declared, *held}):
        if name not in declared:
            place = f"NOT REMOVED from destination {name}, which isn't declared any more"
            yield place, held[name], lambda: None
        elif held[name] or declared[name].is_ours:
            yield (
                f"destination {name}",
                held[name],
                partial(_remove, workspace, name, profile_ids, now),
            )


def _remove(workspace: Workspace, name: str, profile_ids: Sequence[int], now: datetime) -> None:
    result = in_turn(
        workspace, lambda: delivery_to(workspace, name, lambda: now, None).erase(profile_ids), None
    )
    if result.error is None and not result.refused:
        return
    why = result.error or f"destination {name} won't give up {result.refused:,} customers"
    raise DestinationError(f"{why}; the erasure waits for it: profile-pipelines erase --resume")


def restore_consent(
    workspace: Workspace,
    identifier: str,
    purpose: str,
    *,
    by: str,
    because: str,
    now: datetime,
) -> list[int]:
    """Take a customer's unsubscription back, and what suppresses their addresses; the ids of the
    profiles for which that was done.

    `identifier` may be an address alone, which nobody need have: that one is no longer
    suppressed. From the next run on the systems decide again. Raises UnknownName for the purpose,
    and NotFound when there is no such customer or none that is unsubscribed.
    """
    from profile_pipelines.consent.addresses import addresses_of
    from profile_pipelines.consent.permission import Unsubscribed, check_purpose
    from profile_pipelines.profiles.lookup import find_profiles

    catalogue, lake, unsubscribes, suppressions = (
        workspace.catalogue, workspace.lake, workspace.ledger.unsubscribes,
        workspace.ledger.suppressions,
    )  # fmt: skip
    check_purpose(catalogue, purpose)
    itself = suppressions.mark(identifier)
    try:
        found = find_profiles(catalogue, lake, identifier)
    except NotFound:
        if itself not in suppressions.of([itself], purpose):
            raise
        found = []
    addresses: dict[int | None, set[str]] = {
        each: {suppressions.mark(text) for text in addresses_of(catalogue, lake, [each])}
        for each in found
    }
    addresses[None] = {itself}
    suppressed = suppressions.of(set().union(*addresses.values()), purpose)
    unsubscribed = Unsubscribed(catalogue, lake, workspace.ledger).acted(purpose)
    theirs = [each for each in found if each in unsubscribed or addresses[each] & set(suppressed)]
    if not theirs and not suppressed:
        raise NotFound(f"this customer isn't unsubscribed from {purpose}")
    for address in suppressed:
        suppressions.restore(address, purpose, by=by, because=because, at=now)
    for profile_id in theirs:
        if profile_id in unsubscribed:
            unsubscribes.restore(profile_id, purpose, by=by, because=because, now=now)
    return theirs
