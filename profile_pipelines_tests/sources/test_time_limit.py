"""What hangs, drips or never ends: each source lets go of a run in the time that is declared."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.requests import Request

from profile_pipelines.catalog.systems import System
from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import ReadRequest, Source, open_limited
from profile_pipelines.sources.time_limit import Stop
from profile_pipelines_tests.sources.api_server import Answer, Api, answer, hang
from profile_pipelines_tests.sources.reads import table

SHORT, LONG = timedelta(milliseconds=300), timedelta(hours=1)


def limited(connection: Mapping[str, Any], *, at_most: timedelta = LONG, **sync: Any) -> Source:
    """The sync `crm.people` as a run opens it."""
    system = System.model_validate(
        {
            "system": "crm",
            "kind": "crm",
            "connection": connection,
            "at_most": at_most,
            "syncs": {"people": {"identifiers": {"id": "id"}, "attributes": {}, **sync}},
        }
    )
    return open_limited(system, system.syncs["people"])


def over_http(api: Api, **connection: Any) -> dict[str, Any]:
    return {
        "type": "rest",
        "base_url": api.url,
        "allow_private": True,
        "retries": 0,
        **connection,
    }


def told(source: Source, field: str = "id") -> str:
    """The message with which reading all of it ends."""
    with pytest.raises(SourceError) as raised:
        table(source, field)
    return str(raised.value)


def pages(*, more: object, record: Any) -> Answer:
    """An API whose every page says that another one follows."""
    number = count(1)

    def page(request: Request) -> Any:
        at = next(number)
        records = record(at)
        return answer({"data": records, "next": f"c{at}", "more": more})(request)

    return page


CURSOR = {"type": "cursor", "param": "after", "next": "next"}


@pytest.mark.parametrize(
    "record",
    [lambda at: [], lambda at: [{"id": 1}], lambda at: [{"id": 1}] if at == 1 else []],
    ids=["empty pages", "the same page", "records, then empty pages"],
)
def test_pages_that_bring_nothing_new_for_ever_are_an_error(server: Api, record: Any) -> None:
    """Cursors that are always new lead on from page to page without an end."""
    server.answers["/people"] = pages(more=True, record=record)
    source = limited(
        over_http(server, paging=CURSOR, max_empty_pages=5), path="people", records="data"
    )
    before = len(server.requests)
    said = told(source)
    assert "crm.people" in said
    assert "the 5 last pages brought nothing new" in said
    assert "`max_empty_pages` of the connection" in said
    assert len(server.requests) - before <= 6


def test_empty_pages_between_others_are_no_error(server: Api) -> None:
    """Fewer than the limit in a row, as APIs with a filter have them."""
    numbers = iter([[{"id": 1}], [], [], [{"id": 2}], [], []])

    def page(request: Request) -> Any:
        records = next(numbers, None)
        following = "c" + str(len(server.requests)) if records is not None else None
        return answer({"data": records or [], "next": following})(request)

    server.answers["/people"] = page
    source = limited(
        over_http(server, paging=CURSOR, max_empty_pages=3), path="people", records="data"
    )
    assert table(source, "id").column("id").to_pylist() == ["1", "2"]


def test_numbered_pages_that_are_one_and_the_same_are_an_error(server: Api) -> None:
    """Also where each answer bears the time at which it was made."""
    number = count()
    server.answers["/people"] = lambda request: answer({"data": [{"id": 1}], "made": next(number)})(
        request
    )
    source = limited(over_http(server, paging={"type": "page"}), path="people", records="data")
    assert "the same page for page=2" in told(source)


def test_pages_with_records_for_ever_end_with_the_syncs_time(server: Api) -> None:
    """Records that are always new: only the time for all of it ends that."""
    server.answers["/people"] = pages(more=True, record=lambda at: [{"id": at}])
    source = limited(over_http(server, paging=CURSOR), at_most=SHORT, path="people", records="data")
    said = told(source)
    assert said.startswith(f"crm.people: 127.0.0.1:{server.port} didn't give its records within")
    assert "`at_most` of the sync or system" in said
    asked = len(server.requests)
    with pytest.raises(SourceUnreachable):
        table(source, "id")
    assert len(server.requests) == asked


def test_a_syncs_own_time_counts_before_its_systems(server: Api) -> None:
    server.answers["/people"] = hang
    source = limited(over_http(server), path="people", at_most=SHORT)
    assert "`at_most`" in told(source)


@contextmanager
def raw_server(answers: bytes, then: bytes = b"") -> Iterator[str]:
    """Sends the beginning at once, then goes on byte by byte, slowly and for ever."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                try:
                    connection.sendall(answers)
                    while then and not ended.wait(0.05):
                        connection.sendall(then)
                    ended.wait()
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("answers", "then", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", b" ", "min_bytes_per_second"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "min_bytes"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", "min_bytes_per_second"),
        (b"", b"H", "min_bytes_per_second"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[", b"", "`timeout`"),
        (b"", b"", "`timeout`"),
    ],
    ids=["body", "chunks", "header", "status", "silent body", "silent"],
)
def test_an_answer_that_drips_or_stops_is_cut(answers: bytes, then: bytes, why: str) -> None:
    """Wherever in the answer; the message has the host, how long, and the setting."""
    with raw_server(answers, then) as url:
        source = limited(
            {
                "type": "rest",
                "base_url": url,
                "allow_private": True,
                "retries": 0,
                "timeout": SHORT,
                "min_bytes_per_second": 1000,
            },
            path="people",
        )
        said = told(source)
    assert said.startswith("crm.people: no whole answer from 127.0.0.1:")
    assert why in said
    assert "0.3" in said


