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
from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.catalog.telephones import e164, region_of

_META_PLAIN = frozenset({"EXTERN_ID", "MADID"})
_GOOGLE_PLAIN = frozenset({"region_code", "postal_code"})
_TITLE = r"^(?:mrs|mr|ms|miss|dr|prof)(?:\.\s*|\s+)(?=\S)"
_SUFFIX = r"(?<=\S)(?:,\s*|\s+)(?:jr|sr|ii|iii|iv)\.?$"
"""What Google doesn't have in names."""


def hashed_key(
    target: MetaAudience | GoogleCustomerMatch, values: Mapping[str, object]
) -> str | None:
    """A customer's identifiers, hashed, as a JSON list in the order of the declared columns.

    None where there is nothing to match by.
    """
    google = isinstance(target, GoogleCustomerMatch)
    found = [
        _hashed(
            _google(kind, value_text(value), target.calling_code)
            if google
            else _meta(kind, value_text(value), target.calling_code),
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
            return _letters(text, digits=True)
        case "CT" | "ST":
            return _letters(text, digits=False)
        case "ZIP":
            text = re.sub(r"\s", "", text)
            return text[:5] if re.fullmatch(r"\d{5}-\d{4}", text) else text.replace("-", "")
        case "DOBM" | "DOBD":
            return text.zfill(2)
        case "GEN":
            return text[:1] if text[:1] in ("f", "m") else ""
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
        case "given_name":
            return re.sub(_TITLE, "", text.lower())
        case _:
            return re.sub(_SUFFIX, "", text.lower())


def telephone(text: str, calling_code: str | None) -> str:
    """A telephone number as E.164 (`+4930123456`).

    One without a calling code (`030 123456`) is a national one of the country with the given code;
    "" where none is given, or for what can be no number.
    """
    return e164(text, region_of(calling_code))


def _letters(text: str, *, digits: bool) -> str:
    """Without punctuation, signs and spaces: letters of all scripts with their vowel signs and
    accents stay, and digits where they are wanted."""
    kept = ("L", "M", "N") if digits else ("L", "M")
    return "".join(sign for sign in text if unicodedata.category(sign)[0] in kept)
