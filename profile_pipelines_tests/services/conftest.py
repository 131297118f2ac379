"""A real MariaDB on loopback, from Debian's packages (`make test-services` installs them)."""

from __future__ import annotations

import getpass
import itertools
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

_numbers = itertools.count(1)
_INSTALL = "MariaDB isn't installed: run make test-services, which brings it from Debian's packages"


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[sa.URL]:
    """A server of this test process, its files in a temporary folder."""
    server, install = shutil.which("mariadbd"), shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.fail(_INSTALL)
    folder = Path(tempfile.mkdtemp(prefix="pp_maria"))
    user = getpass.getuser()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = ["--no-defaults", f"--datadir={folder / 'data'}", f"--user={user}"]
    subprocess.run(
        [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    process = subprocess.Popen(
        [
            *(server, *common, "--bind-address=127.0.0.1", f"--port={port}"),
            *(f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"),
            # zero dates, as old applications wrote them
            *("--sql-mode=", "--default-time-zone=+09:00", "--skip-log-bin"),
            "--innodb-buffer-pool-size=64M",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = sa.URL.create("mysql+pymysql", "root", host="127.0.0.1", port=port)
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mariadb_url(mariadb_server: sa.URL) -> Iterator[str]:
    """The URL of a fresh database, for a reader with a password who may only select."""
    name = f"test_{next(_numbers)}"
    run(mariadb_server, f"create database {name} character set utf8mb4")
    run(
        mariadb_server,
        "create or replace user reader identified by 's3cret'",
        f"grant select on {name}.* to reader",
    )
    url = mariadb_server.set(username="reader", password="s3cret", database=name)
    yield url.set(drivername="mysql").render_as_string(hide_password=False)
    run(mariadb_server, f"drop database {name}")


def run(url: sa.URL | str, *statements: str) -> None:
    """Run the statements as the server's administrator."""
    administrator = sa.make_url(url).set(
        drivername="mysql+pymysql", username="root", password="", query={"charset": "utf8mb4"}
    )
    engine = sa.create_engine(administrator, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _wait(url: sa.URL, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and process.poll() is None:
        try:
            return run(url, "select 1")
        except sa.exc.OperationalError:
            time.sleep(0.1)
    raise RuntimeError("MariaDB didn't start")
