"""A copy of the ledger as it is at one moment, while others write to it, and its way back.

The copy is an SQLite file, whatever the ledger is: so it is proved, and worked on, without a
server. SQLite is copied by its own backup interface; any other database is read in one
repeatable-read transaction, and needs none of its server's programs.
"""

from __future__ import annotations

import pkgutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

import sqlalchemy as sa

from profile_pipelines.errors import LakeError
from profile_pipelines.ledger.pair import LedgerPair
from profile_pipelines.ledger.storage import create_tables, open_engine

_AT_ONCE = 10_000
_PAIR = ("pair", "pair_marks", "pair_heads", "pair_generations", "sequences")


def copy_out(
    url: str,
    file: Path,
    meanwhile: Callable[[LedgerPair], bool],
    told: Callable[[str], None] = lambda table: None,
) -> bool:
    """Copy the ledger at `url` into a new SQLite file, as it is at the first look.

    `meanwhile` hears of the pair as the copy knows it, when nothing that is written from now on
    can come into the copy any more; where it says no, the copy is broken off. `told` hears of the
    table that is being copied. Whether all was copied. Raises LakeError when it can't be read.
    """
    engine = open_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _back_up(engine, file)
            with _opened(file) as copy:
                return meanwhile(LedgerPair(copy))
        with _opened(file) as copy:
            return _read_out(engine, copy, meanwhile, told)
    finally:
        engine.dispose()


def copy_in(file: Path, url: str, told: Callable[[str], None] = lambda table: None) -> None:
    """Put a copy in place of all that the ledger at `url` holds: in one transaction, so that it
    has all of it or nothing. Raises LakeError when it can't be written."""
    engine = open_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _put_back(file, engine)
            return
        with _opened(file) as copy:
            _read_in(copy, engine, told)
    finally:
        engine.dispose()


def count_rows(file: Path) -> dict[str, int]:
    """How many rows each table of a copy has. Raises LakeError where the file isn't sound."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            said = database.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        raise LakeError(f"the copy of the ledger can't be opened: {error}") from None
    if said != "ok":
        raise LakeError("the copy of the ledger isn't sound: SQLite finds damage in it")
    with _opened(file) as copy, copy.connect() as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in _there(copy)
        }


def is_empty(url: str) -> bool:
    """Whether the ledger at `url` holds nothing. Raises LakeError when it can't be read."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return all(
                connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
                is None
                for table in _there(engine)
            )
    finally:
        engine.dispose()


@cache
def _tables() -> tuple[sa.Table, ...]:
    """All tables of a ledger: each of this package's modules declares its own."""
    folder = [str(Path(__file__).parent)]
    modules = [import_module(f"{__package__}.{each.name}") for each in pkgutil.iter_modules(folder)]
    found = {
        table.name: table
        for module in modules
        for declared in vars(module).values()
        if isinstance(declared, sa.MetaData)
        for table in declared.sorted_tables
    }
    first = [found[name] for name in _PAIR]
    return (*first, *(table for name, table in sorted(found.items()) if name not in _PAIR))


def _there(engine: sa.Engine) -> list[sa.Table]:
    names = set(sa.inspect(engine).get_table_names())
    return [table for table in _tables() if table.name in names]


def _create(engine: sa.Engine) -> None:
    for metadata in {table.metadata for table in _tables()}:
        create_tables(metadata, engine)


@contextmanager
def _opened(file: Path) -> Generator[sa.Engine]:
    engine = open_engine(f"sqlite:///{file}")
    try:
        yield engine
    finally:
        engine.dispose()


def _database_of(engine: sa.Engine) -> Path:
    named = engine.url.database
    if named in (None, "", ":memory:"):
        raise LakeError("a ledger in memory can't be backed up or restored; name a file")
    return Path(str(named))


@contextmanager
def _copying(source: object, target: object) -> Generator[None]:
    """Whatever keeps SQLite from copying one file to another leaves as LakeError."""
    try:
        yield
    except sqlite3.Error as error:
        raise LakeError(
            f"the ledger can't be copied from {source} to {target}: {error}; see that both can be "
            "read and written and that there is room, and run it again"
        ) from None


def _back_up(engine: sa.Engine, file: Path) -> None:
    copying = _copying(_database_of(engine), file)
    with copying, engine.connect() as connection, closing(sqlite3.connect(file)) as copy:
        source = connection.connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        # all pages at once: in parts, it would begin anew whenever another process writes
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = delete")


def _put_back(file: Path, engine: sa.Engine) -> None:
    copying = _copying(file, _database_of(engine))
    with copying, engine.connect() as connection, closing(sqlite3.connect(file)) as copy:
        target = connection.connection.driver_connection
        assert isinstance(target, sqlite3.Connection)
        copy.backup(target, pages=-1)


def _read_out(
    engine: sa.Engine,
    copy: sa.Engine,
    meanwhile: Callable[[LedgerPair], bool],
    told: Callable[[str], None],
) -> bool:
    _create(copy)
    tables = _there(engine)
    reading = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**reading) as connection:
        of_pair = [table for table in tables if table.name in _PAIR]
        for table in of_pair:  # the first of these reads fixes what all the others see
            _transfer(connection, copy, table)
        if not meanwhile(LedgerPair(copy)):
            return False
        for table in tables:
            if table not in of_pair:
                told(table.name)
                _transfer(connection, copy, table)
    return True


def _transfer(source: sa.Connection, target: sa.Engine, table: sa.Table) -> None:
    rows = source.execution_options(stream_results=True).execute(sa.select(table))
    with target.begin() as connection:
        _insert(connection, table, rows)


def _insert(
    connection: sa.Connection, table: sa.Table, rows: sa.Result[tuple[object, ...]]
) -> None:
    for part in rows.mappings().partitions(_AT_ONCE):
        connection.execute(sa.insert(table), [dict(row) for row in part])


def _read_in(copy: sa.Engine, engine: sa.Engine, told: Callable[[str], None]) -> None:
    _create(engine)
    with copy.connect() as source, engine.begin() as connection:
        there = {table.name for table in _there(copy)}
        for table in _tables():
            told(table.name)
            connection.execute(sa.delete(table))
            if table.name in there:
                _insert(connection, table, source.execute(sa.select(table)))
            _count_on(connection, table)


def _count_on(connection: sa.Connection, table: sa.Table) -> None:
    """Let a key that counts up by itself go on above what was put in."""
    counted = table.autoincrement_column
    if counted is None or connection.dialect.name != "postgresql":
        return
    last = sa.select(sa.func.coalesce(sa.func.max(counted), 0) + 1).scalar_subquery()
    sequence = sa.func.pg_get_serial_sequence(table.name, counted.name)
    connection.execute(sa.select(sa.func.setval(sequence, last, False)))
