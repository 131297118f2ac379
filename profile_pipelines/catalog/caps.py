"""How many messages a customer gets at most."""

from __future__ import annotations

import re
from typing import Annotated, cast

from pydantic import AfterValidator, BeforeValidator, Field

from profile_pipelines.catalog.declaration import Declaration, Span
from profile_pipelines.catalog.periods import Period


class Cap(Declaration):
    """At most so many messages within any days of the calendar, or hours, in a row."""

    count: int = Field(gt=0, le=1_000_000)
    period: Annotated[Span, AfterValidator(lambda period: _some(period))]

    @classmethod
    def read(cls, value: object) -> object:
        """Let `1 per day` and `3 per 7 days` stand for count and period."""
        if isinstance(value, dict | Cap):
            return cast(object, value)
        match = re.fullmatch(r"\s*(\d+)\s+per\s+(?:(\d+)\s*)?([a-z]+)\s*", str(value))
        if match is None:
            raise ValueError("must be a cap, for example 1 per day or 3 per 7 days")
        return {"count": int(match[1]), "period": f"{match[2] or 1} {match[3]}"}


def _some(period: Period) -> Period:
    if not period.count:
        raise ValueError("must be some length of time, for example 7 days")
    return period


MessageCap = Annotated[Cap, BeforeValidator(Cap.read, json_schema_input_type=str)]
