"""The names of time zones."""

from __future__ import annotations

from zoneinfo import ZoneInfo, available_timezones

from profile_pipelines.catalog.mistakes import did_you_mean

_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
"""What the time zone database has beside its zones: no engine takes the first, and the others
are what a machine is set to."""


def time_zone(name: str) -> str:
    """The name as it is. Raises ValueError, with a hint, for what is no IANA time zone."""
    try:
        if name not in _NO_ZONES:
            ZoneInfo(name)
            return name
    except (LookupError, ValueError, OSError):
        pass
    hint = did_you_mean(name.title(), available_timezones() - _NO_ZONES)
    raise ValueError(f"is no time zone{hint or '; write for example Europe/Berlin'}")