def test_a_slow_answer_that_is_fast_enough_is_read() -> None:
    """Two bytes at a time are enough where so few are allowed."""
    with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n[", b'{"id":"1"}]') as url:
        connection = {"type": "rest", "base_url": url, "allow_private": True, "retries": 0}
        source = limited({**connection, "timeout": SHORT}, path="people")
        assert table(source, "id").column("id").to_pylist() == ["1"]


def psycopg2_engine(url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"))


def test_a_statement_that_hangs_is_cancelled_at_the_database(postgres_url: str) -> None:
    """A lock that isn't given up: the wait ends, and no session goes on waiting at the server."""
    engine = psycopg2_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table people (id text)"))
    try:
        with engine.begin() as locking:
            locking.execute(sa.text("lock table people in access exclusive mode"))
            for limits in ({"timeout": SHORT}, {}):
                source = limited(
                    {"type": "sql", "url": postgres_url, **limits},
                    at_most=LONG if limits else SHORT,
                    table="people",
                )
                said = told(source)
                assert said.startswith("crm.people: ")
                assert "table people of postgresql" in said
                assert ("`timeout` of the connection" in said) is bool(limits)
            asked = locking.execute(
                sa.text("select count(*) from pg_locks where not granted")
            ).scalar()
            assert asked == 0
    finally:
        engine.dispose()


def test_copying_that_hangs_is_cancelled_at_the_database(postgres_url: str) -> None:
    """The records' own statement, which goes by another driver than the questions before it."""
    engine = psycopg2_engine(postgres_url)
    source = limited(
        {"type": "sql", "url": postgres_url, "timeout": SHORT},
        query="select g::text as id from generate_series(1, 3) g "
        "where g < 2 or pg_sleep(60) is not null",
    )
    assert "to give its records, in vain" in told(source)
    with engine.connect() as connection:
        going_on = connection.execute(
            sa.text(
                "select count(*) from pg_stat_activity "
                "where state = 'active' and query like 'COPY%pg_sleep%'"
            )
        ).scalar()
    engine.dispose()
    assert going_on == 0


@pytest.mark.parametrize("backend", ["sqlite", "duckdb"])
def test_an_endless_query_of_a_file_is_interrupted(tmp_path: Path, backend: str) -> None:
    """Its thread ends, too: nothing goes on computing after it was given up."""
    path = tmp_path / f"crm.{backend}"
    engine = sa.create_engine(f"{backend}:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("create table people (id varchar)"))
    engine.dispose()
    source = limited(
        {"type": "sql", "url": f"{backend}:///{path}", "timeout": SHORT},
        query="with recursive n(id) as (select 1 union all select id + 1 from n) "
        "select cast(max(id) as varchar) as id from n",
    )
    before = set(threading.enumerate())
    assert "`timeout` of the connection" in told(source)
    left = {each.name for each in set(threading.enumerate()) - before}
    assert "crm.people" not in left


def test_a_file_that_never_comes_is_given_up(tmp_path: Path) -> None:
    """A named pipe that nobody writes to, as a mount whose server is gone."""
    os.mkfifo(tmp_path / "people.csv")
    source = limited(
        {"type": "files", "root": str(tmp_path), "timeout": SHORT}, path="*.csv", format="csv"
    )
    said = told(source)
    assert "people" in said or "*.csv" in said


def _never(request: ReadRequest, **options: Any) -> Iterator[dict[str, Any]]:
    yield {"id": "1"}
    threading.Event().wait(20)


def test_a_function_of_ones_own_that_hangs_is_given_up() -> None:
    source = limited({"type": "custom", "name": f"{__name__}:_never", "timeout": SHORT}, table=None)
    said = told(source)
    assert f"for {__name__}:_never to give its records, in vain" in said


def test_who_waits_is_woken_by_a_stop(server: Api) -> None:
    """As when somebody presses Ctrl-C while a system's API hangs."""
    server.answers["/people"] = hang
    stop, ended = Stop(), list[type[BaseException]]()

    def wait() -> None:
        stop.heeded()
        try:
            table(limited(over_http(server), path="people"), "id")
        except BaseException as error:
            ended.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.requests:
        thread.join(0.01)
    stop()
    thread.join()
    assert ended == [KeyboardInterrupt]


def test_what_is_read_in_time_is_the_same(server: Api) -> None:
    """Also where the reader has enough before the end."""
    server.answers["/people"] = answer([{"id": str(n)} for n in range(50)])
    source = limited(over_http(server), path="people")
    assert table(source, "id").column("id").to_pylist() == [str(n) for n in range(50)]
    few = source.read(ReadRequest(("id",), limit=3))
    assert next(iter(few)).num_rows >= 3
    few.close()  # type: ignore[attr-defined]
