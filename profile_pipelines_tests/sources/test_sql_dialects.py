"""What each warehouse is sent, compiled by its own SQLAlchemy dialect."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.reading import problem_of
from profile_pipelines.sources.sql_dialects import (
    Column,
    find_column,
    kind_of,
    missing_driver,
    query_sql,
    table_sql,
)
from profile_pipelines.sources.sql_since import changed_since, mark_columns
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def dialect(name: str) -> sa.engine.Dialect:
    if name == "bigquery":
        from sqlalchemy_bigquery import BigQueryDialect

        return BigQueryDialect()
    return sa.make_url(f"{name}://").get_dialect()()


def compiled(name: str, expression: Any) -> str:
    options = {"literal_binds": True}
    sql = str(expression.compile(dialect=dialect(name), compile_kwargs=options))
    return " ".join(sql.split())


@pytest.mark.parametrize(
    ("name", "code", "type_name", "expected"),
    [
        ("snowflake", 8, None, "\"At\" >= CAST('2024-05-01 12:00:00.000000' AS TIMESTAMP_NTZ)"),
        ("snowflake", 7, None, "CAST('2024-05-01 12:00:00.000000+00:00' AS TIMESTAMP_TZ)"),
        ("bigquery", 0, "TIMESTAMP", "CAST('2024-05-01 12:00:00.000000+00:00' AS TIMESTAMP)"),
        ("bigquery", 0, "DATETIME", "`At` >= CAST('2024-05-01 12:00:00.000000' AS DATETIME)"),
        ("databricks", 0, "timestamp", "CAST('2024-05-01 12:00:00.000000+00:00' AS TIMESTAMP)"),
        ("databricks", 0, "timestamp_ntz", "AS TIMESTAMP_NTZ)"),
        ("redshift", 0, "timestamp with time zone", "AS TIMESTAMP WITH TIME ZONE)"),
        ("redshift", 0, "timestamp without time zone", "AS TIMESTAMP)"),
        ("mssql", 0, "datetimeoffset(7)", "AS DATETIMEOFFSET)"),
        ("mssql", 0, "datetime", "[At] >= CAST('2024-05-01 12:00:00.000000' AS DATETIME2)"),
        ("mysql", 12, None, "`At` >= CAST('2024-05-01 12:00:00.000000' AS DATETIME(6))"),
        ("duckdb", 0, "TIMESTAMP WITH TIME ZONE", "AS TIMESTAMP WITH TIME ZONE)"),
        ("duckdb", 0, "TIMESTAMP_NS", "AS TIMESTAMP)"),
        ("snowflake", 3, None, "CAST('2024-05-01' AS DATE)"),
        ("mssql", 0, "bigint", "1714564800"),
    ],
)
def test_times_are_compared_in_the_columns_own_type(
    name: str, code: int, type_name: str | None, expected: str
) -> None:
    """The bound is cast to the type that the column has, and records without a time come too."""
    column = Column("At", code, type_name, kind_of(name, code, type_name))
    condition = changed_since(name, column.expression, column.kind, NOON)
    assert condition is not None
    sql = compiled(name, condition)
    assert expected in sql
    assert "IS NULL" in sql


@pytest.mark.parametrize(
    ("name", "type_name"), [("snowflake", None), ("bigquery", "STRING"), ("mssql", "varchar(9)")]
)
def test_columns_that_are_no_times_are_not_compared(name: str, type_name: str | None) -> None:
    """A time in text says nothing that a database could compare."""
    assert changed_since(name, sa.column("at"), kind_of(name, 2, type_name), NOON) is None


def test_later_means_later_by_what_can_be_told_apart() -> None:
    """Nanoseconds beyond the cursor's microsecond don't count as newer."""
    newer = changed_since("snowflake", sa.column("at"), "wall_time", NOON, strictly=True)
    assert newer is not None
    assert "12:00:00.000001" in compiled("snowflake", newer)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("snowflake", 'sales."Order".people'),
        ("bigquery", "`sales`.`Order`.`people`"),
        ("databricks", "sales.`Order`.people"),
        ("mssql", "sales.[Order].people"),
        ("redshift", 'sales."Order".people'),
    ],
)
def test_tables_are_named_part_by_part(name: str, expected: str) -> None:
    """Catalogue, schema and table are quoted each for itself, where they have to be."""
    assert table_sql(dialect(name), "sales.Order.people").replace("`", "") == expected.replace(
        "`", ""
    )


def test_plain_names_find_capitals_where_the_database_folds_to_them() -> None:
    """`customer_no` is CUSTOMER_NO in Snowflake, and nothing in PostgreSQL."""
    columns = {name: Column(name, 0, None, None) for name in ("CUSTOMER_NO", "Mixed")}
    snowflake, postgres = dialect("snowflake"), dialect("postgresql")
    found = find_column(columns, "customer_no", snowflake)
    assert found is not None
    assert compiled("snowflake", found.expression) == '"CUSTOMER_NO"'
    assert find_column(columns, "Mixed", snowflake) is not None
    assert find_column(columns, "mixed", snowflake) is None
    assert find_column(columns, "customer_no", postgres) is None


@pytest.mark.parametrize("name", ["snowflake", "bigquery", "databricks", "mssql", "redshift"])
def test_the_mark_is_one_cheap_statement_everywhere(name: str) -> None:
    """Count, newest time and ties are asked for at once."""
    origin = sa.text("sales.people")
    column = Column("At", 0, None, None).expression
    sql = compiled(name, sa.select(*mark_columns(column, origin)).select_from(origin))
    assert sql.lower().count("count(") == 3
    assert "max(" in sql.lower()


@pytest.mark.parametrize(
    "query",
    [
        "select 1 as id;",
        "select 1 as id ; ; -- done;",
        "with a as (select 1 as id) select id from a /* ; */;\n",
    ],
)
@pytest.mark.parametrize("name", ["snowflake", "bigquery", "databricks", "redshift", "mysql"])
def test_a_querys_last_semicolon_goes_and_its_comments_stay_closed(name: str, query: str) -> None:
    """What comes after the query is never swallowed by its last comment."""
    sql = query_sql("crm.people", name, query)
    assert sql.endswith("\n) source_query")
    assert ";" not in sql.replace("-- done;", "").replace("/* ; */", "")


def test_several_statements_and_misplaced_ctes_are_refused() -> None:
    """One SELECT is read; SQL Server can't have its WITH inside of FROM."""
    with pytest.raises(SourceError, match="several statements"):
        query_sql("crm.people", "snowflake", "select 1; drop table people")
    with pytest.raises(SourceError, match="make a view"):
        query_sql("crm.people", "mssql", "with a as (select 1 as id) select id from a")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("snowflake", "snowflake"),
        ("bigquery", "bigquery"),
        ("redshift", "redshift"),
        ("databricks", "databricks"),
        ("mssql+pymssql", "mssql"),
        ("mysql+pymysql", "mysql"),
        ("duckdb", "duckdb"),
    ],
)
def test_a_missing_driver_is_told_with_the_command_that_installs_it(name: str, extra: str) -> None:
    """The error says exactly what to type."""
    error = missing_driver("crm.people", sa.URL.create(name), ImportError())
    assert f"pip install 'profile-pipelines[{extra}]'" in str(error)


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    """A DuckDB file with people of many types, written by a process that has ended."""
    path = tmp_path / "crm.duckdb"
    statement = """create table people as select * from (values
        (1, timestamp '2024-05-01 11:59:59', timestamptz '2024-05-01 11:59:59Z', 1.50::decimal(9,2),
         {'a': 1}, '00000000-0000-0000-0000-000000000001'::uuid, time '10:00', 7::hugeint),
        (2, timestamp '2024-05-01 12:00:00', timestamptz '2024-05-01 12:00:00Z', null, null, null,
         null, null), (3, null, null, null, null, null, null, null))
        as t (id, naive, moment, sum, info, uuid, clock, huge)"""
    script = f"import duckdb; duckdb.connect({str(path)!r}).execute({statement!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    return path


