"""Every operator at its edges: one profile, one condition, run in DuckDB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from sqlglot import exp, parse_one

from profile_pipelines.audiences.compile import Context, StaleSources, compile_condition
from profile_pipelines.audiences.evaluate import changes, counting, evaluated
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.operators import OPERATORS_OF
from profile_pipelines_tests.audiences.model import Profile
from profile_pipelines_tests.audiences.worlds import World, relations, run

NOW = datetime(2024, 5, 31, 22, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
"""There it's 00:30 on 1 June."""
_STALE = StaleSources(frozenset({1}), missing=True)


def _attribute(kind: str, merge: str = "priority") -> Attribute:
    return Attribute.model_validate(
        {"type": kind, "merge": merge, "sources": ["crm"], "fresh_within": "1h"}
    )


def _ask(
    where: str,
    kind: str,
    value: Any,
    *,
    stale: StaleSources | None = None,
    merge: str = "priority",
    givers: set[int] | None = None,
    changed: Sequence[tuple[datetime, list[str] | None]] = (),
    audiences: dict[str, tuple[bool, bool]] | None = None,
    other: tuple[str, Any] = ("string", None),
    other_stale: StaleSources | None = None,
    now: datetime = NOW,
) -> bool | None:
    """What a condition over the attribute `it`, and perhaps `other`, says of one profile."""
    attributes = {"it": _attribute(kind, merge), "other": _attribute(other[0])}
    known = {"it": stale or StaleSources(), "other": other_stale or StaleSources()}
    context = Context(now, BERLIN, attributes, known)
    given = givers if givers is not None else set[int]() if value is None else {1}
    both = {"it": given, "other": set[int]() if other[1] is None else {1}}
    profile = Profile({"it": value, "other": other[1]}, both, list(changed), audiences or {})
    compiled = compile_condition(Condition.model_validate(yaml.safe_load(where)), context)
    (row,) = run(evaluated(compiled), relations(World(context, [profile], [])))
    return row["result"]


