"""One database by its URL: connections, what they raise, and how it's told to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.sql_dialects import DRIVERS, TEXT_IN_UTF8, create_engine
from profile_pipelines.sources.sql_refusals import refusal

_CONNECT_SECONDS = 10
_VALUE_ERRORS = (ValueError, OverflowError, pa.ArrowException)
"""What drivers raise for values that Python hasn't, such as texts in no encoding and years BC."""


class Database:
    """A database, not contacted yet. `where` begins every message, and `origin` names the table
    or query in those about its records.

    Raises SourceError for what isn't a URL.
    """

    def __init__(self, where: str, url: str, origin: str) -> None:
        self.where = where
        self.origin = origin
        self.url = _url(where, url)
        self.backend = self.url.get_backend_name()
        self._cancels: set[Callable[[], None]] = set()
        self._given_up = False

    @property
    def place(self) -> str:
        """The database, without user, password or options."""
        host = f"{self.url.host}:{self.url.port}" if self.url.port else self.url.host
        names = "/".join(part for part in (host, self.url.database) if part)
        return f"{self.backend} {names}".strip()

    @contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """One connection of its own, closed at the end; raises SourceUnreachable."""
        engine = self._engine()
        try:
            try:
                connection = engine.connect()
            except (exc.DBAPIError, OSError) as error:
                raise SourceUnreachable(
                    f"{self.where}: can't connect to {self.place}: {self.said(error)}"
                ) from None
            with connection, self.cancelled_by(lambda: _cancel(connection)):
                yield connection
        finally:
            engine.dispose()

    def cancel(self) -> None:
        """End the statements that are under way, from another thread, and begin no other."""
        self._given_up = True
        for cancel in list(self._cancels):
            cancel()

    @contextmanager
    def cancelled_by(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Within the block, what ends its statement from another thread."""
        self._cancels.add(cancel)
        try:
            if self._given_up:
                raise SourceUnreachable(f"{self.where}: {self.place} isn't waited for any more")
            yield
        finally:
            self._cancels.discard(cancel)

    def first(self, connection: sa.Connection, statement: sa.Select[Any]) -> Any:
        """The first row of the statement's result, or None; raises SourceError."""
        try:
            return connection.execute(statement).first()
        except (exc.DBAPIError, *_VALUE_ERRORS) as error:
            raise self.failed(connection, error) from None

    def broken(self, error: exc.DBAPIError) -> SourceError:
        """What to raise for what a driver says, which isn't shown: it may quote records."""
        return refusal(
            self.where, self.place, self.origin, error.orig, is_lost=error.connection_invalidated
        )

    def failed(self, connection: sa.Connection, error: Exception) -> Exception:
        """What to raise for an error while records were read: a driver's own may quote them."""
        if isinstance(error, exc.DBAPIError):
            return self.broken(error)
        if isinstance(error, (*_VALUE_ERRORS, _driver_errors(connection))):
            return refusal(self.where, self.place, self.origin, error)
        return error

    def said(self, error: BaseException) -> str:
        """What the driver says of a connection or a name: its first line, without the password."""
        said = str(getattr(error, "orig", None) or error).strip()
        first = said.splitlines()[0] if said else type(error).__name__
        password = self.url.password
        return first.replace(str(password), "***") if password else first

    def _engine(self) -> sa.Engine:
        backend, database = self.backend, self.url.database
        # SQLite and DuckDB would make an empty database of a mistyped path
        is_file = backend in ("sqlite", "duckdb") and database and ":" not in database
        if is_file and not Path(str(database)).is_file():
            name = "SQLite" if backend == "sqlite" else "DuckDB"
            missing = f"{self.where}: there is no {name} file {database}"
            if not Path(str(database)).is_absolute():
                missing += (
                    f" in {Path.cwd()}; a path from the root has four slashes: "
                    f"{backend}:////{database}"
                )
            raise SourceUnreachable(missing)
        options: dict[str, Any] = {**TEXT_IN_UTF8.get(backend, {})}
        if backend == "postgresql":
            options["connect_timeout"] = self.url.query.get("connect_timeout", _CONNECT_SECONDS)
        elif backend in ("mysql", "mariadb"):
            options["connect_timeout"] = _CONNECT_SECONDS
        elif backend == "duckdb" and is_file:
            # another process may have it open, and a mistyped path makes no new file
            options["read_only"] = True
        engine = create_engine(self.where, self.url, options)
        is_postgres = backend == "postgresql"
        return engine.execution_options(postgresql_readonly=True) if is_postgres else engine


def _url(where: str, text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise SourceError(
            f"{where}: the connection's url isn't one; "
            "it looks like postgresql://user:password@host:5432/database"
        ) from None
    if url.get_backend_name() in ("sqlite", "duckdb") and url.host:
        # not shown: it may hold a password by mistake
        raise SourceError(
            f"{where}: a {url.get_backend_name()} url names a file, not a host: three slashes come "
            f"before a path from here, {url.get_backend_name()}:///data/crm.db, and four before "
            f"one from the root, {url.get_backend_name()}:////data/crm.db"
        )
    if url.drivername in DRIVERS:
        # SQLAlchemy would take another one, which isn't what the extras bring
        database = "postgresql" if url.drivername == "postgres" else url.drivername
        return url.set(drivername=f"{database}+{DRIVERS[url.drivername]}")
    return url


def _cancel(connection: sa.Connection) -> None:
    """As far as the driver can: the statement ends at the database, or the connection here."""
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name in ("mysql", "mariadb"):
        with connection.engine.connect() as other:
            other.exec_driver_sql(f"KILL QUERY {int(driver.thread_id())}")
        return
    for name in ("cancel", "interrupt"):
        if callable(end := getattr(driver, name, None)):
            end()
            return


def _driver_errors(connection: sa.Connection) -> type[Exception]:
    return getattr(connection.dialect.dbapi, "Error", exc.DBAPIError)
