"""How long people who were erased are kept out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from profile_pipelines.catalog.declaration import Declaration
from profile_pipelines.catalog.periods import Period, format_period, parse_period

SOURCE_STOPS = "source stops delivering them"
Until = Period | Literal["source stops delivering them"]
"""A length of time since the erasure, or until every system that had them was read whole without
them."""


def read_until(value: object) -> Until:
    """Read `2 years` or `source stops delivering them`. Raises ValueError for anything else."""
    if isinstance(value, Period):
        return value
    text = " ".join(str(value).lower().split())
    if text == SOURCE_STOPS:
        return SOURCE_STOPS
    try:
        period = parse_period(text)
    except ValueError:
        period = None
    if period is None or not period.count:
        raise ValueError(f"must be a length of time such as 2 years, or {SOURCE_STOPS}")
    return period


def spell_until(until: Until) -> str:
    """The text that `read_until` reads."""
    return format_period(until) if isinstance(until, Period) else until


class ErasureSettings(Declaration):
    """What holds for people who were erased."""

    until: (
        Annotated[
            Until, BeforeValidator(read_until, json_schema_input_type=str),
            PlainSerializer(spell_until),
        ]
        | None
    ) = None  # fmt: skip
    """How long they are kept out: `2 years`, or `source stops delivering them`; for ever unless it
    is given."""