@pytest.mark.parametrize(
    ("operators", "kind", "value", "expected"),
    [
        ("{is: gold}", "string", "gold", True),
        ("{is: gold}", "string", "Gold", False),
        ("{is: gold}", "string", "gold ", False),
        ('{is: "it\'s"}', "string", "it's", True),
        ("{is_not: gold}", "string", "silver", True),
        ("{is_not: gold}", "string", "gold", False),
        ("{in: [gold, silver]}", "string", "silver", True),
        ("{in: [gold, silver]}", "string", "tin", False),
        ("{not_in: [gold, silver]}", "string", "tin", True),
        ("{not_in: [gold, silver]}", "string", "gold", False),
        ("{contains: ol}", "string", "gold", True),
        ("{contains: OL}", "string", "gold", False),
        ("{contains: '%'}", "string", "gold", False),
        ("{contains: i}", "string", "İ", False),
        ("{starts_with: go}", "string", "gold", True),
        ("{starts_with: ol}", "string", "gold", False),
        ("{present: true}", "string", "", True),
        ("{missing: true}", "string", "", False),
        ("{is: true}", "boolean", True, True),
        ("{is_not: true}", "boolean", False, True),
        ("{less_than: 5}", "integer", 4, True),
        ("{less_than: 5}", "integer", 5, False),
        ("{at_most: 5}", "integer", 5, True),
        ("{at_most: 5}", "integer", 6, False),
        ("{more_than: 5}", "integer", 6, True),
        ("{more_than: 5}", "integer", 5, False),
        ("{at_least: -5}", "integer", -5, True),
        ("{at_least: -5}", "integer", -6, False),
        ("{between: [1, 3]}", "integer", 1, True),
        ("{between: [1, 3]}", "integer", 3, True),
        ("{between: [1, 3]}", "integer", 4, False),
        ("{at_least: 1, less_than: 3}", "integer", 3, False),
        ("{is: 9223372036854775807}", "integer", 2**63 - 1, True),
        ("{is: 0.3}", "decimal", Decimal("0.3"), True),
        ("{more_than: 0.3}", "decimal", Decimal("0.3"), False),
        ("{is: '99999999999999.9999'}", "decimal", Decimal("99999999999999.9999"), True),
        ("{is: '99999999999999.9998'}", "decimal", Decimal("99999999999999.9999"), False),
        ("{is: today}", "date", date(2024, 6, 1), True),
        ("{is: 2024-06-01}", "date", date(2024, 6, 1), True),
        ("{before: today}", "date", date(2024, 5, 31), True),
        ("{before: today}", "date", date(2024, 6, 1), False),
        ("{after: 2024-06-01}", "date", date(2024, 6, 1), False),
        ("{after: 2024-06-01}", "date", date(2024, 6, 2), True),
        ("{between: [today, 2024-06-03]}", "date", date(2024, 6, 3), True),
        ("{is: tomorrow}", "date", date(2024, 6, 2), True),
        ("{in: [yesterday, today + 1 week]}", "date", date(2024, 6, 8), True),
        ("{before: today + 7 days}", "date", date(2024, 6, 8), False),
        ("{before: today - 3 months}", "date", date(2024, 2, 29), True),
        ("{after: today - 100 years}", "date", date(9999, 12, 31), True),
        ("{before: today - 100 years}", "date", date(1, 1, 1), True),
        ("{before: today - 100 years}", "date", date(9999, 12, 31), False),
        ("{between: [yesterday, tomorrow]}", "timestamp", NOW, True),
        ("{is: today + 1 day}", "timestamp", datetime(2024, 6, 1, 22, tzinfo=UTC), True),
        ("{within_next: 9000 years}", "date", date(9999, 12, 29), True),
        ("{within_next: 9000 years}", "date", date(9999, 12, 31), False),
        ("{within_next: 9000 years}", "timestamp", datetime(9999, 12, 31, tzinfo=UTC), False),
        ("{within_next: 999999 hours}", "timestamp", datetime.max.replace(tzinfo=UTC), False),
        ("{within_last: 9000 years}", "date", date(1, 1, 1), False),
        ("{more_than_ago: 9000 years}", "date", date(1, 1, 1), True),
        ("{more_than_ago: 9000 years}", "timestamp", datetime.min.replace(tzinfo=UTC), True),
        ("{is: 9999-12-31}", "timestamp", datetime.max.replace(tzinfo=UTC), True),
        ("{is: 0001-01-01}", "timestamp", datetime.min.replace(tzinfo=UTC), True),
        ("{anniversary_within_next: 7 days}", "date", date(1980, 6, 1), True),
        ("{anniversary_within_next: 7 days}", "date", date(1980, 6, 8), True),
        ("{anniversary_within_next: 7 days}", "date", date(1980, 6, 9), False),
        ("{anniversary_within_next: 7 days}", "date", date(1980, 5, 31), False),
        ("{anniversary_within_next: 7 days}", "date", date(2023, 6, 8), True),
        ("{anniversary_within_next: 7 days}", "date", date(2024, 6, 8), False),
        ("{anniversary_within_next: 7 days}", "date", date(2031, 6, 8), False),
        ("{anniversary_within_next: 1 year}", "date", date(2024, 5, 31), True),
        ("{anniversary_within_next: 8 months}", "date", date(1980, 2, 1), True),
        ("{anniversary_within_next: 8 months}", "date", date(1980, 2, 2), False),
        ("{anniversary_within_last: 1 month}", "date", date(1980, 5, 1), True),
        ("{anniversary_within_last: 1 month}", "date", date(1980, 4, 30), False),
        ("{anniversary_within_last: 9000 years}", "date", date(2023, 6, 1), True),
        ("{anniversary_within_last: 9000 years}", "date", date(2023, 6, 2), False),
        ("{anniversary_within_next: 9000 years}", "date", date(9999, 12, 31), False),
        ("{anniversary_within_next: 9000 years}", "date", date(1, 1, 1), False),
        ("{within_next: 30 days}", "date", date(2024, 6, 1), True),
        ("{within_next: 30 days}", "date", date(2024, 7, 1), True),
        ("{within_next: 30 days}", "date", date(2024, 7, 2), False),
        ("{within_next: 30 days}", "date", date(2024, 5, 31), False),
        ("{within_last: 1 month}", "date", date(2024, 5, 1), True),
        ("{within_last: 1 month}", "date", date(2024, 4, 30), False),
        ("{more_than_ago: 2 weeks}", "date", date(2024, 5, 18), False),
        ("{more_than_ago: 2 weeks}", "date", date(2024, 5, 17), True),
        ("{is: 2024-06-01}", "timestamp", datetime(2024, 5, 31, 22, tzinfo=UTC), True),
        ("{is: 2024-06-01}", "timestamp", datetime(2024, 6, 1, 22, tzinfo=UTC), False),
        ("{after: 2024-05-31}", "timestamp", datetime(2024, 5, 31, 21, 59, tzinfo=UTC), False),
        ("{after: 2024-05-31}", "timestamp", datetime(2024, 5, 31, 22, tzinfo=UTC), True),
        ("{before: today}", "timestamp", datetime(2024, 5, 31, 21, 59, tzinfo=UTC), True),
        ("{is: '2024-06-01T00:30:00'}", "timestamp", NOW, True),
        ("{before: '2024-05-31T22:30:00Z'}", "timestamp", NOW, False),
        ("{within_next: 0 days}", "timestamp", datetime(2024, 6, 1, 21, 59, tzinfo=UTC), True),
        ("{within_next: 24 hours}", "timestamp", datetime(2024, 6, 1, 22, 30, tzinfo=UTC), True),
        ("{within_next: 24 hours}", "timestamp", datetime(2024, 6, 1, 22, 31, tzinfo=UTC), False),
        ("{within_last: 30 minutes}", "timestamp", NOW, True),
        ("{more_than_ago: 30 minutes}", "timestamp", datetime(2024, 5, 31, 22, tzinfo=UTC), False),
        ("{has_any: [sms, mail]}", "list", ["post", "sms"], True),
        ("{has_any: [sms, mail]}", "list", ["post"], False),
        ("{has_any: [sms]}", "list", [None], False),
        ("{has_all: [sms, mail]}", "list", ["mail", "sms", "post"], True),
        ("{has_all: [sms, mail]}", "list", ["sms"], False),
        ("{has_any: [sms]}", "list", [], False),
        ("{has_all: [sms]}", "list", [], False),
        ("{empty: true}", "list", [], True),
        ("{empty: true}", "list", ["sms"], False),
        ("{empty: false}", "list", ["sms"], True),
        ("{empty: false}", "list", [], False),
        ("{present: true}", "list", [], True),
        ("{missing: true}", "list", [], False),
    ],
)
def test_operators_at_their_edges(operators: str, kind: str, value: Any, expected: bool) -> None:
    """Each operator is true up to its edge and false beyond."""
    assert _ask(f"it: {operators}", kind, value) is expected


