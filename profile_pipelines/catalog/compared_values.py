"""What the tests of conditions compare with: constants, days from today on, other attributes.

contract_end_date: {before: 2030-12-31}
contract_end_date: {before: today + 2 months}
contract_end_date: {before: {attribute: renewal_date}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import cast

from pydantic import BaseModel, ConfigDict

from profile_pipelines.catalog.declaration import Name
from profile_pipelines.catalog.periods import Period, parse_period, shift
from profile_pipelines.catalog.values import AttributeType, typed_value

_FROM_TODAY = re.compile(r"\s*(today|tomorrow|yesterday)\s*(?:([+-])\s*(.*?))?\s*")
_OFFSET_FORM = "write days, weeks, months or years, such as today + 7 days"
_NUMBERS = ("integer", "decimal")


class OtherAttribute(BaseModel):
    """Another attribute of the same profile, whose value is compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attribute: Name
    """The other attribute; of the same type, or both are numbers."""


@dataclass(frozen=True)
class DayFromToday:
    """A day that moves with the calendar: today, or a period later (`sign` 1) or earlier (-1)."""

    period: Period
    sign: int = 1

    def on(self, today: date) -> date:
        """The day that it is on a day; the first or the last of the calendar for one beyond it."""
        return shift(today, self.period, self.sign)


ConditionValue = str | int | Decimal | bool | date | datetime | DayFromToday


def day_from_today(value: object) -> DayFromToday | None:
    """The day that a text such as `tomorrow` or `today - 2 months` means; None for other values.

    Raises ValueError, saying what would be right, for a text that only begins like one.
    """
    found = _FROM_TODAY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    word, sign, length = found.groups()
    if sign is None:
        days = 0 if word == "today" else 1
        return DayFromToday(Period(days, "day"), -1 if word == "yesterday" else 1)
    if word != "today":
        raise ValueError(f"counts from {word}; count from today, such as today + 7 days")
    try:
        period = parse_period(length)
    except ValueError:
        raise ValueError(f"is no day; {_OFFSET_FORM}") from None
    if period.exact:
        raise ValueError(f"is no whole number of days; {_OFFSET_FORM}")
    return DayFromToday(period, 1 if sign == "+" else -1)


def condition_value(attribute_type: AttributeType, value: object) -> ConditionValue:
    """Bring a value in a condition to the type that it's compared in.

    For a list that's the type of its items. Dates and timestamps may be days from today on; for a
    timestamp a date stands for the whole day, and a timestamp without offset is local time in the
    catalogue's time zone: both come back as they are. Raises ValueError, saying what would be
    right, when the value doesn't fit.
    """
    if attribute_type not in ("date", "timestamp"):
        item_type = "string" if attribute_type == "list" else attribute_type
        return cast("ConditionValue", typed_value(item_type, value))
    moving = day_from_today(value)
    if moving is not None:
        return moving
    if attribute_type == "date":
        return _or_today(typed_value, "date", value)
    if isinstance(value, str):
        for read in (date.fromisoformat, datetime.fromisoformat):
            try:
                return read(value)
            except ValueError:
                continue
    if not isinstance(value, date):
        return _or_today(typed_value, "timestamp", value)
    return value


def comparable(one: AttributeType, other: AttributeType) -> bool:
    """Whether values of two types are compared: of the same type, or both numbers."""
    return one == other or (one in _NUMBERS and other in _NUMBERS)


def others_in(value: object) -> Iterator[str]:
    """The other attributes that the value of an operator, or an entry of its list, names."""
    for each in cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,)):
        if isinstance(each, OtherAttribute):
            yield each.attribute


def moves_with_the_clock(value: object) -> bool:
    """Whether the value of an operator, or an entry of its list, is a day from today on."""
    for each in cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,)):
        try:
            if day_from_today(each) is not None:
                return True
        except ValueError:
            continue
    return False


def _or_today(
    read: Callable[[AttributeType, object], object], attribute_type: AttributeType, value: object
) -> ConditionValue:
    try:
        return cast("ConditionValue", read(attribute_type, value))
    except ValueError as error:
        raise ValueError(f"{error}, or today, or today + 7 days") from None
