"""One pandera schema per sync, compiled from the attributes' declarations.

Columns are cast to the catalogue's types before they are checked, so the schema holds the
rules on values only. Names of checks are the reasons that people read in the quarantine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import polars as pl

from profile_pipelines.catalog.models import Attribute
from profile_pipelines.validation.casts import POLARS_TYPES

# A LazyFrame or the default depth passes data unchecked: see the design's version traps.
os.environ.setdefault("PANDERA_VALIDATION_DEPTH", "SCHEMA_AND_DATA")

import pandera.polars as pa
from pandera.errors import SchemaErrors


def compile_schema(attributes: Mapping[str, Attribute]) -> pa.DataFrameSchema:
    """The schema of the given attributes."""
    return pa.DataFrameSchema(
        {
            name: pa.Column(
                POLARS_TYPES[attribute.type],
                checks=_checks(attribute),
                nullable=True,
                required=True,
            )
            for name, attribute in attributes.items()
        }
    )


def failures(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """The cells that break a rule: columns `index`, `attribute` and `reason`, one row a cell."""
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        if cases["index"].null_count():
            whole = cases.filter(pl.col("index").is_null())["check"].unique().to_list()
            raise RuntimeError(f"the validation itself failed: {whole}") from None
        return cases.select(
            pl.col("index").cast(pl.UInt32),
            pl.col("column").alias("attribute"),
            pl.col("check").alias("reason"),
        ).unique(subset=["index", "attribute"], keep="first", maintain_order=True)
    return pl.DataFrame(schema={"index": pl.UInt32, "attribute": pl.String, "reason": pl.String})


def _checks(attribute: Attribute) -> list[pa.Check]:
    valid = attribute.valid
    checks: list[pa.Check] = []
    if valid.required:
        checks.append(_check("is required", lambda c: c.is_not_null(), ignore_na=False))
    if valid.in_ is not None:
        allowed = valid.in_
        if attribute.type == "list":
            checks.append(
                _check(
                    "not one of the allowed values",
                    lambda c: c.list.eval(pl.element().is_in(allowed)).list.all(),
                )
            )
        else:
            checks.append(_check("not one of the allowed values", lambda c: c.is_in(allowed)))
    if valid.min is not None:
        checks.append(_check(f"below the minimum {valid.min}", lambda c: c >= pl.lit(valid.min)))
    if valid.max is not None:
        checks.append(_check(f"above the maximum {valid.max}", lambda c: c <= pl.lit(valid.max)))
    if valid.matches is not None:
        pattern = f"^(?:{valid.matches})$"
        checks.append(_check("not of the required form", lambda c: c.str.contains(pattern)))
    return checks


def _check(reason: str, rule: Any, *, ignore_na: bool = True) -> pa.Check:
    def holds(data: pa.PolarsData) -> pl.LazyFrame:
        column = pl.col(data.key)
        passed = rule(column)
        return data.lazyframe.select(passed.fill_null(True) if ignore_na else passed)

    return pa.Check(holds, name=reason, error=reason, ignore_na=False)