@pytest.mark.parametrize(
    ("operators", "kind", "expected"),
    [
        ("{is_not: a}", "string", True),
        ("{not_in: [a]}", "string", True),
        ("{missing: true}", "string", True),
        ("{present: true}", "string", False),
        ("{is: a}", "string", False),
        ("{in: [a]}", "string", False),
        ("{contains: a}", "string", False),
        ("{starts_with: a}", "string", False),
        ("{is_not: true}", "boolean", True),
        ("{less_than: 1}", "integer", False),
        ("{at_most: 1}", "integer", False),
        ("{more_than: 1}", "decimal", False),
        ("{at_least: 1}", "decimal", False),
        ("{between: [1, 2]}", "decimal", False),
        ("{before: today}", "date", False),
        ("{after: today}", "date", False),
        ("{is_not: today}", "timestamp", True),
        ("{not_in: [today]}", "timestamp", True),
        ("{within_next: 1 day}", "date", False),
        ("{anniversary_within_next: 1 year}", "date", False),
        ("{anniversary_within_last: 9000 years}", "date", False),
        ("{within_last: 1 day}", "timestamp", False),
        ("{more_than_ago: 1 day}", "date", False),
        ("{has_any: [a]}", "list", False),
        ("{has_all: [a]}", "list", False),
        ("{empty: true}", "list", False),
        ("{empty: false}", "list", False),
        ("{missing: true}", "list", True),
        ("{changed_within: 1 day}", "string", False),
    ],
)
def test_missing_values_satisfy_only_the_negative_operators(
    operators: str, kind: str, expected: bool
) -> None:
    """`is_not`, `not_in` and `missing` include missing values, every other operator doesn't."""
    changed = [(NOW, ["it"])]
    assert _ask(f"it: {operators}", kind, None, changed=changed) is expected
    assert _ask(f"none: [it: {operators}]", kind, None, changed=changed) is not expected


