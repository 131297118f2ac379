"""What a condition means, in plain Python over one profile: written apart from the SQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from profile_pipelines.audiences.compile import Context

Answer = bool | None


@dataclass
class Profile:
    """One profile: values, the systems that gave each, its changes and other memberships."""

    values: dict[str, Any]
    givers: dict[str, set[int]]
    changes: list[tuple[datetime, list[str] | None]] = field(default_factory=list)
    audiences: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """By audience: member and held."""


def answer(data: dict[str, Any], profile: Profile, context: Context) -> Answer:
    """True, false, or None for unknown; `data` is the condition as YAML gives it."""
    ((key, value),) = data.items()
    match key:
        case "all":
            return _opposite(_any(_opposite(answer(part, profile, context)) for part in value))
        case "any":
            return _any(answer(part, profile, context) for part in value)
        case "none":
            return _opposite(_any(answer(part, profile, context) for part in value))
        case "in_audience" | "not_in_audience":
            member, held = profile.audiences.get(value, (False, False))
            return None if held else member == (key == "in_audience")
        case _:
            others = [each["attribute"] for each in _operands(value) if isinstance(each, dict)]
            if any(is_stale(each, profile, context) for each in (key, *others)):
                return None
            return all(holds(key, op, operand, profile, context) for op, operand in value.items())


def _operands(operators: dict[str, Any]) -> list[Any]:
    lists = [each if isinstance(each, list) else [each] for each in operators.values()]
    return [each for part in lists for each in part]


def is_stale(name: str, profile: Profile, context: Context) -> bool:
    """Whether the profile's value of an attribute, or the lack of one, is stale."""
    stale = context.stale[name]
    if profile.values[name] is None:
        return stale.missing
    return bool(profile.givers[name] & stale.codes)


def _any(answers: Any) -> Answer:
    answers = list(answers)
    return True if True in answers else None if None in answers else False


def _opposite(it: Answer) -> Answer:
    return None if it is None else not it


def holds(name: str, operator: str, operand: Any, profile: Profile, context: Context) -> bool:
    """Whether one operator holds for the profile's value, be it stale or not."""
    value = profile.values[name]
    kind = context.attributes[name].type
    if operator == "missing":
        return value is None
    if operator in ("is_not", "not_in"):
        positive = "in" if operator == "not_in" else "is"
        return not holds(name, positive, operand, profile, context)
    if value is None:
        return False
    operand = _looked_up(operand, profile)
    if operator == "in":
        operand = [each for each in operand if each is not None]
    elif operand is None or (isinstance(operand, list) and None in operand):
        return False
    match operator:
        case "present":
            return True
        case "is":
            return _equal(value, operand, kind, context)
        case "in":
            return any(_equal(value, it, kind, context) for it in operand)
        case "contains":
            return operand in value
        case "starts_with":
            return value.startswith(operand)
        case "has_any":
            return bool(set(operand) & set(value))
        case "has_all":
            return set(operand) <= set(value)
        case "empty":
            return (not value) == operand
        case "less_than" | "before":
            return _order(value, operand, kind, context) < 0
        case "at_most":
            return _order(value, operand, kind, context) <= 0
        case "more_than" | "after":
            return _order(value, operand, kind, context) > 0
        case "at_least":
            return _order(value, operand, kind, context) >= 0
        case "between":
            low, high = operand
            return (
                _order(value, low, kind, context) >= 0 and _order(value, high, kind, context) <= 0
            )
        case "changed_within":
            return any(
                changed is not None
                and name in changed
                and when <= context.now
                and not _in_window("more_than_ago", operand, when, context)
                for when, changed in profile.changes
            )
        case _:
            return _in_window(operator, operand, value, context)


def _looked_up(operand: Any, profile: Profile) -> Any:
    """With the profile's own values in place of the other attributes that are named."""
    if isinstance(operand, list):
        return [_looked_up(each, profile) for each in operand]
    if isinstance(operand, dict):
        return profile.values[operand["attribute"]]
    return operand


