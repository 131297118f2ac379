"""What the values of databases come as: text is text, a number has one spelling, and one value
that can't be read costs nothing but itself."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import ReadRequest, Source
from profile_pipelines.sources.reading import problem_of
from profile_pipelines.sources.sql_columns import selected
from profile_pipelines.sources.sql_dialects import Column
from profile_pipelines.sources.sql_keys import has_key
from profile_pipelines_tests.sources.reads import source, table, values
from profile_pipelines_tests.sources.test_postgres import crm, run
from profile_pipelines_tests.sources.test_sql_dialects import compiled

_numbers = itertools.count(1)


def by_keys(opened: Source, *keys: str) -> list[Any]:
    """The ids of the records that are asked for by their keys."""
    batches = opened.read(ReadRequest(("id",), keys=keys))
    return [value for batch in batches for value in batch.column(0).to_pylist()]


@pytest.fixture
def encoded(postgres_server: sa.URL) -> Iterator[Any]:
    """Makes databases in other encodings; gives their URLs."""
    made: list[str] = []
    server = postgres_server.render_as_string(hide_password=False)

    def make(encoding: str, *statements: str) -> str:
        name = f"encoded_{next(_numbers)}"
        made.append(name)
        engine = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"create database {name} encoding '{encoding}' template template0 "
                "lc_collate 'C' lc_ctype 'C'"
            )
        engine.dispose()
        url = postgres_server.set(database=name, drivername="postgresql")
        run(opened := url.render_as_string(hide_password=False), *statements)
        return opened

    yield make
    for name in made:
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"drop database {name} with (force)")
        engine.dispose()


@pytest.mark.parametrize(
    ("encoding", "asked"), [("LATIN1", "latin1"), ("WIN1252", "win1252"), ("UTF8", "latin1")]
)
def test_postgres_brings_text_in_any_encoding_to_utf8(
    encoded: Any, encoding: str, asked: str
) -> None:
    """Whatever the database, its settings and the URL say about encodings."""
    url = encoded(encoding)
    run(
        url,
        "create table people (id text, name text)",
        r"insert into people values ('1', U&'M\00fcller')",
        f"alter database {sa.make_url(url).database} set client_encoding to '{asked}'",
    )
    for reader in (url, f"{url}&client_encoding={asked}"):
        opened = source(crm(reader), table="people", updated_at="name")
        assert table(opened, "id", "name").to_pylist() == [{"id": "1", "name": "Müller"}]
        assert opened.change_mark() == "1:1:Müller:1"


def test_bytes_of_a_database_without_an_encoding_are_a_problem_of_their_cell(encoded: Any) -> None:
    """SQL_ASCII keeps what it's given: what is UTF-8 is read, what isn't costs its cell."""
    url = encoded(
        "SQL_ASCII",
        "create table people (id text, name text)",
        "insert into people values ('1', 'Ada'), ('2', E'M\\xfcller'), ('3', E'Zo\\xc3\\xab')",
    )
    found = table(source(crm(url), table="people"), "id", "name").to_pydict()
    assert found["name"] == ["Ada", "M\ufffdller", "Zoë"]
    assert found[problem_of("name")] == [None, "isn't text in UTF-8", None]


def test_fixed_lengths_leave_no_padding(postgres_url: str) -> None:
    """The blanks at the end of PostgreSQL's `char(n)` are none of the value's."""
    run(
        postgres_url,
        "create table people (id char(8), tier char(10), marks char(4)[])",
        "insert into people values ('1', 'gold', array['a', 'b']), ('2', 'basic', null)",
    )
    opened = source(crm(postgres_url), table="people", key="id")
    assert table(opened, "id", "tier", "marks").to_pylist() == [
        {"id": "1", "tier": "gold", "marks": '["a","b"]'},
        {"id": "2", "tier": "basic", "marks": None},
    ]
    assert by_keys(opened, "2", "3") == ["2"]


@pytest.mark.parametrize(
    ("backend", "code", "type_name", "expected"),
    [
        ("mssql", 1, "nchar(10)", "rtrim([c])"),
        ("mssql", 1, "nvarchar(10)", "[c]"),
        ("redshift", 1, "character", "rtrim(c)"),
        (
            "mssql",
            2,
            "datetimeoffset(7)",
            "convert(VARCHAR(34), switchoffset([c], '+00:00'), 127)",
        ),
    ],
)
def test_other_databases_pad_no_text_and_keep_offsets(
    backend: str, code: int, type_name: str, expected: str
) -> None:
    """Where the drivers would bring padding, or no time at all, the database is told."""
    column = Column("c", code, type_name, None)
    assert compiled(backend, selected(backend, column)).replace('"', "") == expected


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_scalars_of_json_are_what_they_stand_for(postgres_url: str, kind: str) -> None:
    """Texts have no quotes, numbers their one spelling, and JSON's null is a missing value."""
    rows = [
        '"gold"', "null", "5.00", "true", '{"a": [1]}', '["x"]',
        r'"M\u00fcller \"x\""', r'"a\ud800b"',
    ]  # fmt: skip
    rows = rows if kind == "json" else rows[:-1]
    listed = ", ".join(f"({n}, '{row}'::{kind})" for n, row in enumerate(rows))
    query = f"select * from (values {listed}) as t (id, doc) order by id"
    wanted = ["gold", None, "5", "true", '{"a": [1]}', '["x"]', 'Müller "x"', "a?b"]
    assert values(source(crm(postgres_url), query=query), "doc") == wanted[: len(rows)]


