"""Finds profiles by any identifier in any spelling."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.errors import NotFound
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import FURTHER_OF
from profile_pipelines.lake.table import Rows
from profile_pipelines.validation.one_identifier import normalise_one


def find_profiles(
    catalogue: Catalogue, lake: Lake, text: str, *, as_of: datetime | None = None
) -> list[int]:
    """The ids of the profiles that have the text as an identifier, or bear it as their own id.

    The text is brought to the form of each identifier type in turn. Raises NotFound when none
    has it.
    """
    pinned = lake.identities(catalogue).pin()
    tests = _tests(catalogue, text)
    found: list[int] = []
    if pinned.exists and tests:
        columns = ["profile_id", *(f"id_{name}" for name in catalogue.identifiers)]
        rows = pinned.as_of(as_of, columns, "i")
        present = exp.not_(exp.Is(this=column("profile_id", "f"), expression=exp.null()))
        select = (
            exp.select(column("profile_id", "f"))
            .distinct()
            .from_(rows.sql.subquery("f"))
            .where(exp.and_(present, exp.or_(*tests)))
            .order_by(column("profile_id", "f"))
        )
        found = [row["profile_id"] for row in lake.engine.rows(select, rows.relations)]
    if not found:
        timezone = ZoneInfo(catalogue.settings.timezone)
        raise NotFound(
            "no profile has this identifier"
            + ("" if as_of is None else f" as of {as_of.astimezone(timezone):%Y-%m-%d %H:%M}")
        )
    return found


def find_customers(catalogue: Catalogue, lake: Lake, text: str) -> list[int]:
    """The ids of the profiles that have the text as an identifier, as `find_profiles` does; when
    none has it today, of those whose records ever had it, also of profiles that are gone.

    Raises NotFound when none ever had it.
    """
    try:
        return find_profiles(catalogue, lake, text)
    except NotFound:
        pinned, tests = lake.identities(catalogue).pin(), _tests(catalogue, text)
        if not pinned.exists or not tests:
            raise
        columns = ["profile_id", *(f"id_{name}" for name in catalogue.identifiers)]
        rows = pinned.changes(columns, "ever")
        present = exp.not_(exp.Is(this=column("profile_id", "f"), expression=exp.null()))
        select = (
            exp.select(column("profile_id", "f"))
            .distinct()
            .from_(rows.sql.subquery("f"))
            .where(exp.and_(present, exp.or_(*tests)))
        )
        ever = {row["profile_id"] for row in lake.engine.rows(select, rows.relations)}
        if not ever:
            raise
        # to find a profile of today takes no pyarrow
        from profile_pipelines.identity.former import customers_of

        return customers_of(catalogue, lake, ever)


def _tests(catalogue: Catalogue, text: str) -> list[exp.Expr]:
    """What rows `f` of the identities that the text is an identifier of have to pass, any one."""
    own = text.strip().lower().removeprefix("profile").strip(" :#")
    if own.isdecimal() and text.strip().lower().startswith("profile"):
        return [exp.EQ(this=column("profile_id", "f"), expression=literal(int(own)))]
    return [
        exp.EQ(this=column(f"id_{name}", "f"), expression=literal(normalised))
        for name, identifier in catalogue.identifiers.items()
        if (normalised := normalise_one(text, identifier)) is not None
    ]


def records_of(
    catalogue: Catalogue, lake: Lake, profile_id: int, *, as_of: datetime | None = None
) -> list[dict[str, object]]:
    """The identity rows of one profile: record numbers with their identifiers."""
    pinned = lake.identities(catalogue).pin()
    names = [f"id_{name}" for name in catalogue.identifiers]
    columns = ["record_id", "profile_id", FURTHER_OF, *names]
    rows = pinned.as_of(as_of, columns, "i")
    select = (
        exp.select(exp.Star())
        .from_(rows.sql.subquery("f"))
        .where(exp.EQ(this=column("profile_id", "f"), expression=literal(profile_id)))
    )
    return _dicts(lake, Rows(select, rows.relations))


def _dicts(lake: Lake, rows: Rows) -> list[dict[str, object]]:
    return lake.engine.rows(rows.sql, rows.relations)
