"""What people refused: told also to a keeper outside the ledger, and put back from there.

A ledger that is restored has lost the erasures, suppressions and unsubscriptions since. So each is
told to the keeper in the transaction that writes it, before its end: what the ledger has, the
keeper has. What it is told is opaque, like the ledger's own rows: keyed hashes, profiles' numbers
and times; never a reason that somebody wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from profile_pipelines.ledger.ledger import Ledger

Kind = Literal["address", "consent", "erasure", "let_in"]
RESTORED = "put back after a restore"


class Keeper(Protocol):
    """Keeps what it is told for good. Raises LakeError when it can't."""

    def keep(self, kind: Kind, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep these, in this order, behind all that was kept before."""
        ...


@dataclass
class PutBack:
    """How many of each were put back. `profiles` are those of erasures that the ledger didn't know,
    or not to their end; `other_key` counts what was hashed under a key that isn't there."""

    addresses: int = 0
    consents: int = 0
    erasures: int = 0
    other_key: int = 0
    profiles: set[int] = field(default_factory=set[int])


def put_back(
    ledger: Ledger, kept: Iterable[tuple[Kind, Mapping[str, Any]]], *, known_profiles: int
) -> PutBack:
    """Bring what a keeper kept into a ledger that may have lost it; what it has stays as it is.

    Profiles with `known_profiles` as their number, or a greater one, are unknown to it.
    """
    found = PutBack()
    ledger.erasures.settle_keys()
    last = {(act.profile_id, act.purpose): act.at for act in ledger.unsubscribes.since(0)}
    erased: set[int] = set()
    rows, addresses = list(kept), list[Mapping[str, Any]]()
    for kind, row in rows:
        if kind == "erasure":
            erased |= set(row["profiles"])
    for kind, row in rows:
        if kind == "address":
            addresses.append(row)
        elif kind == "consent":
            who = row["profile_id"], row["purpose"]
            at = datetime.fromisoformat(row["at"])
            is_new = who not in last or last[who] < at
            if is_new and who[0] < known_profiles and who[0] not in erased:
                found.consents += _consent(ledger, row, at)
        elif row["key"] != ledger.erasures.key_check():
            # whoever had a number by then is erased by it, and kept out anew
            known = kind == "erasure" and max(row["profiles"], default=0) < known_profiles
            found.erasures += known
            found.other_key += not known
            if kind == "erasure":
                found.profiles |= set(row["profiles"])
        elif kind == "erasure":
            unended = ledger.erasures.put_back(row)
            found.erasures += unended
            if unended:
                found.profiles |= set(row["profiles"])
        else:
            ledger.erasures.tombstones.let_in(row["digests"])
    _addresses(ledger, addresses, found)
    found.profiles = {each for each in found.profiles if each < known_profiles}
    return found


def _addresses(ledger: Ledger, rows: Collection[Mapping[str, Any]], found: PutBack) -> None:
    own = ledger.erasures.address_key_check() if rows else ""
    acts = [
        {
            "address": row["address"], "purpose": row["purpose"], "suppressed": row["suppressed"],
            "reason": row["reason"], "at": datetime.fromisoformat(row["at"]),
            "by": None if row["suppressed"] else RESTORED,
            "because": None if row["suppressed"] else RESTORED,
        }
        for row in rows
        if row["key"] == own
    ]  # fmt: skip
    found.other_key += len(rows) - len(acts)
    found.addresses = ledger.suppressions.add_all(acts)


def _consent(ledger: Ledger, row: Mapping[str, Any], at: datetime) -> bool:
    acts, who, by = ledger.unsubscribes, (row["profile_id"], row["purpose"]), row["by"]
    if row["unsubscribed"] and by is not None:
        return acts.keep(*who, by=by, because=row["because"] or RESTORED, now=at)
    return acts.take_back(*who, row["unsubscribed"], at)
