"""Values that are made of several fields of a record: `{join: [first_name, last_name]}`."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.sources.reading import problem_of
from profile_pipelines.validation.cells import as_text, meaningful, plain_numbers
from profile_pipelines.validation.identifiers import identities


def with_joined(raw: pl.DataFrame, sync: Sync, attributes: Iterable[str]) -> pl.DataFrame:
    """The records with a column for each value that is joined, under the name of its field.

    Of the parts those that say nothing are left out, with what would stand between; numbers are
    in their one spelling. A part that can't be read, or couldn't identify anybody where it is to,
    makes the value one that can't be read: it has a problem, as a source would give it.
    """
    identifying = [*sync.identifiers.values(), *([sync.key] if sync.key else [])]
    others = [each for each in (sync.updated_at, sync.deleted) if each is not None]
    others += [sync.attributes[name] for name in attributes]
    columns: dict[str, pl.Series] = {}
    for fields, identifies in ((others, False), (identifying, True)):
        for field in fields:
            # as identifier and attribute alike it has the problems of an identifier
            if field.join:
                columns |= _joined(raw, field, identifies=identifies)
    return raw.with_columns(series.alias(name) for name, series in columns.items())


def _joined(raw: pl.DataFrame, field: MappedField, *, identifies: bool) -> dict[str, pl.Series]:
    texts: list[pl.Series] = []
    problems: list[pl.Expr] = []
    told: dict[str, pl.Series] = {}
    for number, part in enumerate(field.join):
        column = raw[part]
        reasons = [raw[problem_of(part)]] if problem_of(part) in raw.columns else []
        if identifies:
            # a truth value may tell records apart beside something else
            found = identities(as_text(column) if column.dtype == pl.Boolean else column)
            shown = as_text(meaningful(column))
            text = pl.select(pl.coalesce(found.texts, shown)).to_series()
            reasons.append(found.reasons)
        else:
            text = plain_numbers(as_text(meaningful(column)))
            if column.dtype.is_nested():
                reasons.append(identities(column).reasons)
        texts.append(text.str.strip_chars().alias(str(number)))
        for reason in reasons:
            name = f"problem {len(told)}"
            told[name] = reason.alias(name)
            problems.append(pl.format("{}: {}", pl.lit(part), pl.col(name)))
    frame = pl.DataFrame([*texts, *told.values()])
    parts = [pl.when(pl.col(t.name) != "").then(pl.col(t.name)) for t in texts]
    nothing = pl.all_horizontal(part.is_null() for part in parts)
    value = pl.concat_str(parts, separator=field.with_, ignore_nulls=True)
    columns = {field.field: frame.select(pl.when(~nothing).then(value).alias("v"))["v"]}
    if any(reason.null_count() < len(reason) for reason in told.values()):
        problem = frame.select(pl.coalesce(*problems).alias("p"))["p"]
        columns[problem_of(field.field)] = problem
    return columns
