from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import sqlalchemy as sa

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import BATCH_ROWS, ReadRequest
from profile_pipelines.sources.arrow_columns import NO_DAY
from profile_pipelines.sources.reading import problem_of
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def crm(url: str) -> dict[str, str]:
    return {"type": "sql", "url": url}


def test_types_that_arrow_knows_stay_and_all_others_are_text(postgres_url: str) -> None:
    """Numbers, booleans, dates and times keep their types; numeric, JSON, enum… lose nothing."""
    run(
        postgres_url,
        "create type mood as enum ('glad', 'sad')",
        "create domain plan as varchar(9)",
        """create table people as select
            1::int2 as small, 2::int8 as big, 1.5::float8 as double, true as yes,
            'x'::text as words, 'v'::plan as plan, date '2024-05-01' as day,
            timestamptz '2024-05-01 14:00+02' as moment, timestamp '2024-05-01 12:00' as naive,
            123456789012345678.10::numeric as exact, '{"a": [1]}'::jsonb as doc,
            'glad'::mood as mood, array['a', 'b"c'] as tags, time '10:00' as clock,
            '00000000-0000-0000-0000-000000000001'::uuid as uuid, '10.0.0.1'::inet as net""",
    )
    found = table(
        source(crm(postgres_url), table="people"),
        *("small", "big", "double", "yes", "words", "plan", "day", "moment", "naive"),
        *("exact", "doc", "mood", "tags", "clock", "uuid", "net"),
    )
    assert found.to_pylist() == [
        {
            "small": 1,
            "big": 2,
            "double": 1.5,
            "yes": True,
            "words": "x",
            "plan": "v",
            "day": date(2024, 5, 1),
            "moment": NOON,
            "naive": NOON.replace(tzinfo=None),
            "exact": "123456789012345678.1",
            "doc": '{"a": [1]}',
            "mood": "glad",
            "tags": '["a","b\\"c"]',
            "clock": "10:00:00",
            "uuid": "00000000-0000-0000-0000-000000000001",
            "net": "10.0.0.1/32",
        }
    ]
    assert found.schema.field("naive").type == pa.timestamp("us")


def test_times_beyond_the_calendar_are_missing(postgres_url: str) -> None:
    """PostgreSQL's infinity comes as null; other years are a problem of their cells."""
    query = """select * from (values
        (1, 'infinity'::timestamptz, 'infinity'::date, '-infinity'::timestamp),
        (2, '0044-03-15 BC'::timestamptz, '20000-01-01'::date, '20000-01-01'::timestamp),
        (3, '2024-05-01 12:00Z'::timestamptz, '2024-05-01'::date, '2024-05-01 12:00'::timestamp)
        ) as t (id, a, b, c) order by id"""
    found = table(source(crm(postgres_url), query=query), "a", "b", "c")
    far = [None, NO_DAY, None]
    assert found.to_pydict() == {
        "a": [None, None, NOON],
        "b": [None, None, date(2024, 5, 1)],
        "c": [None, None, NOON.replace(tzinfo=None)],
        **{problem_of(field): far for field in "abc"},
    }


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("timestamptz", "'2024-05-01 11:59:59.999999Z', '2024-05-01 12:00Z', '2024-05-02Z', null"),
        ("timestamp", "'2024-05-01 11:59:59.999999', '2024-05-01 12:00', '2024-05-02', null"),
        ("date", "'2024-04-30', '2024-05-01', '2024-05-02', null"),
        ("bigint", "1714564799, 1714564800, 1714564801000, null"),
    ],
)
def test_incremental_reads_include_ties_and_unknown_times(
    postgres_url: str, kind: str, rows: str
) -> None:
    """Records at the cursor come again, older ones don't, whatever the server's time zone."""
    listed = ", ".join(f"({n}, {row})" for n, row in enumerate(rows.split(", ")))
    database = sa.make_url(postgres_url).database
    run(
        postgres_url,
        f"create table people (id int, changed {kind})",
        f"insert into people values {listed}",
        f"alter database {database} set timezone = 'Asia/Tokyo'",
    )
    opened = source(crm(postgres_url), table="public.people", updated_at="changed")
    assert values(opened, "id", since=NOON) == [1, 2, 3]
    run(postgres_url, "delete from people where id > 1")
    assert opened.has_newer(NOON) is (kind in ("bigint", "date"))
    assert opened.has_newer(NOON.replace(month=4)) is True


