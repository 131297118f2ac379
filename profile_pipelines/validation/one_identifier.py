"""One identifier as a person types it into a search, brought to its one form.

In plain Python, so that a search needn't load Polars. `validation.identifiers` does the same for
whole columns; a property test holds the two together.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from profile_pipelines.catalog.email_addresses import email_address
from profile_pipelines.catalog.models import Identifier
from profile_pipelines.catalog.telephones import e164
from profile_pipelines.validation.one_cell import (
    FLOAT,
    JOINERS,
    SCIENTIFIC,
    meaning,
    plain_number,
    spelled_out,
    trimmed,
)

LOST_DIGITS = "a number that lost digits: scientific notation shows fewer than it stands for"
FRACTION = "a number with a fraction, which identifies nobody"
TOO_LARGE = "a number from 2^53 on, whose last digits a float doesn't hold"
IS_TRUTH = "a truth value, which identifies nobody"
IS_LIST = "a list or an object; name one value in it, such as emails[0]"
NO_EMAIL = "no email address, or more than one"
NO_TELEPHONE = "no telephone number"
"""Why a cell is no identifier and no key."""

PLACEHOLDERS = frozenset(
    [
        ".",
        "?",
        "n/a",
        "na",
        "n.a.",
        "#n/a",
        "nil",
        "none",
        "null",
        "nan",
        "undefined",
        "false",
        "true",
        "unknown",
        "unbekannt",
        "anonymous",
        "guest",
        "test",
        "dummy",
        "tbd",
        "xxx",
        "null@null.com",
        "none@none.com",
        "test@test.com",
        "na@na.com",
        "noreply@example.com",
        "no@email.com",
        "noemail@noemail.com",
        "unknown@unknown.com",
    ]
)
"""What people and programs type where an identifier is missing; compared without case."""

NOTHING = "0-"
"""Text of zeros and dashes alone is nobody: `0000000000`, and the UUID without anything in it."""
EXACT = 2**53
"""From here on a float doesn't hold every whole number."""


def denied(identifier: Identifier) -> frozenset[str]:
    """All placeholders of an identifier type, in lower case."""
    return PLACEHOLDERS | {entry.lower().strip() for entry in identifier.deny}


def identity_text(text: str) -> tuple[str | None, str | None]:
    """What a text says of an identifier or key, before any step; and why it says nothing usable.

    A number has its one spelling; both are None for a missing value.
    """
    said = meaning(text)
    if said is None:
        return None, None
    said = re.sub(JOINERS, "", said)
    bare = trimmed(said)
    if re.fullmatch(SCIENTIFIC, bare):
        spelled = spelled_out(bare)
        if spelled is None:
            return None, LOST_DIGITS
        return (None, TOO_LARGE) if _is_inexact(spelled) else (spelled, None)
    if re.fullmatch(FLOAT, bare) and _is_inexact(bare):
        return None, TOO_LARGE
    if bare[:1] in ("[", "{") and bare[-1:] in ("]", "}"):
        return None, IS_LIST
    return plain_number(said), None


def _is_inexact(number: str) -> bool:
    return abs(Decimal(number)) >= EXACT


def normalise_one(text: str, identifier: Identifier) -> str | None:
    """The identifier in its one form; None for a blank, a placeholder or a malformed email."""
    said, _ = identity_text(text)
    if said is None:
        return None
    text = unicodedata.normalize("NFKC", said)
    for step in identifier.normalise:
        match step:
            case "trim":
                text = trimmed(text)
            case "upper":
                text = text.upper()
            case "lower":
                text = text.lower()
            case "nfkc":
                text = unicodedata.normalize("NFKC", text)
            case "digits":
                text = re.sub(r"[^0-9]", "", text)
            case "strip_leading_zeros":
                text = text.lstrip("0")
            case "email":
                text = email_address(text)
            case {"phone": region}:
                text = e164(text, region)
            case {"strip_prefix": prefix}:
                text = text.removeprefix(str(prefix))
            case _:
                raise ValueError(f"unknown normaliser {step!r}")
    is_nobody = not text.strip(NOTHING) or text.lower() in denied(identifier)
    return None if is_nobody else text
