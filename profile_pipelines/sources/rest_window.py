"""Reading past the number of records at which an API's results stop, by time of change.

Windows share their bounds, so that no record falls between two of them; those at a bound come
twice, which changes nothing. A record that is changed meanwhile moves to a window that is yet
to come, since windows are read from the oldest to the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from profile_pipelines.catalog.rest_requests import Window
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_clock import Clock, Written

_MILLISECONDS_FROM = 10**11
_AHEAD = timedelta(days=1)
"""How far the last window reaches beyond the present, for clocks that are ahead."""

Ask = Callable[[Written, Written | None], Iterator[Any]]
"""The pages of the records changed from one time on, up to another; both written for the API."""


class Windows:
    """The windows of one read, by the cursor's clock. `updated_at` is the field's path."""

    def __init__(self, where: str, window: Window, clock: Clock, updated_at: str, ask: Ask) -> None:
        self.where = where
        self.window = window
        self.clock = clock
        self.updated_at = updated_at
        self.ask = ask

    def pages(self, since: datetime, now: datetime, *, early: bool) -> Iterator[list[Any]]:
        """Every record changed since then; `early` asks from a moment before.

        Raises SourceError when more records than the cap have one and the same time.
        """
        unit = self.clock.unit
        start = self.clock.since(since - (unit if early else timedelta(0)))
        if self.window.by == "advance":
            return self._advance(start)
        end = _floor(self.clock.shows(now) + _AHEAD, unit) + unit
        return self._split(_floor(start, unit), end)

    def _advance(self, start: datetime) -> Iterator[list[Any]]:
        """Each page is asked for from the last record's time, so that a record that moves
        within the results while they're read takes no other one's place."""
        get, unit = getter(self.updated_at), self.clock.unit
        while True:
            count, latest = 0, start
            for page in self.ask(self.clock.text(start), None):
                for record in page:
                    moment = self._time(get(record))
                    if moment < latest and _floor(moment, unit) < _floor(latest, unit):
                        raise SourceError(
                            f"{self.where}: the records don't come in order of "
                            f"{self.updated_at!r}; ask the API to sort by it, the oldest first"
                        )
                    latest = max(latest, moment)
                yield page
                if not page.more:
                    return
                if self.clock.text(latest) != self.clock.text(start):
                    break
                count += len(page)
                if count + len(page) > self.window.cap:
                    raise self._too_many(start)
            else:
                return
            start = latest

    def _split(self, start: datetime, end: datetime) -> Iterator[list[Any]]:
        unit, text, todo = self.clock.unit, self.clock.text, [(start, end)]
        while todo:
            low, high = todo.pop()
            count = 0
            for page in self.ask(text(low), text(high)):
                count += len(page)
                if self._overflows(page, count):
                    break
                yield page
            else:
                continue
            if high - low <= unit:
                raise self._too_many(low)
            middle = low + (high - low) // unit // 2 * unit
            todo += [(middle, high), (low, middle)]

    def _overflows(self, page: Any, count: int) -> bool:
        if self.window.total is None:
            return count >= self.window.cap
        total = as_text(getter(self.window.total)(page.answer)) or ""
        if not total and not page:
            return False
        if not total.isdecimal():
            raise SourceError(f"{self.where}: the answer has no number at {self.window.total!r}")
        return int(total) > self.window.cap

    def _time(self, value: Any) -> datetime:
        """The record's time on the clock."""
        text = as_text(value) or ""
        try:
            if text.isdecimal():
                number = int(text)
                number = number / 1000 if number > _MILLISECONDS_FROM else number
                return self.clock.shows(datetime.fromtimestamp(number, UTC))
            return self.clock.on(datetime.fromisoformat(text))
        except (ValueError, OverflowError, OSError):
            raise SourceError(
                f"{self.where}: a record has no time at {self.updated_at!r}, by which the "
                "windows advance"
            ) from None

    def _too_many(self, moment: datetime) -> SourceError:
        return SourceError(
            f"{self.where}: more than {self.window.cap} records were changed at one time "
            f"({moment:%Y-%m-%d %H:%M:%S}), which the API can't give; export them another way, or "
            "narrow what is asked for"
        )


def _floor(moment: datetime, unit: timedelta) -> datetime:
    first = datetime(1970, 1, 1, tzinfo=UTC)
    return first + (moment - first) // unit * unit
