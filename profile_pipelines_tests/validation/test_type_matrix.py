# ruff: noqa: E501 -- the matrix is read by its lines
"""Every type of Arrow in every role: read as what, or refused, and never an error of the sync."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from profile_pipelines.catalog.mapped_fields import IdentifierField
from profile_pipelines.catalog.models import Attribute, Catalogue, Identifier, Settings
from profile_pipelines.catalog.systems import MappedField, SourceField, Sync
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.validation.records import RecordValidator

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
DAY = dt.date(2026, 3, 1)
WALL = dt.datetime(2026, 3, 1, 23, 30)
INSTANT = WALL.replace(tzinfo=dt.UTC)
TYPES: tuple[AttributeType, ...] = (
    "string", "integer", "decimal", "boolean", "date", "timestamp", "list",
)  # fmt: skip
ROLES = (*TYPES, "no", "record_key", "updated_at", "deleted")
"""An attribute of each type, an identifier, and the other control fields."""

COLUMNS: dict[str, pa.Array] = {
    "null": pa.nulls(1),
    "bool": pa.array([True]),
    "int8": pa.array([1], pa.int8()),
    "int64": pa.array([123]),
    "uint64": pa.array([2**64 - 1], pa.uint64()),
    "float16": pa.array([1.0], pa.float16()),
    "float64": pa.array([123.0]),
    "float64 fraction": pa.array([1.5]),
    "NaN": pa.array([float("nan")]),
    "infinity": pa.array([float("inf")]),
    "decimal128": pa.array([Decimal("123.00")]),
    "decimal256": pa.array([Decimal("123.50")], pa.decimal256(50, 2)),
    "string": pa.array(["123.0"]),
    "large_string": pa.array(["x"], pa.large_string()),
    "string_view": pa.array(["yes"], pa.string_view()),
    "binary": pa.array([b"abc"]),
    "binary not utf-8": pa.array([b"M\xfcller"]),
    "fixed binary": pa.array([b"abc"], pa.binary(3)),
    "date32": pa.array([DAY]),
    "date64": pa.array([DAY], pa.date64()),
    "time64": pa.array([dt.time(12, 30)]),
    "timestamp s": pa.array([WALL], pa.timestamp("s")),
    "timestamp ns": pa.array([WALL], pa.timestamp("ns")),
    "timestamp us, UTC": pa.array([INSTANT], pa.timestamp("us", "UTC")),
    "timestamp ms, Berlin": pa.array([INSTANT], pa.timestamp("ms", "Europe/Berlin")),
    "duration": pa.array([dt.timedelta(hours=1)]),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
    "list<string>": pa.array([["b", "a"]]),
    "list<int>": pa.array([[1]]),
    "empty list": pa.array([[]], pa.list_(pa.string())),
    "list<struct>": pa.array([[{"a": 1}]]),
    "struct": pa.array([{"a": 1, "b": float("nan")}]),
    "map": pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
    "dictionary": pa.array(["gold"]).dictionary_encode(),
}
# what each is in each role, in the order of ROLES; ✗ is refused with a reason, – is missing.
# The catalogue's days are those of Berlin, the source's local times those of Tokyo.
MATRIX = [
    ('null', '– | – | – | – | – | – | – | – | digest | – | false'),
    ('bool', 'true | 1 | ✗ | true | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | true'),
    ('int8', '1 | 1 | 1.0000 | true | ✗ | ✗ | ✗ | 1 | 1 | ✗ | true'),
    ('int64', '123 | 123 | 123.0000 | ✗ | ✗ | ✗ | ✗ | 123 | 123 | ✗ | ✗'),
    ('uint64', '18446744073709551615 | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | 18446744073709551615 | 18446744073709551615 | ✗ | ✗'),
    ('float16', '1 | 1 | 1.0000 | true | ✗ | ✗ | ✗ | 1 | 1 | ✗ | true'),
    ('float64', '123 | 123 | 123.0000 | ✗ | ✗ | ✗ | ✗ | 123 | 123 | ✗ | ✗'),
    ('float64 fraction', '1.5 | ✗ | 1.5000 | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗'),
    ('NaN', '– | – | – | – | – | – | – | – | digest | – | false'),
    ('infinity', '✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗'),
    ('decimal128', '123 | 123 | 123.0000 | ✗ | ✗ | ✗ | ✗ | 123 | 123 | ✗ | ✗'),
    ('decimal256', '123.5 | ✗ | 123.5000 | ✗ | ✗ | ✗ | 123.5 | 123.5 | 123.5 | ✗ | ✗'),
    ('string', '123 | 123 | 123.0000 | ✗ | ✗ | ✗ | 123.0 | 123 | 123 | ✗ | ✗'),
    ('large_string', 'x | ✗ | ✗ | ✗ | ✗ | ✗ | x | x | x | ✗ | ✗'),
    ('string_view', 'yes | ✗ | ✗ | true | ✗ | ✗ | yes | yes | yes | ✗ | true'),
    ('binary', 'abc | ✗ | ✗ | ✗ | ✗ | ✗ | abc | abc | abc | ✗ | ✗'),
    ('binary not utf-8', '✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗'),
    ('fixed binary', 'abc | ✗ | ✗ | ✗ | ✗ | ✗ | abc | abc | abc | ✗ | ✗'),
    ('date32', '2026-03-01 | ✗ | ✗ | ✗ | 2026-03-01 | 2026-02-28T23:00:00+00:00 | ✗ | 2026-03-01 | 2026-03-01 | 2026-02-28T15:00:00+00:00 | true'),
    ('date64', '2026-03-01 | ✗ | ✗ | ✗ | 2026-03-01 | 2026-02-28T23:00:00+00:00 | ✗ | 2026-03-01 | 2026-03-01 | 2026-02-28T15:00:00+00:00 | true'),
    ('time64', '12:30:00 | ✗ | ✗ | ✗ | ✗ | ✗ | 12:30:00 | 12:30:00 | 12:30:00 | ✗ | ✗'),
    ('timestamp s', '2026-03-01 23:30:00.000000 | ✗ | ✗ | ✗ | 2026-03-01 | 2026-03-01T14:30:00+00:00 | ✗ | 2026-03-01 23:30:00.000000 | 2026-03-01 23:30:00.000000 | 2026-03-01T14:30:00+00:00 | true'),
    ('timestamp ns', '2026-03-01 23:30:00.000000 | ✗ | ✗ | ✗ | 2026-03-01 | 2026-03-01T14:30:00+00:00 | ✗ | 2026-03-01 23:30:00.000000 | 2026-03-01 23:30:00.000000 | 2026-03-01T14:30:00+00:00 | true'),
    ('timestamp us, UTC', '2026-03-01 23:30:00.000000+00:00 | ✗ | ✗ | ✗ | 2026-03-02 | 2026-03-01T23:30:00+00:00 | ✗ | 2026-03-01 23:30:00.000000+00:00 | 2026-03-01 23:30:00.000000+00:00 | 2026-03-01T23:30:00+00:00 | true'),
    ('timestamp ms, Berlin', '2026-03-01 23:30:00.000000+00:00 | ✗ | ✗ | ✗ | 2026-03-02 | 2026-03-01T23:30:00+00:00 | ✗ | 2026-03-01 23:30:00.000000+00:00 | 2026-03-01 23:30:00.000000+00:00 | 2026-03-01T23:30:00+00:00 | true'),
    ('duration', 'PT1H | ✗ | ✗ | ✗ | ✗ | ✗ | PT1H | PT1H | PT1H | ✗ | ✗'),
    ('interval', 'P1M2DT0.000000003S | ✗ | ✗ | ✗ | ✗ | ✗ | P1M2DT0.000000003S | P1M2DT0.000000003S | P1M2DT0.000000003S | ✗ | ✗'),
    ('list<string>', '["b", "a"] | ✗ | ✗ | ✗ | ✗ | ✗ | a+b | ✗ | ✗ | ✗ | ✗'),
    ('list<int>', '["1"] | ✗ | ✗ | ✗ | ✗ | ✗ | 1 | ✗ | ✗ | ✗ | ✗'),
    ('empty list', '[] | ✗ | ✗ | ✗ | ✗ | ✗ | [] | ✗ | ✗ | ✗ | ✗'),
    ('list<struct>', '[{"a": 1}] | ✗ | ✗ | ✗ | ✗ | ✗ | {"a": 1} | ✗ | ✗ | ✗ | ✗'),
    ('struct', '{"a": 1, "b": null} | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗'),
    ('map', '{"k": "v"} | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗ | ✗'),
    ('dictionary', 'gold | ✗ | ✗ | ✗ | ✗ | ✗ | gold | gold | gold | ✗ | ✗'),
]  # fmt: skip


def _validated(column: pa.Array, deleted: pa.Array) -> dict[str, Any]:
    attributes = {
        kind: Attribute(type=kind, sources=["crm"], fresh_within=dt.timedelta(days=1))
        for kind in TYPES
    }
    catalogue = Catalogue(
        settings=Settings(timezone="Europe/Berlin"),
        identifiers={"who": Identifier(), "no": Identifier()},
        attributes=attributes,
        systems={},
    )
    sync = Sync(
        identifiers={"who": IdentifierField(field="who"), "no": IdentifierField(field="no")},
        key=MappedField(field="record_key"),
        updated_at=MappedField(field="updated_at"),
        deleted=MappedField(field="deleted"),
        attributes={kind: SourceField(field=kind) for kind in TYPES},
    )
    names = ["who", "deleted", *(role for role in ROLES if role != "deleted")]
    columns = [pa.array(["somebody"]), deleted, *[column] * (len(ROLES) - 1)]
    batch = pa.RecordBatch.from_arrays(columns, names=[str(at) for at in range(len(names))])
    [plain] = normalised(batch, names)
    validator = RecordValidator(catalogue, sync, TYPES, NOW, "Asia/Tokyo")
    return validator.validate(pa.Table.from_batches([plain])).to_dicts()[0]


def _told(record: dict[str, Any], role: str) -> str:
    reasons = {each["attribute"]: each["reason"] for each in record["quarantine"] or ()}
    if role in reasons:
        assert reasons[role]
        return "✗"
    value = record["id_no" if role == "no" else role]
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case list():
            return "+".join(value) or "[]"
        case dt.date():
            return value.isoformat()
        case str() if value.startswith("raw:"):
            return "digest"
        case _:
            return str(value)


def test_the_matrix_has_every_column() -> None:
    """None is forgotten."""
    assert [name for name, _ in MATRIX] == list(COLUMNS)


@pytest.mark.parametrize(("name", "expected"), MATRIX)
def test_every_type_in_every_role(name: str, expected: str) -> None:
    """Each is read as something sensible or refused with a reason; none breaks the sync."""
    column = COLUMNS[name]
    record = _validated(column, pa.array([None], pa.string()))
    found = [_told(record, role) for role in ROLES[:-1]]
    found.append(_told(_validated(column, column), "deleted"))
    assert " | ".join(found) == expected
