"""From a compiled condition to SELECTs: who is in, what changes, and the numbers to report.

The caller provides relations by name: `profiles`, `previous` (profile_id, member, held: the
audience's state so far), and what the compiled condition joins. Nothing here touches the lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from profile_pipelines.audiences.compile import PROFILES, Compiled
from profile_pipelines.engine.sql import column, named

PREVIOUS = "previous"
TALLY = "tally"
_STATE = "state"
_NOW, _BEFORE = "evaluated", "before"


@dataclass(frozen=True)
class Counts:
    """An audience in numbers, after an evaluation."""

    profiles: int
    members: int
    """Including held profiles whose membership stays."""
    entered: int
    exited: int
    held: int
    """Profiles whose result is unknown; their membership stays as it was."""
    held_by: Mapping[str, int]
    """By attribute: the held profiles in which its value is stale."""
    held_in: Mapping[str, int]
    """By audience that the condition refers to: the held profiles that are held there."""
    stale: Mapping[str, int]
    """By attribute: all profiles in which its value is stale."""
    missing: Mapping[str, int]
    """By attribute: all profiles without a value, stale or not."""


def evaluated(compiled: Compiled) -> exp.Select:
    """`profile_id` and `result` (NULL: unknown) of every profile.

    Further columns say what is stale and missing: `stale__<attribute>`, `missing__<attribute>`,
    `held__<audience>`.
    """
    return compiled.select_from_profiles(
        column("profile_id", PROFILES),
        _named(compiled.result, "result"),
        *(_named(told, f"stale__{name}") for name, told in compiled.stale.items()),
        *(_named(told, f"missing__{name}") for name, told in compiled.missing.items()),
        *(_named(told, f"held__{name}") for name, told in compiled.held_in.items()),
    )


def changes(compiled: Compiled, *, tallied: bool = False) -> exp.Select:
    """The audience's rows that differ from `previous`: profile_id, member, held, removed.

    A known result decides membership; an unknown one holds the profile and keeps it. A profile that
    no longer exists leaves. A row that is neither member nor held any more is `removed`. With
    `tallied`, the caller provides the result of `tally` as the relation `tally`.
    """
    gone = exp.and_(exp.not_(column("member")), exp.not_(column("held")))
    return (
        exp.select(*map(column, ("profile_id", "member", "held")), _named(gone, "removed"))
        .from_(_from_tally(compiled, tallied))
        .where(exp.not_(column("profile_id").is_(exp.null())))
    )


def counting(compiled: Compiled, *, tallied: bool = False) -> exp.Select:
    """One row with the numbers that `read_counts` reads; `tallied` as in `changes`."""
    member, held, was_member = column("member"), column("held"), column("was_member")
    numbers = {
        "profiles": column("exists"),
        "members": member,
        "entered": exp.and_(member, exp.not_(was_member)),
        "exited": exp.and_(was_member, exp.not_(member)),
        "held": held,
        **{f"held_by__{name}": exp.and_(held, column(f"stale__{name}")) for name in compiled.stale},
        **{
            f"held_in__{name}": exp.and_(held, column(f"held__{name}")) for name in compiled.held_in
        },
        **{f"stale__{name}": column(f"stale__{name}") for name in compiled.stale},
        **{f"missing__{name}": column(f"missing__{name}") for name in compiled.missing},
    }
    return exp.select(*(_named(_total(told), name) for name, told in numbers.items())).from_(
        _from_tally(compiled, tallied)
    )


def read_counts(row: Mapping[str, Any]) -> Counts:
    """The numbers of the one row that `counting` returns, by column name."""

    def by_name(kind: str) -> dict[str, int]:
        return {
            name.removeprefix(kind): count for name, count in row.items() if name.startswith(kind)
        }

    return Counts(
        profiles=row["profiles"],
        members=row["members"],
        entered=row["entered"],
        exited=row["exited"],
        held=row["held"],
        held_by=by_name("held_by__"),
        held_in=by_name("held_in__"),
        stale=by_name("stale__"),
        missing=by_name("missing__"),
    )


def tally(compiled: Compiled) -> exp.Select:
    """Who moves, and how many others there are of each kind: all that an evaluation is asked for.

    A row for each profile whose state is another than before, and one for each combination of
    what is told of the rest, without a `profile_id` and with their `count`: so that one pass over
    millions of profiles leaves a small table.
    """
    moved = exp.or_(
        column("member").neq(column("was_member")), column("held").neq(column("was_held"))
    )
    who = exp.case().when(moved, column("profile_id"))
    told = [*map(column, ("exists", "member", "held", "was_member", *_told(compiled)))]
    return (
        exp.select(
            _named(who, "profile_id"),
            *told,
            _named(exp.Count(this=exp.Star()), "count"),
        )
        .from_(_state(compiled).subquery(exp.to_identifier(_STATE, quoted=True)))
        .group_by(who.copy(), *(each.copy() for each in told))
    )


def _state(compiled: Compiled) -> exp.Select:
    """Every profile, and every one with a previous state, before and after the evaluation."""
    result, exists = column("result", _NOW), exp.not_(column("profile_id", _NOW).is_(exp.null()))
    was_member = exp.func("COALESCE", column("member", _BEFORE), exp.false())
    was_held = exp.func("COALESCE", column("held", _BEFORE), exp.false())
    stays = exp.func("COALESCE", result, column("member", _BEFORE), exp.false())
    return (
        exp.select(
            _named(
                exp.func("COALESCE", column("profile_id", _NOW), column("profile_id", _BEFORE)),
                "profile_id",
            ),
            _named(exists, "exists"),
            _named(exp.and_(exists, stays), "member"),
            _named(exp.and_(exists, result.is_(exp.null())), "held"),
            _named(was_member, "was_member"),
            _named(was_held, "was_held"),
            *(
                _named(exp.func("COALESCE", column(name, _NOW), exp.false()), name)
                for name in _told(compiled)
            ),
        )
        .from_(evaluated(compiled).subquery(exp.to_identifier(_NOW, quoted=True)))
        .join(
            named(PREVIOUS, _BEFORE),
            on=column("profile_id", _NOW).eq(column("profile_id", _BEFORE)),
            join_type="full",
        )
    )


def _told(compiled: Compiled) -> list[str]:
    """The columns that say what is stale, missing and held elsewhere."""
    return [
        *(f"stale__{name}" for name in compiled.stale),
        *(f"missing__{name}" for name in compiled.missing),
        *(f"held__{name}" for name in compiled.held_in),
    ]


def _from_tally(compiled: Compiled, tallied: bool) -> exp.Expr:
    if tallied:
        return named(TALLY)
    return tally(compiled).subquery(exp.to_identifier(TALLY, quoted=True))


def _total(told: exp.Expr) -> exp.Expr:
    total = exp.Sum(this=exp.case().when(told, column("count")))
    return exp.cast(exp.func("COALESCE", total, exp.Literal.number(0)), "BIGINT")


def _named(expression: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(expression.copy(), name, quoted=True)