@pytest.mark.parametrize("today", [date(2023, 2, 28), date(2024, 2, 28), date(2024, 2, 29)])
def test_who_was_born_on_29_february_has_a_birthday_in_every_year(today: date) -> None:
    """On the 28th in a common year, as a year from then ends on that day; else on the day."""
    now = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    leap = today.year == 2024
    for window in ("anniversary_within_next", "anniversary_within_last"):
        for born, expected in (
            (date(2000, 2, 29), not leap or today.day == 29),
            (date(2000, 2, 28), today.day == 28),
            (date(2000, 3, 1), False),
        ):
            found = _ask(f"it: {{{window}: 0 days}}", "date", born, now=now)
            assert found is expected, (window, born)


COMPARISONS: dict[str, tuple[bool, bool, bool]] = {
    "is": (False, True, False),
    "is_not": (True, False, True),
    "in": (False, True, False),
    "not_in": (True, False, True),
    "before": (True, False, False),
    "after": (False, False, True),
    "less_than": (True, False, False),
    "at_most": (True, True, False),
    "more_than": (False, False, True),
    "at_least": (False, True, True),
    "between": (False, True, False),
}
"""By operator: what holds of a value below, equal to and above the other attribute's."""
THREE: dict[str, tuple[Any, Any, Any]] = {
    "string": ("a", "b", "c"),
    "integer": (-5, 0, 2**63 - 1),
    "decimal": (Decimal("-0.0001"), Decimal(0), Decimal("99999999999999.9999")),
    "date": (date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)),
    "timestamp": (
        datetime.min.replace(tzinfo=UTC), NOW, datetime.max.replace(tzinfo=UTC)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*THREE, "boolean"])
def test_two_attributes_are_compared_by_every_operator_of_their_type(kind: str) -> None:
    """Missing on either side is as the operators say of missing values."""
    low, middle, high = THREE.get(kind, (None, True, False))
    for operator in set(COMPARISONS) & set(OPERATORS_OF[kind]):
        other: Any = {"attribute": "other"}
        if operator in ("in", "not_in"):
            other = [other]
        elif operator == "between":
            other = [other, other]
        where = yaml.safe_dump({"it": {operator: other}})
        for value, expected in zip((low, middle, high), COMPARISONS[operator], strict=True):
            if value is not None:
                found = _ask(where, kind, value, other=(kind, middle))
                assert found is expected, (operator, value)
        for values in ((middle, None), (None, middle), (None, None)):
            found = _ask(where, kind, values[0], other=(kind, values[1]))
            assert found is (operator in ("is_not", "not_in")), (operator, values)


