"""Hypothesis strategies for catalogues, conditions and profiles, and how DuckDB runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
from hypothesis import strategies as st
from sqlglot import exp

from profile_pipelines.audiences.compile import Context, StaleSources
from profile_pipelines.catalog.compared_values import comparable
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.operators import OPERATORS_OF
from profile_pipelines.catalog.spelling import local_time
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.engine.tables import ARROW_TYPES
from profile_pipelines_tests.audiences.model import Profile

AUDIENCES: tuple[str, ...] = ("first", "second")
CODES: tuple[int, ...] = (1, 2, 62)
MOMENTS = {
    "UTC": ["2024-02-29T23:59"],
    "Europe/Berlin": ["2024-03-31T01:00", "2024-10-27T01:00", "2024-12-31T23:00"],
    "America/St_Johns": ["2006-04-02T03:31", "2006-10-29T02:31", "2024-11-03T04:30"],
    "America/New_York": ["2024-03-10T07:00", "2023-11-05T06:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2018-02-18T02:00"],
    "America/Havana": ["2024-03-10T05:00", "2024-11-03T05:00"],
    "Asia/Beirut": ["2022-03-26T22:00", "2022-10-29T21:00"],
    "Asia/Kolkata": ["2024-05-31T18:30"],
    "Australia/Lord_Howe": ["2024-04-06T15:00", "2024-10-05T15:30"],
    "Pacific/Apia": ["2011-12-30T10:00", "2012-03-31T14:00"],
    "Pacific/Kiritimati": ["1994-12-31T10:00", "2024-01-30T10:00"],
    "Pacific/Chatham": ["2024-04-06T14:00"],
    "Africa/Casablanca": ["2024-03-10T02:00"],
}
"""By time zone: instants, in UTC, at which something happens to its clocks or calendar."""

_WORDS = st.sampled_from(["", "a", "A", "ab", "İ", "i", "ß", "it's", "back\\slash", "%", '"', "é"])
_TEXTS = st.sampled_from(["a", "A", "b", "i", "ß", "'", "\\", "%", '"', "é"])
_INTEGERS = st.sampled_from([-(2**63), -5, -1, 0, 1, 2, 3, 2**63 - 1])
_DECIMALS = st.sampled_from(["-0.0001", "0.1", "0.3", "1", "2.50", "99999999999999.9999"])
_DAYS = st.sampled_from([0, 0, 0, 1, -1, 7, -7, 30, -30])
_MINUTES = st.sampled_from([0, 0, 1, -1, 30, -30, 60, -60, 90, 600, -600, 1440])
_EDGES = st.sampled_from(
    [
        datetime.min, datetime(1, 1, 2, 23, 59), datetime(1, 1, 3), datetime(1, 1, 4),
        datetime(1900, 2, 28), datetime(2000, 2, 29), datetime(2020, 2, 29, 23, 30),
        datetime(9999, 12, 29, 23, 59), datetime(9999, 12, 30), datetime(9999, 12, 31),
        datetime.max,
    ]
).map(lambda moment: moment.replace(tzinfo=UTC))  # fmt: skip
"""The ends of the calendar, where dates stand for always and never, and leap days."""
_MICROSECONDS = st.sampled_from([0, 0, 1, -1])
_CALENDAR_UNITS = st.sampled_from(["day", "days", "weeks", "months", "years"])
_EXACT_UNITS = st.sampled_from(["hours", "minutes"])
_COUNTS = st.sampled_from([0, 1, 2, 7, 24, 25, 30, 31, 366, 9000])
_NODES = st.sampled_from([None, None, None, "all", "any", "none"])
_GIVERS: st.SearchStrategy[set[int]] = st.sets(st.sampled_from(CODES), min_size=1)
_STALE_CODES = st.frozensets(st.sampled_from(CODES), max_size=2)
_MERGES = st.sampled_from(["priority", "latest", "most_restrictive", "min", "max"])
_KINDS = st.sets(st.sampled_from(sorted(get_args(AttributeType))), min_size=1, max_size=3)
_OPERATORS = {kind: st.sampled_from(operators) for kind, operators in OPERATORS_OF.items()}
_ONE_TO_THREE = st.integers(1, 3)
_SELDOM = st.sampled_from([False, False, False, True])
_STATES: st.SearchStrategy[dict[str, tuple[bool, bool]]] = st.dictionaries(
    st.sampled_from(AUDIENCES), st.tuples(st.booleans(), st.booleans()), max_size=2
)


_CONNECTION = duckdb.connect(config={"threads": 1})


@dataclass
class World:
    """A context, the profiles in it and conditions as YAML gives them."""

    context: Context
    profiles: list[Profile]
    conditions: list[dict[str, Any]]


@st.composite
def hard_times(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """A present, and a time zone in which something happens to clocks or calendar about then."""
    zone = draw(st.sampled_from(sorted(MOMENTS)))
    moment = datetime.fromisoformat(draw(st.sampled_from(MOMENTS[zone]))).replace(tzinfo=UTC)
    return moment + timedelta(draw(_DAYS), minutes=draw(_MINUTES)), ZoneInfo(zone)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any catalogue with a few attributes, at a time of day that is likely to be hard."""
    now, zone = draw(hard_times())
    attributes: dict[str, Attribute] = {}
    for kind in sorted(draw(_KINDS)):
        merge = draw(_MERGES)
        for name in (f"{kind}_{merge}", *([f"{kind}_other"] if draw(st.booleans()) else [])):
            attributes[name] = Attribute.model_validate(
                {"type": kind, "merge": merge, "sources": ["crm"], "fresh_within": "1h"}
            )
    codes = {name: draw(_STALE_CODES) if draw(_SELDOM) else frozenset() for name in attributes}
    stale = {name: StaleSources(found, bool(found)) for name, found in codes.items()}
    drawing = Drawing(draw, Context(now, zone, attributes, stale))
    conditions = [drawing.condition(depth) for depth in (0, 0, 3)]
    profiles = [drawing.profile() for _ in range(4 * draw(_ONE_TO_THREE))]
    return World(drawing.context, profiles, conditions)