def test_times_in_text_are_read_whole_rather_than_compared_wrongly(postgres_url: str) -> None:
    """Where the cursor column isn't a time nothing is left out."""
    query = "select * from (values (1, '01.05.2024'), (2, '2.1.2023')) as t (id, changed)"
    opened = source(crm(postgres_url), query=query, updated_at="changed")
    assert values(opened, "id", since=NOON) == [1, 2]
    assert opened.has_newer(NOON) is None


def test_large_tables_come_in_bounded_batches_of_one_schema(postgres_url: str) -> None:
    """The driver's batches are cut to the limit, and every row comes once."""
    query = "select i as id from generate_series(1, 450000) as i"
    batches = list(source(crm(postgres_url), query=query).read(ReadRequest(("id",))))
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert len({batch.schema for batch in batches}) == 1
    assert pa.Table.from_batches(batches).column("id").to_pylist() == list(range(1, 450_001))


def test_queries_may_hold_colons_percents_and_casts(postgres_url: str) -> None:
    """A query reaches PostgreSQL as it was written, through both drivers."""
    query = "select '10:30 :x 5% %(y)s'::text as id, (array[1,2,3])[1:2] as part; -- :end"
    opened = source(crm(postgres_url), query=query.replace("; --", " --"))
    assert table(opened, "id", "part").to_pylist() == [{"id": "10:30 :x 5% %(y)s", "part": "[1,2]"}]
    assert opened.change_mark() == "1"


def test_schemas_capitals_and_reserved_words_are_quoted(postgres_url: str) -> None:
    """Names are found exactly as they are declared."""
    run(
        postgres_url,
        "create schema sales",
        'create table sales."Order" ("select" int, "eMail" text, "a.b" text)',
        """insert into sales."Order" values (1, 'x', 'y')""",
    )
    opened = source(crm(postgres_url), table="sales.Order")
    assert table(opened, "select", "eMail", "a.b").to_pylist() == [
        {"select": 1, "eMail": "x", "a.b": "y"}
    ]
    assert opened.inspect() == {"select": "integer", "eMail": "text", "a.b": "text"}
    mistyped = source(crm(postgres_url), table="sales.order")
    with pytest.raises(SourceError, match=r"no table 'sales\.order': did you mean Order"):
        mistyped.inspect()
    elsewhere = source(crm(postgres_url), table="sale.Order")
    with pytest.raises(SourceError, match=r"no schema 'sale': did you mean sales"):
        elsewhere.inspect()


def test_a_server_that_goes_away_is_unreachable_and_its_password_unseen() -> None:
    """The error says where it tried to connect, and nothing secret."""
    url = "postgresql://bob:s3cret%21@127.0.0.1:1/crm"
    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1:1/crm") as caught:
        table(source(crm(url), table="people"), "id")
    assert "s3cret" not in str(caught.value)


def test_a_connection_cut_while_reading_is_unreachable(postgres_url: str) -> None:
    """A read that the server breaks off raises instead of ending early."""
    query = (
        "select i as id, repeat('x', 1000) as words from generate_series(1, 2000000) i"
        " where i > 0 /* cut me */"
    )
    read = source(crm(postgres_url), query=query).read(ReadRequest(("id", "words")))
    next(read)
    run(
        postgres_url,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where query like '%%cut me%%' and pid <> pg_backend_pid()",
    )
    with pytest.raises(SourceUnreachable, match="broke off"):
        list(read)


def test_a_record_that_breaks_the_query_is_not_quoted(postgres_url: str) -> None:
    """Errors while reading never show the values of records."""
    run(
        postgres_url,
        "create table mails as select case when i = 9000 then 'bob@example.org' else '1' end"
        " as mail from generate_series(1, 10000) i",
    )
    query = "select mail::int as id from mails"
    with pytest.raises(SourceError) as caught:
        table(source(crm(postgres_url), query=query), "id")
    assert not isinstance(caught.value, SourceUnreachable)
    assert "bob" not in str(caught.value)


def test_cheap_questions_need_no_adbc(postgres_url: str) -> None:
    """A run that finds nothing new never pays for importing ADBC."""
    run(postgres_url, "create table people (id int, changed timestamptz)")
    script = f"""
        import sys
        from datetime import UTC, datetime
        from profile_pipelines_tests.sources.reads import source
        opened = source({{"type": "sql", "url": {postgres_url!r}}}, table="people",
                        updated_at="changed")
        print(opened.has_newer(datetime(2024, 5, 1, tzinfo=UTC)), opened.change_mark())
        print([name for name in sys.modules if name.startswith(("adbc", "dlt", "pandas"))])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False 0:0::0\n[]\n"