def test_whole_numbers_and_decimals_are_compared_exactly() -> None:
    """Without rounding either."""
    where = "it: {less_than: {attribute: other}}"
    assert _ask(where, "integer", 2**53, other=("decimal", Decimal(2**46))) is False
    assert _ask(where, "integer", 1, other=("decimal", Decimal("1.0001"))) is True
    assert _ask(where, "decimal", Decimal("99999999999999.9999"), other=("integer", 10**14)) is True
    assert _ask(where, "decimal", Decimal(5), other=("integer", 2**63 - 1)) is True


def test_a_stale_value_on_either_side_makes_a_comparison_unknown() -> None:
    """As does a missing one that may be there by now."""
    where, stale = "it: {is_not: {attribute: other}}", StaleSources(frozenset({2}), missing=True)
    assert _ask(where, "string", "a", other=("string", "b")) is True
    assert _ask(where, "string", "a", other=("string", "b"), other_stale=stale) is True
    assert _ask(where, "string", "a", other=("string", "b"), other_stale=_STALE) is None
    assert _ask(where, "string", "a", other=("string", None), other_stale=stale) is None
    assert _ask(where, "string", "a", other=("string", "b"), stale=_STALE) is None


@pytest.mark.parametrize(
    ("recorded_at", "changed", "expected"),
    [
        (datetime(2024, 5, 31, 22, 0, tzinfo=UTC), ["it"], True),
        (datetime(2024, 5, 30, 22, 0, tzinfo=UTC), ["other", "it"], True),
        (datetime(2024, 5, 30, 21, 59, tzinfo=UTC), ["it"], False),
        (datetime(2024, 5, 31, 22, 31, tzinfo=UTC), ["it"], False),
        (datetime(2024, 5, 31, 22, 0, tzinfo=UTC), ["other"], False),
        (datetime(2024, 5, 31, 22, 0, tzinfo=UTC), None, False),
    ],
)
def test_a_recorded_change_of_the_attribute_counts_until_now(
    recorded_at: datetime, changed: list[str] | None, expected: bool
) -> None:
    """A change since yesterday's midnight counts; a first appearance and the future don't."""
    found = _ask("it: {changed_within: 1 day}", "string", "a", changed=[(recorded_at, changed)])
    assert found is expected


def test_several_changes_give_one_row_per_profile() -> None:
    """A profile that changed twice in the window, or is tested over two windows, stays one row."""
    changed = [(NOW, ["it"]), (NOW, ["it"])]
    where = "all: [it: {changed_within: 1 day}, it: {changed_within: 2 hours}]"
    assert _ask(where, "string", "a", changed=changed) is True


def test_each_window_of_changes_counts_for_itself() -> None:
    """A change of this morning lies within the last day, but not within the last two hours."""
    changed = [(datetime(2024, 5, 31, 8, tzinfo=UTC), ["it"])]
    where = "all: [it: {changed_within: 1 day}, none: [it: {changed_within: 2 hours}]]"
    assert _ask(where, "string", "a", changed=changed) is True


@pytest.mark.parametrize(
    ("state", "member", "outsider"),
    [
        ((True, False), True, False),
        ((False, False), False, True),
        (None, False, True),
        ((True, True), None, None),
        ((False, True), None, None),
    ],
)
def test_membership_of_another_audience_is_unknown_while_held(
    state: tuple[bool, bool] | None, member: bool | None, outsider: bool | None
) -> None:
    """A held profile is neither in nor out; one without a row is out."""
    audiences = {"first": state} if state else {}
    assert _ask("in_audience: first", "string", "a", audiences=audiences) is member
    assert _ask("not_in_audience: first", "string", "a", audiences=audiences) is outsider


@pytest.mark.parametrize("operators", ["{is: a}", "{is_not: a}", "{present: true}"])
@pytest.mark.parametrize("merge", ["priority", "latest", "most_restrictive", "min", "max"])
def test_a_value_from_a_stale_source_is_unknown(operators: str, merge: str) -> None:
    """A winner, or any one of the givers that decided together, makes the value unknown."""
    stale = StaleSources(frozenset({2, 62}), missing=True)
    one = merge in ("priority", "latest")

    def ask(value: str | None, givers: set[int]) -> bool | None:
        return _ask(f"it: {operators}", "string", value, stale=stale, merge=merge, givers=givers)

    assert ask("a", {1}) is (operators != "{is_not: a}")
    assert ask("a", {62} if one else {1, 62}) is None
    assert ask(None, set()) is None


