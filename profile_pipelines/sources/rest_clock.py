"""How an API wants times to be written: with an offset, or by the clock of its zone.

A format without an offset tells the time on a clock, which in autumn shows an hour twice. What
is asked from then begins before that hour, so that no record falls out however the API reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.rest_requests import has_offset

Written = str | dict[str, int]
"""A time as an API wants it."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_UNITS = {"date": timedelta(days=1), "epoch_ms": timedelta(milliseconds=1)}
_PARTS = ("year", "month", "day", "hour", "minute", "second")


@dataclass(frozen=True)
class Clock:
    """The times of one cursor: its format, and the IANA zone of times without an offset.

    A time *on the clock* is what the clock shows, as if it were UTC: the instant itself where the
    format has an offset.
    """

    form: str
    zone: str = "UTC"

    @property
    def unit(self) -> timedelta:
        """The step between two times that are written differently."""
        if "%" not in self.form:
            return _UNITS.get(self.form, _SECOND)
        for part, unit in (("%S", _SECOND), ("%M", timedelta(minutes=1))):
            if part in self.form:
                return unit
        is_of_hours = "%H" in self.form or "%I" in self.form
        return timedelta(hours=1) if is_of_hours else timedelta(days=1)

    def written(self, when: datetime, *, early: bool = False) -> Written:
        """An instant for a request; a second earlier where the bound itself may be left out."""
        return self.text(self.since(when.replace(microsecond=0) - _SECOND if early else when))

    def since(self, when: datetime) -> datetime:
        """The time on the clock from which all that is of this instant or later is found."""
        shown = self.shows(when)
        if not has_offset(self.form):
            local = when.astimezone(ZoneInfo(self.zone))
            again = local.replace(fold=1).utcoffset()
            if local.fold == 0 and again != local.utcoffset():
                # the clock will show this time again: it is taken before it does so at first
                return self.shows(when - abs((local.utcoffset() or _SECOND) - (again or _SECOND)))
        return shown

    def shows(self, when: datetime) -> datetime:
        """What the clock shows at this instant."""
        if has_offset(self.form):
            return when.astimezone(UTC)
        return when.astimezone(ZoneInfo(self.zone)).replace(tzinfo=UTC, fold=0)

    def on(self, moment: datetime) -> datetime:
        """The time on the clock of a record's own time, which may bear an offset or none."""
        if moment.tzinfo is not None:
            return self.shows(moment)
        return (
            self.shows(self.instant(moment))
            if has_offset(self.form)
            else moment.replace(tzinfo=UTC)
        )

    def instant(self, shown: datetime) -> datetime:
        """The first instant at which the clock of the zone shows this time."""
        return shown.replace(tzinfo=ZoneInfo(self.zone), fold=0).astimezone(UTC)

    def text(self, at: datetime) -> Written:
        """A time on the clock, as the API wants it."""
        match self.form:
            case "epoch":
                return str((at - EPOCH) // _SECOND)
            case "epoch_ms":
                return str((at - EPOCH) // timedelta(milliseconds=1))
            case "date":
                return at.strftime("%Y-%m-%d")
            case "parts":
                return {**{part: getattr(at, part) for part in _PARTS}, "microsecond": 0}
            case "iso":
                return at.strftime("%Y-%m-%dT%H:%M:%SZ")
            case _:
                return at.strftime(self.form)

    def read(self, text: str) -> datetime:
        """The instant that a record or an event names. Raises ValueError for what is no time.

        In the format itself, in ISO 8601, or in seconds or milliseconds since 1970.
        """
        try:
            if "%" in self.form:
                try:
                    return self._aware(datetime.strptime(text, self.form))
                except ValueError:
                    pass
            if self.form == "epoch_ms":
                return datetime.fromtimestamp(float(text) / 1000, UTC)
            if self.form == "epoch":
                return datetime.fromtimestamp(float(text), UTC)
            return self._aware(datetime.fromisoformat(text))
        except (OverflowError, OSError):
            raise ValueError("is no time") from None

    def _aware(self, moment: datetime) -> datetime:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        return moment.replace(tzinfo=UTC) if self.form.endswith("Z") else self.instant(moment)