@dataclass
class Drawing:
    """Draws what depends on a context already drawn."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    context: Context

    def condition(self, depth: int) -> dict[str, Any]:
        """A condition of at most this many levels of `all`, `any` and `none`."""
        key = self.draw(_NODES) if depth else None
        if key is not None:
            return {key: [self.condition(depth - 1) for _ in range(self.draw(_ONE_TO_THREE))]}
        if self.draw(_SELDOM):
            key = self.draw(st.sampled_from(["in_audience", "not_in_audience"]))
            return {key: self.draw(st.sampled_from(AUDIENCES))}
        name = self.draw(st.sampled_from(list(self.context.attributes)))
        kind = self.context.attributes[name].type
        operators = [self.draw(_OPERATORS[kind])]
        if self.draw(_SELDOM):
            operators.append(self.draw(_OPERATORS[kind]))
        return {name: {operator: self.operand(operator, name) for operator in operators}}

    def profile(self) -> Profile:
        """A profile in which any value may be missing."""
        profile = Profile({}, {}, audiences=self.draw(_STATES))
        for name, attribute in self.context.attributes.items():
            value = None if self.draw(_SELDOM) else self._value(attribute.type)
            givers = self.draw(_GIVERS) if value is not None else set[int]()
            one = attribute.merge in ("priority", "latest")
            profile.values[name] = value
            profile.givers[name] = set(sorted(givers)[:1]) if one else givers
        while self.draw(_SELDOM):
            names = st.none() | st.lists(st.sampled_from(list(self.context.attributes)))
            profile.changes.append((self._value("timestamp"), self.draw(names)))
        return profile

    def _value(self, kind: str) -> Any:
        match kind:
            case "string":
                return self.draw(_WORDS)
            case "integer":
                return self.draw(_INTEGERS)
            case "decimal":
                return Decimal(self.draw(_DECIMALS))
            case "boolean":
                return self.draw(st.booleans())
            case "list":
                return [self.draw(_WORDS) for _ in range(self.draw(_ONE_TO_THREE) - 1)]
            case _ if self.draw(_SELDOM):
                edge = self.draw(_EDGES)
                return edge.date() if kind == "date" else edge
            case _:
                moment = self.context.now + timedelta(self.draw(_DAYS))
                moment += timedelta(minutes=self.draw(_MINUTES))
                if kind == "date":
                    return moment.date()
                return moment + timedelta(microseconds=self.draw(_MICROSECONDS))

    def _written(self, name: str) -> Any:
        """A value as YAML gives it, for a test of this attribute."""
        kind = self.context.attributes[name].type
        others = [
            other
            for other, each in self.context.attributes.items()
            if other != name and comparable(kind, each.type)
        ]
        if others and self.draw(_SELDOM):
            return {"attribute": self.draw(st.sampled_from(others))}
        value = self._value(kind)
        if kind == "decimal":
            return float(value) if abs(value) < 10 and self.draw(_SELDOM) else str(value)
        if kind in ("date", "timestamp") and self.draw(_SELDOM):
            sign, count = self.draw(st.sampled_from("+-")), self.draw(_COUNTS)
            offset = f"today {sign} {count} {self.draw(_CALENDAR_UNITS)}"
            return self.draw(st.sampled_from(["today", "tomorrow", "yesterday", offset]))
        if kind == "timestamp" and self.draw(st.booleans()):
            local = local_time(value, self.context.timezone).replace(tzinfo=None)
            return local if self.draw(st.booleans()) else local.date()
        return value

    def operand(self, operator: str, name: str) -> Any:
        """An operator's value for a test of this attribute, as YAML gives it."""
        kind = self.context.attributes[name].type
        match operator:
            case "present" | "missing":
                return True
            case "empty":
                return self.draw(st.booleans())
            case "in" | "not_in":
                return [self._written(name) for _ in range(self.draw(_ONE_TO_THREE))]
            case "between":
                return [self._written(name), self._written(name)]
            case "contains" | "starts_with":
                return self.draw(_TEXTS)
            case "has_any" | "has_all":
                return [self.draw(_TEXTS) for _ in range(self.draw(_ONE_TO_THREE))]
            case (
                "within_next" | "within_last" | "more_than_ago" | "changed_within"
                | "anniversary_within_next" | "anniversary_within_last"
            ):  # fmt: skip
                exact = kind != "date" and self.draw(_SELDOM)
                unit = self.draw(_EXACT_UNITS if exact else _CALENDAR_UNITS)
                return f"{self.draw(_COUNTS)} {unit}"
            case _:
                return self._written(name)


