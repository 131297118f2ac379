"""Values that belong together: a sync whose values all come from the one record that wins.

Of a customer's two subscriptions the running one speaks, also where it has no value; a gap of it
isn't filled by the other. Which one wins is here twice: as SQL for the merge, and in plain Python
for receipts; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.survivorship import WinnerKey
from profile_pipelines.engine.sql import column, literal

WON = "won"
"""The column with the values of the record that won."""
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


def winning_record(names: Sequence[str], keys: Sequence[WinnerKey], table: str) -> exp.Expr:
    """The named values and the time of the record that wins in a group of `table`, as a struct:
    what is missing in it stays missing."""
    values = {f"v{number}": column(name, table) for number, name in enumerate(names)}
    compared: list[exp.Expr] = []
    for key in keys:
        value = column(key.column, table)
        if key.words:
            rank = exp.Case()
            for number, word in enumerate(reversed(key.words), start=1):
                rank = rank.when(value.eq(literal(word)), literal(number))
            rank = rank.when(exp.not_(value.copy().is_(exp.null())), literal(0))
            compared.append(rank.else_(literal(-1)))
        else:
            # what is missing would be the greatest
            compared += [exp.not_(value.is_(exp.null())), value.copy()]
    compared += [
        exp.func("COALESCE", column("updated_at", table), literal(_LONG_AGO)),
        column("record_id", table),
    ]
    order = _struct({f"k{number}": each for number, each in enumerate(compared)})
    return exp.ArgMax(this=_struct({**values, "at": column("updated_at", table)}), expression=order)


def opened(
    grouped: exp.Select, names: Sequence[str], timed: Collection[str], whole: Sequence[str]
) -> exp.Select:
    """`grouped` with the values of `winning_record` as columns, and for those in `timed` its time
    where it has the value; `names` in their order."""
    numbers = {name: number for number, name in enumerate(whole)}

    def value(name: str) -> exp.Expr:
        number = numbers.get(name)
        return column(name, "g") if number is None else _part(f"v{number}")

    def time(name: str) -> exp.Expr:
        if name not in numbers:
            return column(f"{name}__at", "g")
        return exp.Case().when(exp.not_(value(name).is_(exp.null())), _part("at"))

    return exp.select(
        column("profile_id", "g"),
        *(exp.alias_(value(name), name, quoted=True) for name in names),
        *(exp.alias_(time(name), f"{name}__at", quoted=True) for name in names if name in timed),
    ).from_(grouped.subquery("g", copy=False), copy=False)


def standing(keys: Sequence[WinnerKey], record: Mapping[str, Any]) -> tuple[Any, ...]:
    """The same in plain Python: the record with the greatest standing wins."""
    found: list[Any] = []
    for key in keys:
        value = record[key.column]
        if not key.words:
            found.append((value is not None, value) if value is not None else (False,))
        elif value in key.words:
            found.append(len(key.words) - key.words.index(value))
        else:
            found.append(-1 if value is None else 0)
    return (*found, record["updated_at"] or _LONG_AGO, record["record_id"])


def _struct(parts: Mapping[str, exp.Expr]) -> exp.Expr:
    return exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name), expression=each)
            for name, each in parts.items()
        ]
    )


def _part(name: str) -> exp.Expr:
    return exp.Dot(this=column(WON, "g"), expression=exp.to_identifier(name))
