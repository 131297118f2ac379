"""A journey as text that the ledger keeps: enrolments finish on the version they began with."""

from __future__ import annotations

import hashlib
import json
from datetime import date, time

from profile_pipelines.catalog.journeys import Journey


def definition_of(journey: Journey) -> tuple[str, str]:
    """The journey as JSON, as the catalogue could write it; and its fingerprint.

    What is only told to people, and who moves over from an older version, makes no other one.
    """
    declared = journey.model_dump(by_alias=True, exclude_none=True)
    for told in ("description", "owner", "mapping", "priority"):
        declared.pop(told, None)
    text = json.dumps(declared, default=_plain, sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()[:32]


def read_definition(text: str) -> Journey:
    """The journey that `definition_of` wrote."""
    return Journey.model_validate_json(text)


def _plain(value: object) -> object:
    match value:
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)
