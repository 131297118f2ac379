from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import BATCH_ROWS, ReadRequest, Source
from profile_pipelines.sources.reading import problem_of
from profile_pipelines_tests.services.conftest import run
from profile_pipelines_tests.sources.reads import source, table, values

pytestmark = pytest.mark.services

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def people(url: str, **sync: str) -> Source:
    return source({"type": "sql", "url": url}, **({"table": "people"} | sync))


def create(url: str, *statements: str) -> None:
    run(url, *statements)


def test_types_come_as_exact_text(mariadb_url: str) -> None:
    """Numbers have one text, instants are UTC whatever the server's zone, a DATETIME has none."""
    create(
        mariadb_url,
        """create table people (id bigint unsigned, sum decimal(30, 10), ratio double,
            yes boolean, flag bit(1), at datetime(6), moment timestamp null, day date, clock time,
            doc json, tags set('a', 'b'), plan enum('plus', 'max'), raw varbinary(9), note text,
            whole double, price decimal(10, 2), span time)""",
        "set time_zone = '+00:00'",
        """insert into people values (18446744073709551615, 12345678901234567890.0123456789, 0.1,
            true, b'1', '2024-05-01 12:00:00.000001', '2024-05-01 12:00:00', '2024-05-01',
            '10:00:00', '{"a": [1]}', 'a,b', 'plus', 'raw', null, 123, 99.50, '-100:01:02')""",
    )
    names = ("id", "sum", "ratio", "yes", "flag", "at", "moment", "day", "clock", "doc", "tags")
    found = table(people(mariadb_url), *names, "plan", "raw", "note", "whole", "price", "span")
    assert found.to_pylist() == [
        {
            "id": "18446744073709551615",
            "sum": "12345678901234567890.0123456789",
            "ratio": "0.1",
            "yes": "1",
            "flag": "1",
            "at": "2024-05-01T12:00:00.000001",
            "moment": "2024-05-01T12:00:00+00:00",
            "day": "2024-05-01",
            "clock": "10:00:00",
            "doc": '{"a": [1]}',
            "tags": "a,b",
            "plan": "plus",
            "raw": "raw",
            "note": None,
            "whole": "123",
            "price": "99.5",
            "span": "-100:01:02",
        }
    ]


def test_zero_dates_are_missing(mariadb_url: str) -> None:
    """MySQL's `0000-00-00` stands for no date at all; such a record counts as changed."""
    create(
        mariadb_url,
        "create table people (id int, day date, at datetime)",
        "insert into people values (1, '0000-00-00', '0000-00-00 00:00:00')",
        "insert into people values (2, '2024-01-01', '2024-01-01 00:00:00')",
    )
    opened = people(mariadb_url, updated_at="at")
    assert table(opened, "day", "at").to_pylist() == [
        {"day": None, "at": None},
        {"day": "2024-01-01", "at": "2024-01-01T00:00:00"},
    ]
    assert values(opened, "id", since=NOON) == ["1"]
    assert opened.has_newer(NOON) is True


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("datetime(6)", "'2024-05-01 11:59:59.999999', '2024-05-01 12:00', '2024-05-02', null"),
        ("timestamp", "'2024-05-01 11:59:59', '2024-05-01 12:00:00', '2024-05-02', null"),
        ("date", "'2024-04-30', '2024-05-01', '2024-05-02', null"),
        ("bigint", "1714564799, 1714564800, 1714564801000, null"),
    ],
)
def test_incremental_reads_include_ties_and_unknown_times(
    mariadb_url: str, kind: str, rows: str
) -> None:
    """Records at the cursor come again, older ones don't, whatever the server's time zone."""
    nullable = f"{kind} null"
    create(
        mariadb_url,
        f"create table people (id int, changed {nullable})",
        "set time_zone = '+00:00'",
        *(f"insert into people values ({n}, {row})" for n, row in enumerate(rows.split(", "))),
    )
    opened = people(mariadb_url, updated_at="changed")
    assert values(opened, "id", since=NOON) == ["1", "2", "3"]
    create(mariadb_url, "delete from people where id > 1")
    assert opened.has_newer(NOON) is (kind in ("bigint", "date"))
    assert opened.has_newer(NOON.replace(month=4)) is True


