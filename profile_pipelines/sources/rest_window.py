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
from profile_pipelines.sources.rest_request import Written, written

_UNITS = {
    "date": timedelta(days=1),
    "iso": timedelta(seconds=1),
    "epoch": timedelta(seconds=1),
    "parts": timedelta(seconds=1),
    "epoch_ms": timedelta(milliseconds=1),
}
_AHEAD = timedelta(days=1)
"""How far the last window reaches beyond the present, for clocks that are ahead."""

Ask = Callable[[Written, Written | None], Iterator[Any]]
"""The pages of the records changed from one time on, up to another; both written for the API."""


class Windows:
    """The windows of one read. `form` is the cursor's format, `updated_at` the field's path."""

    def __init__(self, where: str, window: Window, form: str, updated_at: str, ask: Ask) -> None:
        self.where = where
        self.window = window
        self.form = form
        self.updated_at = updated_at
        self.ask = ask

    def pages(self, since: datetime, now: datetime, *, early: bool) -> Iterator[list[Any]]:
        """Every record changed since then; `early` asks from a moment before.

        Raises SourceError when more records than the cap have one and the same time.
        """
        unit = _UNITS[self.form]
        start = since.astimezone(UTC) - (unit if early else timedelta(0))
        if self.window.by == "advance":
            return self._advance(start)
        return self._split(_floor(start, unit), _floor(now.astimezone(UTC) + _AHEAD, unit) + unit)

    def _advance(self, start: datetime) -> Iterator[list[Any]]:
        """Each page is asked for from the last record's time, so that a record that moves
        within the results while they're read takes no other one's place."""
        get, unit = getter(self.updated_at), _UNITS[self.form]
        while True:
            count, latest = 0, start
            for page in self.ask(written(start, self.form), None):
                for record in page:
                    moment = self._instant(get(record))
                    if moment < latest and _floor(moment, unit) < _floor(latest, unit):
                        raise SourceError(
                            f"{self.where}: the records don't come in order of "
                            f"{self.updated_at!r}; ask the API to sort by it, the oldest first"
                        )
                    latest = max(latest, moment)
                yield page
                if not page.more:
                    return
                if written(latest, self.form) != written(start, self.form):
                    break
                count += len(page)
                if count + len(page) > self.window.cap:
                    raise self._too_many(start)
            else:
                return
            start = latest

    def _split(self, start: datetime, end: datetime) -> Iterator[list[Any]]:
        unit, todo = _UNITS[self.form], [(start, end)]
        while todo:
            low, high = todo.pop()
            count = 0
            for page in self.ask(written(low, self.form), written(high, self.form)):
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
        if not total.isdecimal():
            raise SourceError(f"{self.where}: the answer has no number at {self.window.total!r}")
        return int(total) > self.window.cap

    def _instant(self, value: Any) -> datetime:
        text = as_text(value) or ""
        try:
            if text.isdecimal():
                number = int(text)
                return datetime.fromtimestamp(number / 1000 if number > 10**11 else number, UTC)
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError, OSError):
            raise SourceError(
                f"{self.where}: a record has no time at {self.updated_at!r}, by which the "
                "windows advance"
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def _too_many(self, moment: datetime) -> SourceError:
        return SourceError(
            f"{self.where}: more than {self.window.cap} records were changed at one time "
            f"({written(moment, 'iso')}), which the API can't give; export them another way, or "
            "narrow what is asked for"
        )


def _floor(moment: datetime, unit: timedelta) -> datetime:
    first = datetime(1970, 1, 1, tzinfo=UTC)
    return first + (moment - first) // unit * unit