def _equal(value: Any, operand: Any, kind: str, context: Context) -> bool:
    if kind in ("string", "boolean"):
        return value == operand
    return _order(value, operand, kind, context) == 0


def _order(value: Any, operand: Any, kind: str, context: Context) -> int:
    """Below 0, 0 or above 0, as the value lies before, in or after what the operand names."""
    if kind == "decimal":
        operand = Decimal(str(operand))
    if isinstance(operand, str) and kind in ("date", "timestamp"):
        operand = day_named(operand, context)
    if kind == "timestamp":
        if isinstance(operand, datetime):
            local = operand if operand.tzinfo else operand.replace(tzinfo=context.timezone)
            operand = local.astimezone(UTC)
        else:
            value = _calendar_day_begun(value, context.timezone)
    return (value > operand) - (value < operand)


def day_named(text: str, context: Context) -> date:
    """`today`, `tomorrow`, `yesterday`, or `today + 2 months`."""
    today = calendar_day(context.now, context.timezone)
    word, *offset = text.split()
    if word != "today":
        return today + timedelta(1 if word == "tomorrow" else -1)
    return later(today, f"{offset[0]}{offset[1]}", offset[2]) if offset else today


def later(day: date, count: str | int, unit: str) -> date:
    """So many days, weeks, months or years later, where the calendar goes on so long."""
    lengths: dict[str, Any] = {unit.rstrip("s") + "s": int(count)}
    try:
        return day + relativedelta(**lengths)
    except (OverflowError, ValueError):
        return date.min if int(count) < 0 else date.max


def is_never(value: date) -> bool:
    """Whether it's one of the last days of the calendar, which stand for never."""
    day = value.date() if isinstance(value, datetime) else value
    return day >= date(9999, 12, 30)


def is_always(value: date) -> bool:
    """Whether it's one of the first days of the calendar, which stand for always."""
    if isinstance(value, datetime):
        return value <= datetime(1, 1, 3, tzinfo=UTC)
    return value <= date(1, 1, 3)


def _in_window(operator: str, text: str, value: Any, context: Context) -> bool:
    if is_never(value) or is_always(value):
        return operator == "more_than_ago" and is_always(value)
    count, unit = text.split()
    number = int(count) if operator.endswith("within_next") else -int(count)
    if operator.startswith("anniversary"):
        return _comes_round(number, unit, value, context)
    if unit.startswith(("hour", "minute")):
        edge = context.now + timedelta(**{unit.rstrip("s") + "s": number})
        now = context.now
    else:
        now = calendar_day(context.now, context.timezone)
        edge = later(now, number, unit)
        if isinstance(value, datetime):
            value = _calendar_day_begun(value, context.timezone)
    if operator == "more_than_ago":
        return value < edge
    return min(now, edge) <= value <= max(now, edge)


def _comes_round(count: int, unit: str, born: date, context: Context) -> bool:
    """Whether an anniversary lies in the window, looking at each of its years."""
    today = calendar_day(context.now, context.timezone)
    first, last = sorted([today, later(today, count, unit)])
    for year in range(max(first.year, born.year + 1), last.year + 1):
        try:
            day = born.replace(year=year)
        except ValueError:  # 29 February
            day = date(year, 2, 28)
        if first <= day <= last:
            return True
    return False


def calendar_day(moment: datetime, zone: ZoneInfo) -> date:
    """The date that a wall calendar shows; the first or the last where there is no other."""
    try:
        return moment.astimezone(zone).date()
    except OverflowError:
        return date.min if moment.year == 1 else date.max


@cache
def _calendar_day_begun(moment: datetime, zone: ZoneInfo) -> date:
    """The latest date that has begun, which clocks put back across midnight don't undo."""
    if moment - datetime.min.replace(tzinfo=UTC) < timedelta(1):
        return calendar_day(moment, zone)
    return max(calendar_day(moment - timedelta(minutes=back), zone) for back in range(181))