def test_times_in_text_are_read_whole(mariadb_url: str) -> None:
    """Where the cursor column isn't a time nothing is left out."""
    query = "select 1 as id, '01.05.2024' as changed union all select 2, '2.1.2023'"
    opened = source({"type": "sql", "url": mariadb_url}, query=query, updated_at="changed")
    assert sorted(values(opened, "id", since=NOON)) == ["1", "2"]
    assert opened.has_newer(NOON) is None


def test_the_mark_moves_with_ties_deletions_and_changes(mariadb_url: str) -> None:
    """A late record that bears the newest time already known still moves the mark."""
    create(
        mariadb_url,
        "create table people (id int, changed datetime)",
        "insert into people values (1, '2024-05-01'), (2, '2024-05-02')",
    )
    opened = people(mariadb_url, updated_at="changed")
    marks = [opened.change_mark(), opened.change_mark()]
    for statement in (
        "update people set changed = '2024-05-02' where id = 1",
        "delete from people where id = 1",
        "update people set changed = '2024-05-03'",
    ):
        create(mariadb_url, statement)
        marks.append(opened.change_mark())
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4


def test_unicode_and_names_are_kept(mariadb_url: str) -> None:
    """Four-byte characters come whole; capitals, spaces and reserved words in names are quoted."""
    create(
        mariadb_url,
        "create table `Order` (`select` int, `e Mail` text)",
        "insert into `Order` values (1, 'Zoë 😀 漢字')",
    )
    opened = people(mariadb_url, table="Order")
    assert table(opened, "select", "e Mail").to_pylist() == [
        {"select": "1", "e Mail": "Zoë 😀 漢字"}
    ]
    assert opened.inspect() == {"select": "INTEGER", "e Mail": "TEXT"}
    with pytest.raises(SourceError, match=r"'e_mail'.*did you mean e Mail"):
        table(opened, "e_mail")
    with pytest.raises(SourceError, match="no table 'Ordr': did you mean Order"):
        table(people(mariadb_url, table="Ordr"), "select")


def test_texts_are_unicode_without_padding_in_any_character_set(
    mariadb_server: sa.URL, mariadb_url: str
) -> None:
    """However a column, the server's mode and the URL have it; bytes that are no text are told."""
    run(mariadb_server, "set global sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'")
    create(
        mariadb_url,
        """create table people (id char(8), name varchar(9) character set latin1,
            word varchar(9) character set utf8mb4, raw blob)""",
        "insert into people values ('1', 'Müller', '😀', x'4dfc'), ('2', 'Zoë', 'ü', 'Zoë')",
    )
    try:
        opened = people(f"{mariadb_url}?charset=latin1", key="id")
        found = table(opened, "id", "name", "word", "raw").to_pydict()
        assert found == {
            "id": ["1", "2"],
            "name": ["Müller", "Zoë"],
            "word": ["😀", "ü"],
            "raw": ["M\ufffd", "Zoë"],
            problem_of("raw"): ["isn't text in UTF-8", None],
        }
        by_key = opened.read(ReadRequest(("id",), keys=("2", "3")))
        assert [value for batch in by_key for value in batch.column(0).to_pylist()] == ["2"]
    finally:
        run(mariadb_server, "set global sql_mode = ''")


@pytest.mark.parametrize("kind", ["double", "decimal(10, 2)", "int", "varchar(9)"])
def test_records_are_found_by_the_text_of_their_key(mariadb_url: str, kind: str) -> None:
    """A number is found by its value, however its column spells it."""
    create(mariadb_url, f"create table people (id {kind})", "insert into people values ('123')")
    opened = people(mariadb_url, key="id")
    for keys, count in ((("123", "x"), 1), (("12", "1234"), 0)):
        batches = opened.read(ReadRequest(("id",), keys=keys))
        assert sum(batch.num_rows for batch in batches) == count


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("datetime", [True, False, False]),
        ("timestamp null", [True, True, False]),
        ("date", [True, True, True]),
    ],
)
def test_datetimes_are_compared_by_the_zones_clock(
    mariadb_url: str, kind: str, found: list[bool]
) -> None:
    """Before clocks go back, what is written an hour less may come later; instants have no hour
    that comes twice, and a day doesn't tell."""
    create(
        mariadb_url,
        f"create table people (id int, changed {kind})",
        "set time_zone = '+00:00'",
        "insert into people values (1, '2026-10-25 02:05:00')",
    )
    opened = people(mariadb_url, updated_at="changed", zone="Europe/Berlin")
    berlin = [datetime(2026, 10, 25, *clock, tzinfo=UTC) for clock in ((0, 58), (1, 10), (2, 6))]
    assert [values(opened, "id", since=since) == ["1"] for since in berlin] == found


