"""One identifier as a person types it into a search, brought to its one form.

In plain Python, so that a search needn't load Polars. `validation.identifiers` does the same for
whole columns; a property test holds the two together.
"""

from __future__ import annotations

import re
import unicodedata

from profile_pipelines.catalog.models import Identifier

PLACEHOLDERS = frozenset(
    [
        "-",
        "--",
        ".",
        "?",
        "0",
        "n/a",
        "na",
        "n.a.",
        "#n/a",
        "nil",
        "none",
        "null",
        "nan",
        "undefined",
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

_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's white space, as Polars trims it; Python's own `strip` takes four separators more."""

EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s.]+$"


def denied(identifier: Identifier) -> frozenset[str]:
    """All placeholders of an identifier type, in lower case."""
    return PLACEHOLDERS | {entry.lower().strip() for entry in identifier.deny}


def normalise_one(text: str, identifier: Identifier) -> str | None:
    """The identifier in its one form; None for a blank, a placeholder or a malformed email."""
    text = unicodedata.normalize("NFKC", text)
    for step in identifier.normalise:
        match step:
            case "trim":
                text = text.strip(_BLANKS)
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
                text = text.strip(_BLANKS).lower()
                text = text if re.search(EMAIL, text) else ""
            case {"strip_prefix": prefix}:
                text = text.removeprefix(str(prefix))
            case _:
                raise ValueError(f"unknown normaliser {step!r}")
    return None if not text or text.lower() in denied(identifier) else text
