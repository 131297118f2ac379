"""A condition as one SQL expression over the profiles: true, false, or NULL for unknown.

A test on a stale value is unknown; `all`, `any` and `none` are SQL's own three-valued AND, OR and
NOT OR, so that a condition which fresh values decide stands. Membership of other audiences and
recorded changes come from relations that are left-joined by `profile_id`: their rows must be unique
by it. Only comparisons, COALESCE, CASE, CONTAINS, STARTS_WITH, ARRAY_CONTAINS, the size of a list
that is there, MONTH and DAY occur, which are the same in DuckDB and Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlglot import exp

from profile_pipelines.catalog.conditions import Condition, tested_by
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.operators import Operators
from profile_pipelines.engine.operators import has, or_false, passes, within
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.windows import Clock, recent

PROFILES = "profiles"
PROFILE_CHANGES = "profile_changes"


@dataclass(frozen=True)
class StaleSources:
    """What is stale of one attribute: the values of the systems with these codes, and the gaps."""

    codes: frozenset[int] = frozenset()
    missing: bool = False
    """Whether a missing value is stale."""


@dataclass(frozen=True)
class Context:
    """What a condition's meaning depends on. `now` has a time zone; `stale` names every attribute
    that the condition tests."""

    now: datetime
    timezone: ZoneInfo
    attributes: Mapping[str, Attribute]
    stale: Mapping[str, StaleSources]

    @property
    def clock(self) -> Clock:
        """The present in the catalogue's time zone."""
        return Clock(self.now, self.timezone)


@dataclass(frozen=True)
class Join:
    """A relation that the expression's columns need: at most one row for each `profile_id`."""

    alias: str
    relation: exp.Expr


@dataclass(frozen=True)
class Compiled:
    """A condition in SQL. The expressions stand over `profiles` and the joined relations."""

    result: exp.Expr
    """True, false, or NULL for unknown."""
    joins: tuple[Join, ...]
    stale: Mapping[str, exp.Expr]
    """By attribute that is tested: whether the profile's value is stale; never NULL."""
    missing: Mapping[str, exp.Expr]
    """By attribute that is tested: whether the profile has no value; never NULL."""
    held_in: Mapping[str, exp.Expr]
    """By audience that is referred to: whether the profile is held in it; never NULL."""

    def select_from_profiles(self, *columns: exp.Expr) -> exp.Select:
        """A SELECT of these columns from the profiles with all that the expressions need."""
        select = exp.select(*columns).from_(named(PROFILES, PROFILES))
        for join in self.joins:
            on = column("profile_id", PROFILES).eq(column("profile_id", join.alias))
            select = select.join(join.relation.copy(), on=on, join_type="left")
        return select


def audience_relation(name: str) -> str:
    """The name under which the caller provides an audience's state: profile_id, member, held."""
    return f"audience__{name}"


def compile_condition(condition: Condition, context: Context) -> Compiled:
    """Compile a condition that `check_condition` has found no fault with.

    Raises KeyError for an attribute that the context lacks and ValueError for a value that doesn't
    fit its attribute's type.
    """
    compiler = _Compiler(context)
    result = compiler.condition(condition)
    return Compiled(
        result, tuple(compiler.joins.values()), compiler.stale, compiler.missing, compiler.held_in
    )


def compile_results(
    conditions: Mapping[str, Condition], context: Context
) -> tuple[dict[str, exp.Expr], tuple[Join, ...]]:
    """Several conditions over the same profiles: each one's result by name, and the joins of all.

    Raises as `compile_condition`.
    """
    compiler = _Compiler(context)
    results = {name: compiler.condition(each) for name, each in conditions.items()}
    return results, tuple(compiler.joins.values())


@dataclass
class _Compiler:
    context: Context
    joins: dict[str, Join] = field(default_factory=dict[str, Join])
    stale: dict[str, exp.Expr] = field(default_factory=dict[str, exp.Expr])
    missing: dict[str, exp.Expr] = field(default_factory=dict[str, exp.Expr])
    held_in: dict[str, exp.Expr] = field(default_factory=dict[str, exp.Expr])

    def condition(self, node: Condition) -> exp.Expr:
        parts = [self.condition(child) for child in node.children]
        if node.all is not None:
            return exp.and_(*parts)
        if node.any is not None:
            return exp.or_(*parts)
        if node.none is not None:
            return exp.not_(exp.or_(*parts))
        if node.in_audience is not None:
            return self._membership(node.in_audience)
        if node.not_in_audience is not None:
            return exp.not_(self._membership(node.not_in_audience))
        assert node.test is not None
        return self._test(*node.test)

    def _membership(self, name: str) -> exp.Expr:
        alias = audience_relation(name)
        self.joins[alias] = Join(alias, named(alias, alias))
        held = or_false(column("held", alias))
        self.held_in[name] = held
        return _unless(held, or_false(column("member", alias)))

    def _test(self, name: str, operators: Operators) -> exp.Expr:
        """Unknown where the value, or one that it is compared with, is stale."""
        unknown: list[exp.Expr] = []
        for each in tested_by(name, operators):
            attribute, stale = self.context.attributes[each], self.context.stale[each]
            missing = column(each, PROFILES).is_(exp.null())
            self.missing[each] = missing
            self.stale[each] = _stale(each, attribute, stale, missing)
            if stale.codes or stale.missing:
                unknown.append(self.stale[each])
        tests = [self._operator(name, operator, value) for operator, value in operators]
        if not unknown:
            return exp.and_(*tests)
        return _unless(exp.or_(*unknown), exp.and_(*tests))

    def _operator(self, name: str, operator: str, value: object) -> exp.Expr:
        attribute = self.context.attributes[name]
        tested = column(name, PROFILES)
        if operator == "changed_within":
            return exp.and_(exp.not_(tested.is_(exp.null())), self._changed(name, value))
        return passes(
            tested, attribute.type, operator, value, self.context.clock, _column_of_profile
        )

    def _changed(self, name: str, value: object) -> exp.Expr:
        window = recent(value, self.context.clock)
        changes = (
            exp.select(column("profile_id"))
            .distinct()
            .from_(named(PROFILE_CHANGES))
            .where(has(column("changed"), name), within(column("recorded_at"), window))
        )
        key = f"{name} {window.low}"
        if key not in self.joins:
            alias = f"changed__{len(self.joins)}"
            self.joins[key] = Join(alias, changes.subquery(exp.to_identifier(alias, quoted=True)))
        return exp.not_(column("profile_id", self.joins[key].alias).is_(exp.null()))


def _column_of_profile(name: str) -> exp.Expr:
    return column(name, PROFILES)


def _stale(name: str, attribute: Attribute, stale: StaleSources, missing: exp.Expr) -> exp.Expr:
    if not stale.codes:
        return missing if stale.missing else exp.false()
    if attribute.merge in ("priority", "latest"):
        codes = [exp.Literal.number(code) for code in sorted(stale.codes)]
        decided = column(f"{name}__source", PROFILES).isin(*codes)
    else:
        mask = exp.Literal.number(sum(1 << code for code in stale.codes))
        givers = exp.BitwiseAnd(this=column(f"{name}__sources", PROFILES), expression=mask)
        decided = exp.paren(givers).neq(0)
    if stale.missing:
        return exp.or_(missing, or_false(decided))
    return exp.and_(exp.not_(missing), or_false(decided))


def _unless(unknown: exp.Expr, otherwise: exp.Expr) -> exp.Expr:
    return exp.case().when(unknown.copy(), exp.cast(exp.null(), "BOOLEAN")).else_(otherwise)
