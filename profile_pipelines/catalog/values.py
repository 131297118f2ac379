"""Values written in the catalogue, brought to the Python type of their attribute, and what every
layer knows of values: the text of a number, and how a missing one is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Literal, cast

AttributeType = Literal["string", "integer", "decimal", "boolean", "date", "timestamp", "list"]
TypedValue = str | int | Decimal | bool | date | datetime | list[str]
MISSING = ("\\N", "NULL", "(null)", "(NULL)", "<null>", "<NULL>", "#N/A")
"""How exports write a missing value: MySQL and PostgreSQL, SQL Server, Oracle, spreadsheets."""

_LARGEST_EXPONENT = 400
"""No float reaches it; written out, a larger one would be text without bound."""


def number_text(value: int | float | Decimal) -> str | None:
    """The one spelling of a number as text: no exponent, no zeros at the end of a fraction.

    123, 123.0 and 1.23e2 are `123`, 99.50 is `99.5`, -0.0 is `0`; every digit of a large number
    is kept. Only beyond 400 digits before or zeros after the point an exponent stays. None for
    NaN and infinity.
    """
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError:  # Python writes no more than 4,300 digits of an int
            return str(Decimal(value))
    number = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not number:
        return "0"
    text = str(number)
    if "E" in text:
        if not -_LARGEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT:
            return text
        text = f"{number:f}"
    elif not number.is_finite():
        return None
    return text.rstrip("0").rstrip(".") if "." in text else text


def typed_value(attribute_type: AttributeType, value: object) -> TypedValue:
    """Bring a YAML value to the attribute's type, as the lake stores it.

    Timestamps come out in UTC; one without an offset is taken as UTC, a date as its midnight UTC.
    Raises ValueError, with a text that says what would be right, when it doesn't fit the type.
    """
    match attribute_type:
        case "string":
            return _text(value)
        case "integer":
            return _integer(value)
        case "decimal":
            return _decimal(value)
        case "boolean":
            return _boolean(value)
        case "date":
            return _date(value)
        case "timestamp":
            return _timestamp(value)
        case "list":
            if not isinstance(value, list):
                raise ValueError("must be a list of texts, for example [sms, email]")
            return [_text(item) for item in cast(list[object], value)]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ValueError("must be a whole number, for example 100")
    return value


def _decimal(value: object) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise ValueError
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise ValueError("must be a number, for example 99.50") from None
    if not number.is_finite() or abs(number) >= 10**14 or number != round(number, 4):
        raise ValueError("must be a number of at most 14 digits and 4 decimals")
    return number


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _date(value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError("must be a date, for example 2030-12-31")
    return value


def _timestamp(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        try:
            return value.astimezone(UTC)
        except OverflowError:
            value = None
    if not isinstance(value, date):
        raise ValueError("must be a timestamp, for example 2030-12-31T18:00:00Z")
    return datetime.combine(value, time(), UTC)
