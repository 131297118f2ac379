"""Email addresses, by RFC 5322 and 6531: what is one, and the form in which it is compared."""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType
from urllib.parse import unquote

_WORD = "[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[a-z0-9]+(?:-[a-z0-9]+)*"
EMAIL = rf"^{_WORD}(?:\.{_WORD})*@(?:{_LABEL}\.)+[a-z]+$"
"""Addresses in ASCII that obviously are some; of others the library decides."""
LONGEST_EMAIL = 64
"""No longer address is one obviously: its parts may be too long."""
_NAMED = r"(?s)(.*)<([^<>]*)>"
"""An address with the name of who has it: `Bo Li <bo@x.example>`."""
_BETWEEN = ";, \t\r\n"
_QUOTES = "\"'"


def email_address(text: str) -> str:
    """An address in its one form: lower case, with its domain as DNS has it (IDNA 2008, UTS 46);
    "" for what is none (RFC 5322, 6531), or may be two.

    What exports leave around it goes: a name, quotes, `mailto:`, a final semicolon or comma.
    """
    text = _bare(text.strip().lower())
    if len(text) <= LONGEST_EMAIL and re.fullmatch(EMAIL, text):
        return text
    library = _library()
    try:
        found = library.validate_email(text, check_deliverability=False, globally_deliverable=False)
    except library.EmailNotValidError:
        return ""
    domain = found.ascii_domain or ""
    return f"{found.local_part}@{domain}".lower() if "." in domain else ""


def _bare(text: str) -> str:
    text = text.strip(_BETWEEN)
    if (named := re.fullmatch(_NAMED, text)) is not None:
        name, text = named.groups()
        others = re.search(r"\S@\S", name) and name.strip(_BETWEEN + _QUOTES) != text.strip()
        if others:  # the name has another address, and nobody knows which one is meant
            return ""
    text = text.strip(_BETWEEN)
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip(_BETWEEN)
    if text.startswith("mailto:"):  # a link, whose other headers begin with ? (RFC 6068)
        text = unquote(text.removeprefix("mailto:").partition("?")[0]).lower().strip(_BETWEEN)
    return text


@cache
def _library() -> ModuleType:
    import email_validator

    # names for tests and home networks are as good as others; the library documents this way
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    return email_validator


def named_address(text: str) -> tuple[str, str]:
    """The name and the address of `Bo Li <bo@x.example>`, or of an address alone (without a name).

    The address keeps the case of its local part; its domain is in ASCII. Raises ValueError where
    it is none.
    """
    found = re.fullmatch(r"\s*(.*?)\s*<\s*([^<>\s]*)\s*>\s*", text)
    name, address = ("", text.strip()) if found is None else (found[1].strip('"'), found[2])
    normal = email_address(address)
    if not normal:
        raise ValueError("must be an address, such as Example <hello@example.com>")
    local, _, domain = normal.rpartition("@")
    spelled = address.rpartition("@")[0]
    return name, f"{spelled if spelled.lower() == local else local}@{domain}"
