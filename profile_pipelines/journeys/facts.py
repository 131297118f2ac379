"""What journeys ask of the profiles at a moment, and by which clock they go."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import numpy as np
import polars as pl
from sqlglot import exp

from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, named
from profile_pipelines.journeys.program import dates, program, questions, withdrawal
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import Rows
from profile_pipelines.ledger.clock import Seen

_NOBODY_YET = Seen()


@dataclass(frozen=True)
class Facts:
    """The profiles, and how far they are covered, at a moment (`now`, aware).

    `seen` tells as of when what was noted counts if it was so by a clock that was put back.
    """

    catalogue: Catalogue
    lake: Lake
    coverage: Coverage
    now: datetime
    seen: Seen = _NOBODY_YET

    def of(self, journey: Journey, profile_ids: Sequence[int] | np.ndarray) -> pl.DataFrame:
        """`profile_id`, `exists now`, `member now`, `zone`, the answers and the dates, of profiles
        that are."""
        rows = self.questions(journey)
        schema = {"profile_id": pl.Int64()}
        asked = pl.DataFrame({"profile_id": profile_ids}, schema=schema).to_arrow()
        only = rows.sql.join(
            named("asked_profiles", "asked"),
            on=column("profile_id", "asked").eq(column("profile_id", "profiles")),
            join_type="semi",
        )
        relations = {**rows.relations, "asked_profiles": asked}
        found = cast(pl.DataFrame, pl.from_arrow(self.lake.engine.query(only, relations)))
        return found.with_columns(self._zone_of(found))

    def beside(self, enrolled: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
        """What `of` found beside each enrolment, also where there is no such profile any more."""
        return enrolled.join(found, on="profile_id", how="left").with_columns(
            pl.col("exists now").fill_null(False),
            pl.col("zone").fill_null(self.catalogue.settings.timezone),
        )

    def questions(self, journey: Journey) -> Rows:
        """Every profile's row of `of`, without its zone."""
        nodes = program(journey)
        asking = questions(journey, nodes) | withdrawal(self.catalogue, journey)
        zone = self.catalogue.settings.timezone_attribute
        columns = dates(nodes) + ([zone] if zone else [])
        rows = decided(
            self.catalogue, self.lake, self.coverage, asking, now=self.now, columns=columns
        )
        only = rows.sql.select(exp.alias_(exp.true(), "exists now", quoted=True))
        if not journey.leave_with_audience:
            only = only.select(exp.alias_(exp.true(), "member now", quoted=True))
        if journey.audience is None or not journey.leave_with_audience:
            return Rows(only, rows.relations)
        inside = self.lake.audience(journey.audience).pin().current(["profile_id", "member"], "m")
        # who is in none of the audience's rows is no member
        member = exp.func("COALESCE", column("member", "m"), exp.false())
        only = only.select(exp.alias_(member, "member now", quoted=True)).join(
            inside.sql.subquery("m"),
            on=column("profile_id", "m").eq(column("profile_id", "profiles")),
            join_type="left",
        )
        return Rows(only, {**rows.relations, **inside.relations})

    def counted(self, moments: pl.Series) -> pl.Series:
        """As of when what was noted at these moments counts now; missing stays missing."""
        if not self.seen.put_back or not (moments > self.now).any():
            return moments
        each = moments.drop_nulls().unique()
        today = [self.seen.counted(noted, self.now) for noted in each]
        return moments.replace_strict(each, pl.Series(today, dtype=moments.dtype), default=None)

    def _zone_of(self, frame: pl.DataFrame) -> pl.Expr:
        """`zone`: by whose clock each profile is moved and written to."""
        settings = self.catalogue.settings
        name = settings.timezone_attribute
        zone = pl.lit(settings.timezone)
        if name is not None:
            told = frame[name].unique().to_list()
            zones = [str(settings.zone_of({name: each})) for each in told]
            zone = pl.col(name).replace_strict(told, zones, return_dtype=pl.String())
        return zone.alias("zone")
