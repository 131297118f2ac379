"""Which addresses are one place: the same scheme, host and port (RFC 6454)."""

from __future__ import annotations

from urllib.parse import urlsplit

import idna

_PORTS = {"http": 80, "https": 443}


def host_of(url: str) -> str | None:
    """The host of an address as DNS has it: in ASCII and lower case, without a final dot."""
    name = (urlsplit(url).hostname or "").removesuffix(".")
    if name.isascii():
        return name or None
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return name


def same_origin(one: str, other: str) -> bool:
    """Whether what may be told to one address may be told to the other; an address whose port
    can't be read is like no other."""
    try:
        return _origin(one) == _origin(other)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    return parts.scheme, host_of(url), port
