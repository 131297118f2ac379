"""Telephone numbers in the one form that all systems can read: E.164, such as +4930123456."""

from __future__ import annotations

import re

_SHORTEST = 7
_PLUS = "+＋"


def is_region(text: str) -> bool:
    """Whether this is the code of a country or region (ISO 3166) that has telephone numbers."""
    import phonenumbers

    return text in phonenumbers.SUPPORTED_REGIONS


def region_of(calling_code: str | None) -> str | None:
    """The region whose national numbers have a calling code; of several the main one."""
    import phonenumbers

    if calling_code is None:
        return None
    region = phonenumbers.region_code_for_country_code(int(calling_code))
    return None if region in ("ZZ", "001") else region


def e164(text: str, region: str | None) -> str:
    """A telephone number as E.164; "" for what can't be one.

    A number without a calling code is a national one of the region, or else has its calling code
    without a plus. Extensions go. The rules of each country are those of libphonenumber; a number
    that lacks its area code is somebody else's in the next town, and so is none.
    """
    import phonenumbers

    start = re.search(rf"[{_PLUS}\d]", text)
    if start is None:
        return ""
    text = text[start.start() :].strip()
    digits = text.lstrip(_PLUS)
    if digits.startswith("00"):  # as most of the world dials abroad
        text = f"+{digits[2:]}"
    elif region is None or digits != text:
        text = f"+{digits}"
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    reason = phonenumbers.is_possible_number_with_reason(number)
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # short ones are dialled within a town or an office only
    is_one = reason == phonenumbers.ValidationResult.IS_POSSIBLE and len(found) > _SHORTEST
    return found if is_one else ""
