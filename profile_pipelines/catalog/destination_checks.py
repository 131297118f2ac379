"""What must fit together between the destinations and the rest of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from profile_pipelines.catalog.channel_checks import consent_mistake
from profile_pipelines.catalog.destinations import (
    Braze,
    CustomerIo,
    Destination,
    GoogleCustomerMatch,
    HubSpotList,
    MetaAudience,
)
from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.mistakes import Path, did_you_mean

META_KEYS = (
    "EMAIL", "PHONE", "FN", "LN", "GEN", "DOBY", "DOBM", "DOBD", "CT", "ST", "ZIP", "COUNTRY",
    "MADID", "EXTERN_ID",
)  # fmt: skip
"""What Meta matches people by: the keys of a multi-key schema."""
GOOGLE_KEYS = ("email", "phone", "given_name", "family_name", "region_code", "postal_code")
GOOGLE_ADDRESS = frozenset(GOOGLE_KEYS[2:])
_KEPT = frozenset({"profile_id", "operation"})
"""Columns of every delivery."""


def destination_mistakes(draft: Draft, destination: Destination) -> Iterator[tuple[Path, str]]:
    """Path below the destination and text of every mistake."""
    if draft.is_unknown("audience", destination.audience):
        hint = did_you_mean(destination.audience, draft.declared("audience"), all_of="there are")
        yield ("audience",), f"unknown audience {destination.audience}{hint}"
    wrong = consent_mistake(draft, destination.consent)
    if wrong:
        yield ("consent",), wrong
    for name in destination.columns:
        yield from _known(draft, name, ("columns", name))
    if destination.key is not None:
        key = next(
            each
            for each in ("external_id", "person", "contact")
            if getattr(destination.to, each, None) is not None
        )
        yield from _known(draft, destination.key, ("to", key), as_key=True)
    yield from _columns(destination)


def _known(
    draft: Draft, name: str, path: Path, *, as_key: bool = False
) -> Iterator[tuple[Path, str]]:
    if name in draft.identifiers:
        return
    if draft.is_unknown("attribute", name) and draft.is_unknown("identifier", name):
        known = [*draft.declared("identifier"), *draft.declared("attribute")]
        yield path, f"unknown identifier or attribute {name}{did_you_mean(name, known)}"
    elif as_key and name in draft.attributes:
        found = draft.attributes[name].type
        if found not in ("string", "integer"):
            yield (
                path,
                f"customers are known by a string or an integer; the type of {name} is {found}",
            )


def _columns(destination: Destination) -> Iterator[tuple[Path, str]]:
    target, columns = destination.to, destination.columns
    at: Path = ("columns",)
    if isinstance(target, CustomerIo | HubSpotList):
        if columns:
            yield at, f"{target.type} takes no columns: only who is in the list"
        return
    if not columns and not isinstance(target, Braze):
        yield at, "name at least one attribute or identifier that is told"
    for name, told in columns.items():
        if isinstance(target, MetaAudience | GoogleCustomerMatch):
            known = META_KEYS if isinstance(target, MetaAudience) else GOOGLE_KEYS
            if told not in known:
                hint = did_you_mean(told, known, all_of="it matches by")
                yield (*at, name), f"{target.type} knows no {told}{hint}"
        elif not re.fullmatch(r"\w[\w .-]*", told) or len(told) > 63:
            yield (*at, name), "a column's name is of letters, digits and _, up to 63 of them"
        elif told.lower() in _KEPT:
            yield (*at, name), f"the column {told} is kept for every delivery; choose another name"
        if [each.lower() for each in columns.values()].count(told.lower()) > 1:
            yield (*at, name), f"the column {told} is given twice"
    if isinstance(target, GoogleCustomerMatch):
        missing = sorted(GOOGLE_ADDRESS - set(columns.values()))
        if missing and len(missing) < len(GOOGLE_ADDRESS):
            yield at, f"an address is matched only as a whole; {', '.join(missing)} is missing"
    if isinstance(target, Braze) and target.attribute in columns.values():
        yield ("to", "attribute"), "is the name of a column, too; choose another one"
