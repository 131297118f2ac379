"""What people write for a moment: `2026-03-14`, `2026-03-14T09:30`, `2026-03-14T09:30:00+01:00`."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import typer


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
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone))
    return moment.astimezone(UTC)


def present(text: str | None, timezone: str) -> datetime:
    """What `--now` says, or else the present (UTC)."""
    return datetime.now(UTC) if text is None else parse_moment(text, timezone)


def past(text: str | None, timezone: str) -> datetime | None:
    """What `--as-of` says, if anything (UTC)."""
    return None if text is None else parse_moment(text, timezone)