def test_duckdb_keeps_its_types_by_arrow(duckdb_file: Path) -> None:
    """Times, numbers and structs come typed; what the landing doesn't know comes as text."""
    opened = source({"type": "sql", "url": f"duckdb:///{duckdb_file}"}, table="people")
    fields = ("id", "naive", "moment", "sum", "info", "uuid", "clock", "huge")
    found = table(opened, *fields)
    assert found.column("naive").type == pa.timestamp("us")
    first = found.to_pylist()[0]
    assert first["moment"] == NOON.replace(hour=11, minute=59, second=59)
    assert first["naive"] == first["moment"].replace(tzinfo=None)
    assert str(first["sum"]) == "1.50"
    assert first["info"] == '{"a": 1}'
    assert (first["uuid"], first["clock"]) == ("00000000-0000-0000-0000-000000000001", "10:00:00")
    assert first["huge"] == "7"
    assert opened.inspect()["moment"] == "TIMESTAMP WITH TIME ZONE"


def test_bytes_deep_inside_a_struct_are_told_where_they_are_wanted(tmp_path: Path) -> None:
    """A path to them finds a problem, as in a file; one beside them finds what is there."""
    path = tmp_path / "crm.duckdb"
    statement = "create table people as select {'a': {'b': 'x', 'c': '\\xFF'::blob}} as info"
    script = f"import duckdb; duckdb.connect({str(path)!r}).execute({statement!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    opened = source({"type": "sql", "url": f"duckdb:///{path}"}, table="people")
    [found] = table(opened, "info.a.b", "info.a.c", "info").to_pylist()
    problems = {found.pop(problem_of(name)) for name in ("info.a.c", "info")}
    assert problems == {"isn't text in UTF-8"}
    assert (found["info.a.b"], found["info.a.c"]) == ("x", "\ufffd")
    assert problem_of("info.a.b") not in found


@pytest.mark.parametrize("field", ["naive", "moment"])
def test_duckdb_is_read_incrementally(duckdb_file: Path, field: str) -> None:
    """Records at the cursor and those without a time come, older ones don't."""
    url = f"duckdb:///{duckdb_file}"
    opened = source({"type": "sql", "url": url}, table="people", updated_at=field)
    assert values(opened, "id", since=NOON) == [2, 3]
    assert opened.has_newer(NOON) is True
    known = source(
        {"type": "sql", "url": url},
        query=f"select * from people where {field} is not null;",
        updated_at=field,
    )
    assert known.has_newer(NOON) is False
    assert known.change_mark() == opened.change_mark().replace("3:", "2:", 1)


def test_duckdb_is_never_written(duckdb_file: Path, tmp_path: Path) -> None:
    """A mistyped path makes no new file, and the file is opened for reading only."""
    with pytest.raises(SourceUnreachable, match="no DuckDB file"):
        values(source({"type": "sql", "url": f"duckdb:///{tmp_path}/x.duckdb"}, table="t"), "id")
    before = duckdb_file.read_bytes()
    opened = source({"type": "sql", "url": f"duckdb:///{duckdb_file}"}, table="people")
    assert values(opened, "id") == [1, 2, 3]
    assert duckdb_file.read_bytes() == before
