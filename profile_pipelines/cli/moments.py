"""What people write for a moment: `2026-03-14`, `2026-03-14T09:30`, `2026-03-14T09:30:00+01:00`."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import typer

_YEARS = (1900, 2999)
"""So that there are days before and after, and time zones can be reckoned with."""


def parse_moment(text: str, timezone: str) -> datetime:
    """The moment in UTC; without an offset it is wall-clock time in the catalogue's `timezone`.

    A date stands for the day's first moment. Raises BadParameter.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a date nor a timestamp; write 2026-03-14, 2026-03-14T09:30 "
            "or 2026-03-14T09:30:00+01:00"
        ) from None
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise typer.BadParameter(
            f"{text!r} is out of reach: moments lie in the years {_YEARS[0]} to {_YEARS[1]}"
        )
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    return moment.astimezone(UTC)


def present(text: str | None, timezone: str) -> datetime:
    """What `--now` says, or else the present (UTC)."""
    return datetime.now(UTC) if text is None else parse_moment(text, timezone)


def past(text: str | None, timezone: str) -> datetime | None:
    """What `--as-of` says, if anything (UTC)."""
    return None if text is None else parse_moment(text, timezone)