def test_a_missing_value_is_known_while_all_sources_are_fresh() -> None:
    """Without a stale source a missing value is just missing."""
    assert _ask("it: {missing: true}", "string", None, stale=StaleSources()) is True
    stale = StaleSources(frozenset({1}), missing=True)
    assert _ask("it: {missing: true}", "string", None, stale=stale) is None


def test_fresh_values_decide_in_spite_of_stale_ones() -> None:
    """`any` with a true part and `all` with a false part stand; otherwise the answer is unknown."""
    stale = StaleSources(frozenset({1}), missing=True)
    audiences = {"first": (True, False)}

    def ask(where: str) -> bool | None:
        return _ask(where, "string", "a", stale=stale, audiences=audiences)

    assert ask("any: [it: {is: a}, in_audience: first]") is True
    assert ask("all: [it: {is: a}, not_in_audience: first]") is False
    assert ask("none: [it: {is: a}, in_audience: first]") is False
    assert ask("all: [it: {is: a}, in_audience: first]") is None
    assert ask("none: [it: {is: a}, not_in_audience: first]") is None


_EVERYTHING = """
any:
  - text: {is: "it's", contains: 'back\\slash', starts_with: '"'}
  - number: {between: [-1, 2], not_in: [5]}
  - price: {at_most: 2.5}
  - day: {within_next: 1 month, is_not: today, anniversary_within_last: 400 days}
  - price: {between: [1, {attribute: number}], not_in: [3, {attribute: number}]}
  - moment: {more_than_ago: 2 hours, in: [today, 2024-01-01]}
  - channels: {has_any: [a, b], has_all: [c], empty: false, changed_within: 3 days}
  - flag: {is: true}
  - none: [in_audience: first, not_in_audience: second]
"""
_KINDS = {
    "text": "string",
    "number": "integer",
    "price": "decimal",
    "day": "date",
    "moment": "timestamp",
    "channels": "list",
    "flag": "boolean",
}


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_the_sql_renders_for_both_engines_with_portable_functions_only(dialect: str) -> None:
    """What is rendered parses again, quotes all names, and calls no function off the list."""
    attributes = {name: _attribute(kind, "max") for name, kind in _KINDS.items()}
    stale = dict.fromkeys(attributes, StaleSources(frozenset({1}), missing=True))
    context = Context(NOW, BERLIN, attributes, stale)
    compiled = compile_condition(Condition.model_validate(yaml.safe_load(_EVERYTHING)), context)
    for select in (evaluated(compiled), changes(compiled), counting(compiled)):
        parsed = parse_one(select.sql(dialect), dialect=dialect)
        allowed = (
            exp.And, exp.Or, exp.Coalesce, exp.Case, exp.If, exp.Cast, exp.Count, exp.Sum,
            exp.Contains, exp.StartsWith, exp.ArrayContains, exp.ArraySize, exp.Month, exp.Day,
            exp.TsOrDsToDate,  # only how SQLGlot reads the argument of Spark's DAY
        )  # fmt: skip
        assert [type(f) for f in parsed.find_all(exp.Func) if not isinstance(f, allowed)] == []
        assert all(name.args["quoted"] for name in parsed.find_all(exp.Identifier))


def test_a_condition_on_an_attribute_without_known_staleness_is_refused() -> None:
    """Nobody may forget to say what is stale."""
    context = Context(NOW, BERLIN, {"it": _attribute("string")}, {})
    with pytest.raises(KeyError, match="it"):
        compile_condition(Condition.model_validate({"it": {"is": "a"}}), context)