def test_queries_are_read_whatever_they_end_with(mariadb_url: str) -> None:
    """CTEs, comments, colons, percents and semicolons reach the database as they were written."""
    query = "with p as (select '10:30 :x 5%' as id) select id from p; -- the end; :really\n# so\n"
    opened = source({"type": "sql", "url": mariadb_url}, query=query)
    assert values(opened, "id") == ["10:30 :x 5%"]
    assert opened.change_mark() == "1"


def test_nothing_is_written(mariadb_server: sa.URL, mariadb_url: str) -> None:
    """Even a query by an administrator that calls a writing function is refused."""
    create(
        mariadb_url,
        "create table people (id int)",
        "create function put() returns int begin insert into people values (1); return 1; end",
    )
    database = sa.make_url(mariadb_url).database
    root = mariadb_server.set(database=database).render_as_string()
    with pytest.raises(SourceError):
        values(source({"type": "sql", "url": root}, query="select put() as id"), "id")
    assert values(people(mariadb_url), "id") == []


def test_a_password_that_is_wrong_stays_unseen(mariadb_url: str) -> None:
    """The error says where it tried to connect, and nothing secret."""
    wrong = mariadb_url.replace("s3cret", "wr0ng%21")
    with pytest.raises(SourceUnreachable, match=r"127\.0\.0\.1:\d+/test") as caught:
        values(people(wrong), "id")
    assert "wr0ng" not in str(caught.value)


def test_a_connection_cut_while_reading_is_unreachable(mariadb_url: str) -> None:
    """A read that the server breaks off raises instead of ending early."""
    query = "select seq as id, repeat('x', 500) as words from seq_1_to_1000000"
    read = source({"type": "sql", "url": mariadb_url}, query=query).read(
        ReadRequest(("id", "words"))
    )
    next(read)
    create(mariadb_url, "kill user reader")
    with pytest.raises(SourceUnreachable, match="broke off"):
        list(read)


def test_a_connection_that_is_cut_leaves_nothing_but_the_error(mariadb_url: str) -> None:
    """The driver prints nothing of its own beside what is raised."""
    query = "select seq as id, repeat('x', 500) as words from seq_1_to_1000000"
    script = f"""
        from profile_pipelines.errors import SourceUnreachable
        from profile_pipelines.sources import ReadRequest
        from profile_pipelines_tests.services.conftest import run
        from profile_pipelines_tests.sources.reads import source
        opened = source({{"type": "sql", "url": {mariadb_url!r}}}, query={query!r})
        read = opened.read(ReadRequest(("id", "words")))
        next(read)
        run({mariadb_url!r}, "kill user reader")
        try:
            list(read)
        except SourceUnreachable:
            print("told")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("told\n", "")


def test_big_tables_stream_in_bounded_memory(mariadb_url: str) -> None:
    """A million rows of 300 MB come in batches; the process keeps a few of them."""
    query = "select seq as id, repeat('x', 300) as words from seq_1_to_1000000"
    script = f"""
        import resource
        from profile_pipelines.sources import ReadRequest
        from profile_pipelines_tests.sources.reads import source
        opened = source({{"type": "sql", "url": {mariadb_url!r}}}, query={query!r})
        sizes = []
        for batch in opened.read(ReadRequest(("id", "words"))):
            if not sizes:
                start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            sizes.append(batch.num_rows)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
        print(sum(sizes), max(sizes), grown // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows, largest, grown_mb = map(int, done.stdout.split())
    assert rows == 1_000_000
    assert largest <= BATCH_ROWS
    assert grown_mb < 150
