"""Identifiers as ad platforms match them: normalised by their rules, then hashed with SHA-256.

Meta: letters in lower case without spaces around them; telephone numbers as digits with the
country's calling code; names and places without punctuation.
https://developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences

Google: no space in an address, and of gmail.com neither full stops nor what follows a plus;
telephone numbers as E.164. The country and the postcode aren't hashed.
https://developers.google.com/data-manager/api/devguides/concepts/formatting
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping

from profile_pipelines.catalog.destination_checks import GOOGLE_ADDRESS
from profile_pipelines.catalog.destinations import GoogleCustomerMatch, MetaAudience

_META_PLAIN = frozenset({"EXTERN_ID", "MADID"})
_GOOGLE_PLAIN = frozenset({"region_code", "postal_code"})


def hashed_key(
    target: MetaAudience | GoogleCustomerMatch, values: Mapping[str, object]
) -> str | None:
    """A customer's identifiers, hashed, as a JSON list in the order of the declared columns.

    None where there is nothing to match by.
    """
    google = isinstance(target, GoogleCustomerMatch)
    found = [
        _hashed(
            _google(kind, str(value), target.calling_code)
            if google
            else _meta(kind, str(value), target.calling_code),
            plain=kind in (_GOOGLE_PLAIN if google else _META_PLAIN),
        )
        if value is not None
        else ""
        for kind, value in values.items()
    ]
    if google:
        address = [text for kind, text in zip(values, found, strict=True) if kind in GOOGLE_ADDRESS]
        if not all(address):
            found = [
                "" if kind in GOOGLE_ADDRESS else text
                for kind, text in zip(values, found, strict=True)
            ]
    elif not any(text for kind, text in zip(values, found, strict=True) if kind in _META_ALONE):
        # a name or a postcode alone matches nobody
        return None
    return json.dumps(found, separators=(",", ":")) if any(found) else None


_META_ALONE = frozenset({"EMAIL", "PHONE", "MADID", "EXTERN_ID", "LN", "FN"})


def _hashed(text: str, *, plain: bool) -> str:
    return text if plain or not text else hashlib.sha256(text.encode()).hexdigest()


def _meta(kind: str, text: str, calling_code: str | None) -> str:
    if kind == "EXTERN_ID":
        return text.strip()
    text = unicodedata.normalize("NFC", text).strip().lower()
    match kind:
        case "PHONE":
            return telephone(text, calling_code).removeprefix("+")
        case "FN" | "LN":
            return re.sub(r"[^\w]|_", "", text)
        case "CT" | "ST":
            return re.sub(r"[\W\d_]", "", text)
        case "ZIP":
            return re.sub(r"\s", "", text).partition("-")[0]
        case "DOBM" | "DOBD":
            return text.zfill(2)
        case "GEN":
            return text[:1]
        case _:
            return text


def _google(kind: str, text: str, calling_code: str | None) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    match kind:
        case "email":
            text = re.sub(r"\s", "", text).lower()
            local, at, host = text.rpartition("@")
            if host in ("gmail.com", "googlemail.com"):
                local = local.partition("+")[0].replace(".", "")
            return f"{local}{at}{host}"
        case "phone":
            return telephone(text, calling_code)
        case "region_code":
            return text.upper()
        case "postal_code":
            return text
        case _:
            return text.lower()


def telephone(text: str, calling_code: str | None) -> str:
    """A telephone number as E.164 (`+4930123456`).

    One without a calling code (`030 123456`) gets the given one in place of its leading zero; ""
    where none is given, or for what is no number.
    """
    digits = re.sub(r"\D", "", re.sub(r"\(0\)", "", text))
    if text.strip().startswith("+"):
        found = digits
    elif digits.startswith("00"):
        found = digits[2:]
    elif calling_code is not None:
        found = calling_code + digits.removeprefix("0")
    elif digits.startswith("0"):
        found = ""
    else:
        found = digits
    return f"+{found}" if 7 <= len(found) <= 15 and not found.startswith("0") else ""
