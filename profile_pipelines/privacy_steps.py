"""What is done at a customer's word: all of her is erased, or an unsubscription taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from profile_pipelines.destination_steps import delivery_to
from profile_pipelines.errors import DestinationError, NotFound
from profile_pipelines.workspace import Workspace

if TYPE_CHECKING:
    from profile_pipelines.ledger.erasures import Erasure


def erase_people(
    workspace: Workspace,
    profile_ids: Sequence[int],
    *,
    reference: str | None,
    by: str,
    now: datetime,
    step: Callable[[str], None] = lambda name: None,
) -> Erasure:
    """Erase the people of these profiles everywhere, the destinations included.

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
        step=step,
        from_destinations=lambda ids: _removals(workspace, ids, now),
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
    result = delivery_to(workspace, name, lambda: now, None).erase(profile_ids)
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
    """Take a customer's unsubscription back; the ids of the profiles for which that was done.

    From the next run on the systems decide again. Raises UnknownName for the purpose, and NotFound
    when there is no such customer or none that is unsubscribed.
    """
    from profile_pipelines.consent.permission import Unsubscribed, check_purpose
    from profile_pipelines.profiles.lookup import find_profiles

    catalogue, lake, unsubscribes = (
        workspace.catalogue, workspace.lake, workspace.ledger.unsubscribes,
    )  # fmt: skip
    check_purpose(catalogue, purpose)
    found = find_profiles(catalogue, lake, identifier)
    unsubscribed = Unsubscribed(catalogue, lake, unsubscribes).of(purpose)
    theirs = [each for each in found if each in unsubscribed]
    if not theirs:
        raise NotFound(f"this customer isn't unsubscribed from {purpose}")
    for profile_id in theirs:
        unsubscribes.restore(profile_id, purpose, by=by, because=because, now=now)
    return theirs