def test_paths_lead_into_json_that_is_read_whole(postgres_url: str) -> None:
    """A scalar in a column into which a path leads is a problem of its cell: it has no members."""
    query = """select * from (values (1, '{"tier": "gold"}'::jsonb), (2, '"none"')) as t (id, doc)
        order by id"""
    opened = source(crm(postgres_url), query=query, attributes={"tier": "doc.tier"})
    assert table(opened, "doc.tier").to_pydict() == {
        "doc.tier": ["gold", '"none"'],
        problem_of("doc.tier"): [None, "isn't a JSON object or list"],
    }


def test_typed_numbers_have_one_text(postgres_url: str) -> None:
    """NUMERIC and MONEY lose the zeros of their type; NaN says nothing."""
    query = """select 123.00::numeric(10, 2) as whole, 1.50::numeric as part, 100::numeric as round,
        'NaN'::numeric as nan, 12.50::money as money, -0.0::numeric as zero,
        12345678901234567890.1200::numeric as exact"""
    opened = source(crm(postgres_url), query=query)
    found = table(opened, "whole", "part", "round", "nan", "money", "zero")
    assert found.to_pylist() == [
        {
            "whole": "123", "part": "1.5", "round": "100",
            "nan": None, "money": "12.5", "zero": "0",
        }
    ]  # fmt: skip
    assert values(opened, "exact") == ["12345678901234567890.12"]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("numeric(10, 2)", "123"),
        ("numeric", "123.5"),
        ("real", "123"),
        ("double precision", "123"),
        ("double precision", "123.5"),
        ("bigint", "123"),
        ("text", "123"),
        ("varchar(9)", "123.5"),
        ("char(9)", "123"),
        ("uuid", "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_records_are_found_by_the_text_of_their_key(postgres_url: str, kind: str, key: str) -> None:
    """A key is compared in its column's type; what the type can't hold is no record's."""
    run(
        postgres_url,
        f"create table people (id {kind})",
        f"insert into people values ('{key}')",
    )
    opened = source(crm(postgres_url), table="people", key="id")
    others = ("7", "1" * 90, f"{'9' * 90}.5", "x", "", "123e5", "NaN", "00123x", "٣")
    assert len(by_keys(opened, key, *others)) == 1
    assert by_keys(opened, *others) == []
    assert by_keys(opened) == []


@pytest.mark.parametrize(
    ("backend", "code", "type_name", "expected"),
    [
        ("mssql", 1, "decimal(10,2)", "[c] IN (123, 4.5, 9000000000)"),
        ("mssql", 1, "float", "[c] IN (123, 4.5, 9000000000)"),
        ("mssql", 1, "int", "[c] IN (123, 9000000000)"),
        ("snowflake", 0, None, "c IN (123, 4.5, 9000000000)"),
        ("snowflake", 2, None, "c IN ('123', 'x', '4.5', '9000000000', '123.0', '9000000000.0')"),
        ("bigquery", 0, "INTEGER", "c IN (123, 9000000000)"),
        (
            "bigquery",
            0,
            "STRING",
            "c IN ('123', 'x', '4.5', '9000000000', '123.0', '9000000000.0')",
        ),
        ("duckdb", 0, "HUGEINT", "c IN (123, 4.5, 9000000000)"),
        ("mysql", 246, None, "c IN ('123', 'x', '4.5', '9000000000', '123.0', '9000000000.0')"),
    ],
)
def test_keys_are_compared_in_every_database_in_its_own_types(
    backend: str, code: int, type_name: str | None, expected: str
) -> None:
    """A key that isn't a number never reaches a column of numbers, where it would be an error."""
    column = Column("c", code, type_name, None)
    sql = compiled(backend, has_key(backend, column, ["123", "x", "4.5", "9000000000"]))
    assert sql.replace('"', "").replace("`", "") == expected


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as connection:
        yield connection


def test_sqlite_text_that_is_none_costs_its_cell(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    """Text of an old program, and bytes: what is UTF-8 is text, all else is told by its cell."""
    database.execute("create table people (id text, name text, raw blob)")
    database.execute("insert into people values ('1', 'Ada', x'4164c3a9')")
    database.execute("insert into people values ('2', cast(x'4dfc6c6c6572' as text), x'00ff')")
    url = f"sqlite:///{tmp_path / 'crm.db'}"
    opened = source({"type": "sql", "url": url}, table="people", updated_at="name")
    found = table(opened, "id", "name", "raw").to_pydict()
    assert found["id"] == ["1", "2"]
    assert found["name"] == ["Ada", "M\ufffdller"]
    assert found["raw"] == ["Adé", "\0\ufffd"]
    told = [None, "isn't text in UTF-8"]
    assert found[problem_of("name")] == found[problem_of("raw")] == told
    assert opened.change_mark() is not None


@pytest.mark.parametrize("affinity", ["real", "numeric", "integer", "text", ""])
def test_whole_floats_of_sqlite_are_whole_numbers(
    database: sqlite3.Connection, tmp_path: Path, affinity: str
) -> None:
    """123.0 is 123, as it comes and where it's asked for."""
    database.execute(f"create table people (id {affinity})")
    database.executemany("insert into people values (?)", [(123.0,), (4.5,), (1e20,)])
    opened = source(
        {"type": "sql", "url": f"sqlite:///{tmp_path / 'crm.db'}"}, table="people", key="id"
    )
    # a text is as it was written
    texts = ["123.0", "4.5", "1.0e+20"]
    # so large that it isn't exact, and says so
    numbers = ["123", "4.5", "100000000000000000000.0"]
    assert values(opened, "id") == (texts if affinity == "text" else numbers)
    assert len(by_keys(opened, "123", "4.5", "7")) == 2


def test_odd_types_of_duckdb_are_text(tmp_path: Path) -> None:
    """Intervals, bits, unions, enums, huge numbers and JSON; infinity is missing."""
    path = tmp_path / "crm.duckdb"
    statement = """create table people as select '1' as id, interval 1 day as span,
        [interval 1 day] as spans, '101'::bit as bits, union_value(a := 5) as either,
        'x'::enum('x', 'y') as mood, 7::uhugeint as huge, time '10:00' as clock,
        '"gold"'::json as scalar, 'null'::json as nothing, '{"a": 1}'::json as doc,
        ['x'::enum('x', 'y')] as moods, [1, 2]::integer[2] as pair,
        ['a']::varchar[1] as words, 'infinity'::timestamp as ever,
        'M'::blob as raw, '\\x00\\xff'::blob as bytes"""
    script = f"import duckdb; duckdb.connect({str(path)!r}).execute({statement!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    opened = source({"type": "sql", "url": f"duckdb:///{path}"}, table="people")
    assert table(
        opened,
        *("span", "spans", "bits", "either", "mood", "huge", "clock"),
        *("scalar", "nothing", "doc", "ever", "raw", "moods", "pair", "words"),
    ).to_pylist() == [
        {
            "span": "1 day", "spans": '["1 day"]', "bits": "101", "either": "5", "mood": "x",
            "huge": "7", "clock": "10:00:00", "scalar": "gold", "nothing": None,
            "doc": '{"a": 1}', "ever": None, "raw": "M",
            "moods": '["x"]', "pair": ["1", "2"], "words": ["a"],
        }
    ]  # fmt: skip
    found = table(opened, "bytes").to_pylist()[0]
    assert found[problem_of("bytes")] == "isn't text in UTF-8"


def test_an_error_names_what_was_read_and_what_to_do(
    postgres_url: str, database: sqlite3.Connection, tmp_path: Path
) -> None:
    """Nothing broke off, and no record is blamed, where only a right is missing."""
    run(
        postgres_url,
        "create table people (id int)",
        "create view broken as select 1 / (id - 1) as id from people",
        "insert into people values (0), (1)",
        "create schema sales",
        "create table sales.orders (id int)",
        'create table sales."People" (id int)',
    )
    with pytest.raises(SourceError, match=r"table broken.*fails on the value of some record"):
        values(source(crm(postgres_url), table="broken"), "id")
    with pytest.raises(SourceError, match=r"no table 'orders' here; write sales\.orders"):
        values(source(crm(postgres_url), table="orders"), "id")
    with pytest.raises(SourceError, match=r"did you mean .*sales\.People"):
        values(source(crm(postgres_url), table="Sales_People"), "id")
    database.execute("create table people (id text)")
    database.execute("insert into people values ('bob@example.org')")
    url = {"type": "sql", "url": f"sqlite:///{tmp_path / 'crm.db'}"}
    query = "select json_extract(id, '$.x') as id from people"
    with pytest.raises(SourceError, match="the query's result") as caught:
        values(source(url, query=query), "id")
    assert "broke off" not in str(caught.value)
    assert "bob" not in str(caught.value)