def relations(world: World) -> dict[str, pa.Table]:
    """The world as the tables that compiled conditions read; profile ids count from 0."""
    attributes, profiles = world.context.attributes, list(enumerate(world.profiles))
    columns: dict[str, pa.Array] = {"profile_id": pa.array([i for i, _ in profiles], pa.int64())}
    for name, attribute in attributes.items():
        given = [profile.givers[name] for _, profile in profiles]
        columns[name] = pa.array([p.values[name] for _, p in profiles], ARROW_TYPES[attribute.type])
        if attribute.merge in ("priority", "latest"):
            columns[f"{name}__source"] = pa.array([min(g, default=None) for g in given], pa.int8())
        else:
            masks = [sum(1 << code for code in g) if g else None for g in given]
            columns[f"{name}__sources"] = pa.array(masks, pa.int64())
    changes = [(i, *change) for i, profile in profiles for change in profile.changes]
    tables = {
        "profiles": pa.table(columns),
        "profile_changes": _table(
            changes,
            {
                "profile_id": pa.int64(),
                "recorded_at": ARROW_TYPES["timestamp"],
                "changed": ARROW_TYPES["list"],
            },
        ),
    }
    for audience in AUDIENCES:
        states = [(i, *p.audiences[audience]) for i, p in profiles if audience in p.audiences]
        tables[f"audience__{audience}"] = state_table(states)
    return tables


def state_table(rows: list[tuple[int, bool, bool]]) -> pa.Table:
    """An audience's state: profile_id, member, held."""
    return _table(rows, {"profile_id": pa.int64(), "member": pa.bool_(), "held": pa.bool_()})


def run(sql: exp.Expr, tables: dict[str, pa.Table]) -> list[dict[str, Any]]:
    """The rows of a SELECT in DuckDB, whose session is deliberately in a far-off time zone."""
    with _CONNECTION.cursor() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        found = connection.sql(sql.sql("duckdb"))
        assert found is not None
        return found.to_arrow_table().to_pylist()


def _table(rows: list[Any], columns: dict[str, pa.DataType]) -> pa.Table:
    arrays = [
        pa.array([row[index] for row in rows], kind) for index, kind in enumerate(columns.values())
    ]
    return pa.table(arrays, names=list(columns))
