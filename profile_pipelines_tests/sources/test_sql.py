from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import BATCH_ROWS, ReadRequest
from profile_pipelines.sources.reading import problem_of
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def crm(tmp_path: Path) -> dict[str, str]:
    return {"type": "sql", "url": f"sqlite:///{tmp_path / 'crm.db'}"}


def people(database: sqlite3.Connection, times: list[object]) -> None:
    database.execute('create table people (id integer, "e mail" text, changed)')
    database.executemany(
        "insert into people values (?, ?, ?)",
        [(number, f"p{number}@example.org", time) for number, time in enumerate(times)],
    )


def test_brings_only_the_fields_asked_for_as_text(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """SQLite's values come as text under the declared names, in the requested order."""
    people(database, [None, "2024-05-01"])
    found = table(source(crm, table="people"), "e mail", "id", "changed")
    assert found.to_pydict() == {
        "e mail": ["p0@example.org", "p1@example.org"],
        "id": ["0", "1"],
        "changed": [None, "2024-05-01"],
    }


def test_plain_names_are_told_as_mapped_where_the_database_folds_them(
    database: sqlite3.Connection, crm: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Snowflake does: EMAIL is `email`, also below a path, unless it's mapped as EMAIL."""
    monkeypatch.setattr("sqlalchemy.engine.default.DefaultDialect.requires_name_normalize", True)
    database.execute('create table people (ID integer, EMAIL text, DATA text, "Mixed" text)')
    database.execute("""insert into people values (1, 'a@b.de', '{"name": "A"}', 'm')""")
    mapped = {"tier": "data.name", "status": "EMAIL", "level": "Mixed", "ids": "IDS"}
    crm_source = source(crm, table="people", key="id", attributes=mapped)
    assert list(crm_source.inspect()) == ["id", "EMAIL", "data", "Mixed"]
    assert table(crm_source, "id", "EMAIL", "data.name", "Mixed").to_pylist() == [
        {"id": "1", "EMAIL": "a@b.de", "data.name": "A", "Mixed": "m"}
    ]


def test_paths_look_into_columns_of_json(database: sqlite3.Connection, crm: dict[str, str]) -> None:
    """A field may be a path into a column's JSON; a column of the very name wins."""
    database.execute('create table people (id integer, data text, "data.name" text)')
    rows = [
        (1, '{"tags": [{"n": "a"}, {"n": "b"}], "name": "inner", "size": 1.50}', "outer"),
        (2, "broken", None),
        (3, None, None),
    ]
    database.executemany("insert into people values (?, ?, ?)", rows)
    found = table(source(crm, table="people"), "data.tags[*].n", "data.name", "id", "data.size")
    assert found.to_pydict() == {
        "data.tags[*].n": ['["a", "b"]', "broken", None],
        "data.name": ["outer", None, None],
        "id": ["1", "2", "3"],
        "data.size": ["1.5", "broken", None],
        problem_of("data.tags[*].n"): [None, "isn't JSON", None],
        problem_of("data.size"): [None, "isn't JSON", None],
    }
    with pytest.raises(SourceError, match=r"there is no column 'dat.name'.*did you mean"):
        values(source(crm, table="people"), "dat.name")


def test_mixed_values_of_one_column_all_come_as_text(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """A column in which SQLite holds several types has one type in every batch."""
    people(database, [1, 2.5, "x", b"y", None])
    assert values(source(crm, table="people"), "changed") == ["1", "2.5", "x", "y", None]


def test_large_tables_come_in_bounded_batches(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """No batch has more rows than the limit, and none is lost between batches."""
    database.execute(
        "create table people as with recursive n(id) as "
        "(select 1 union all select id + 1 from n where id < 130000) select id from n"
    )
    batches = list(source(crm, table="people").read(ReadRequest(("id",))))
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert sum(batch.num_rows for batch in batches) == 130_000
    assert len({batch.schema for batch in batches}) == 1


@pytest.mark.parametrize(
    ("before", "at", "after"),
    [
        ("2024-05-01 11:59:59", "2024-05-01 12:00:00", "2024-05-01 12:00:01"),
        ("2024-05-01T11:59:59Z", "2024-05-01T12:00:00Z", "2024-05-01T12:00:01Z"),
        ("2024-05-01T13:59:59+02:00", "2024-05-01T14:00:00+02:00", "2024-05-01T05:00:01-07:00"),
        (1714564799, 1714564800, 1714564801),
        (1714564799000, 1714564800000, 1714564800500),
    ],
)
def test_incremental_reads_include_ties_and_unknown_times(
    database: sqlite3.Connection, crm: dict[str, str], before: object, at: object, after: object
) -> None:
    """Records at the cursor come again, older ones don't, in every spelling of a time."""
    people(database, [before, at, after, None])
    opened = source(crm, table="people", updated_at="changed")
    assert values(opened, "id", since=NOON) == ["1", "2", "3"]


def test_newer_records_are_seen_without_reading(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """Only a record after the cursor, or one without a time, counts as newer."""
    people(database, ["2024-05-01T11:00:00Z", "2024-05-01T12:00:00Z"])
    opened = source(crm, table="people", updated_at="changed")
    assert opened.has_newer(NOON) is False
    assert opened.has_newer(NOON.replace(hour=11)) is True
    people_without_time = source(crm, query="select 1 as id, null as changed", updated_at="changed")
    assert people_without_time.has_newer(NOON) is True
    assert source(crm, table="people").has_newer(NOON) is None


def test_the_mark_moves_with_ties_deletions_and_changes(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """A late record that bears the newest time already known still moves the mark."""
    people(database, ["2024-05-01", "2024-05-02"])
    opened = source(crm, table="people", updated_at="changed")
    marks = [opened.change_mark(), opened.change_mark()]
    for statement in (
        "update people set changed = '2024-05-02' where id = 0",
        "delete from people where id = 0",
        "update people set changed = '2024-05-03'",
    ):
        database.execute(statement)
        marks.append(opened.change_mark())
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4


def test_queries_may_hold_colons_percents_comments_and_semicolons(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """A query is the user's text; nothing in it is taken for a parameter."""
    query = "select '10:30 :x 5%' as id, 'a' as b -- the last line; with :comment\n;"
    assert values(source(crm, query=query), "id") == ["10:30 :x 5%"]


def test_a_missing_column_is_named_with_its_likeliest_spelling(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """The error says which sync, which field, and what is there instead."""
    people(database, [])
    with pytest.raises(SourceError, match=r"crm\.people.*'e_mail'.*did you mean e mail"):
        table(source(crm, table="people"), "id", "e_mail")
    with pytest.raises(SourceError, match=r"'modified'.*there are: changed, e mail, id"):
        table(source(crm, table="people", updated_at="modified"), "id")


def test_a_missing_table_is_named_with_its_likeliest_spelling(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """A mistyped table isn't mistaken for a database that can't be reached."""
    people(database, [])
    with pytest.raises(SourceError, match="no table 'poeple': did you mean people") as caught:
        table(source(crm, table="poeple"), "id")
    with pytest.raises(SourceError, match="no schema 'nope': there are: main"):
        table(source(crm, table="nope.people"), "id")
    assert not isinstance(caught.value, SourceUnreachable)


def test_a_broken_query_says_what_the_database_says(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """The database's own words about the user's own SQL are shown."""
    with pytest.raises(SourceError, match="syntax error"):
        table(source(crm, query="selekt 1"), "id")


def test_a_missing_sqlite_file_is_not_created(crm: dict[str, str], tmp_path: Path) -> None:
    """A mistyped path is an error, not a new and empty database."""
    with pytest.raises(SourceUnreachable, match="no SQLite file"):
        table(source(crm, table="people"), "id")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://crm.db", "three slashes come before a path from here"),
        ("sqlite:///data/crm.db", "has four slashes: sqlite:////data/crm.db"),
    ],
)
def test_a_wrong_number_of_slashes_is_told(url: str, said: str) -> None:
    """With the url that is meant."""
    with pytest.raises(SourceError, match=said):
        table(source({"type": "sql", "url": url}, table="people"), "id")


def test_hostile_names_stay_names(database: sqlite3.Connection, crm: dict[str, str]) -> None:
    """Quotes and SQL in declared names never become part of the statement."""
    database.execute("create table people (id integer)")
    with pytest.raises(SourceError, match="no column"):
        table(source(crm, table="people"), 'id", (select 1) as "x')
    with pytest.raises(SourceError, match="no table"):
        table(source(crm, table='people"; drop table people; --'), "id")
    assert database.execute("select count(*) from people").fetchone() == (0,)


def test_inspect_gives_the_declared_types(
    database: sqlite3.Connection, crm: dict[str, str]
) -> None:
    """What can be mapped is listed with the database's own types."""
    people(database, [])
    assert source(crm, table="people").inspect() == {
        "id": "INTEGER",
        "e mail": "TEXT",
        "changed": "NULL",
    }


@pytest.mark.parametrize("url", ["not a url", "nosuchdb://host/x", "oracle+cx_oracle://h/x"])
def test_urls_that_nothing_reads_are_explained(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong URL in the environment, or a missing driver, is an error for people."""
    monkeypatch.setenv("CRM_URL", url)
    with pytest.raises(SourceError, match=r"url isn't one|no driver"):
        table(source({"type": "sql", "url": {"env": "CRM_URL"}}, table="people"), "id")


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing variable is named; a present one is read at use."""
    monkeypatch.delenv("CRM_URL", raising=False)
    declared = {"type": "sql", "url": {"env": "CRM_URL"}}
    with pytest.raises(SourceError, match="environment variable CRM_URL isn't set"):
        source(declared, table="people")
    monkeypatch.setenv("CRM_URL", "sqlite://")
    assert values(source(declared, query="select 1 as id"), "id") == ["1"]
