"""The five sample systems in one folder: made once, started and stopped together."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import sqlalchemy as sa

from profile_pipelines.demo import billing, crm, shop, support, warehouse
from profile_pipelines.demo.population import people
from profile_pipelines.demo.store import CREDENTIALS, STORE, connect, insert, set_setting, setting
from profile_pipelines.errors import ProfilePipelinesError, SourceUnreachable

YEAR = timedelta(days=365)
_CRM = "crm.db"
_RECORD = "server.json"
_SCHEMA = "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);"

Progress = Callable[[str, int, int], None]
"""What is being made, how many parts are done, and of how many."""


class DemoSystems:
    """Sample systems in a folder; as a context manager they are made, started and stopped.

    `now` is the moment (aware) before which all their data lies, by default the present.
    `crm_url` puts the CRM into another database than a SQLite file in the folder; it must hold
    neither contacts nor accounts.
    """

    def __init__(
        self,
        folder: Path,
        customers: int = 5000,
        seed: int = 7,
        now: datetime | None = None,
        crm_url: str | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._customers = customers
        self._seed = seed
        self._now = now
        self._crm_url = crm_url
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.create()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the started systems that the demo's catalogue reads."""
        port = json.loads((self._folder / _RECORD).read_text())["port"]
        root = f"http://127.0.0.1:{port}"
        with contextlib.closing(connect(self._folder)) as store:
            known = {name: setting(store, name) for name in CREDENTIALS}
        return {
            "CRM_URL": crm_url(self._folder, self._crm_url),
            "BILLING_URL": f"{root}/billing",
            "ECOMMERCE_URL": f"{root}/shop",
            "SUPPORT_URL": f"{root}/support",
            "WAREHOUSE_ROOT": str(self._folder / warehouse.WAREHOUSE),
            **known,
        }

    def create(self, progress: Progress | None = None) -> None:
        """Make the systems' data unless the folder has them.

        Raises ProfilePipelinesError when it has those of other customers or another seed, or can't
        be made.
        """
        wanted = (str(self._customers), str(self._seed))
        if (self._folder / STORE).exists():
            with contextlib.closing(connect(self._folder)) as store:
                found = (setting(store, "customers"), setting(store, "seed"))
            if found != wanted:
                raise ProfilePipelinesError(
                    f"{self._folder} holds sample systems of {found[0]} customers (seed "
                    f"{found[1]}), not {wanted[0]} (seed {wanted[1]}); name another folder or "
                    "delete this one"
                )
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProfilePipelinesError(
                f"the folder {self._folder} can't be made: {error.strerror}; name another"
            ) from None
        for name in (warehouse.WAREHOUSE, _CRM, f"{STORE}.unfinished"):
            path = self._folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self._fill(progress or (lambda what, done, total: None))

    def _fill(self, progress: Progress) -> None:
        now, steps = self._now or datetime.now(UTC), 5
        numbers = np.arange(1, self._customers + 1)
        everyone = people(numbers, now, self._rng(0))
        unfinished = self._folder / f"{STORE}.unfinished"
        with contextlib.closing(sqlite3.connect(unfinished)) as store:
            store.execute("PRAGMA journal_mode = WAL")
            store.execute("PRAGMA synchronous = OFF")
            store.execute("PRAGMA cache_size = -200000")
            store.executescript(_SCHEMA + billing.SCHEMA + shop.SCHEMA + support.SCHEMA)
            progress("billing", 0, steps)
            rng = self._rng(1)
            insert(store, "billing_customers", billing.customer_rows(everyone, now, YEAR, rng))
            rows = billing.subscription_rows(everyone, now, YEAR, rng)
            insert(store, "billing_subscriptions", rows)
            progress("ecommerce", 1, steps)
            insert(store, "shop_customers", shop.rows(everyone, now, YEAR, self._rng(2)))
            progress("support", 2, steps)
            insert(store, "support_users", support.rows(everyone, now, YEAR, self._rng(3)))
            for name in (*CREDENTIALS, "mark"):
                set_setting(store, name, secrets.token_urlsafe(24))
            set_setting(store, "customers", str(self._customers))
            set_setting(store, "seed", str(self._seed))
            set_setting(store, "next_number", str(self._customers + 1))
            store.executescript(billing.INDEXES + shop.INDEXES + support.INDEXES)
            store.commit()
        progress("warehouse", 3, steps)
        rng = self._rng(4)
        scores = warehouse.score_rows(everyone, now, YEAR, rng)
        loyalty = warehouse.loyalty_rows(everyone, now, YEAR, rng)
        warehouse.create(self._folder / warehouse.WAREHOUSE, scores, loyalty, rng)
        progress("crm", 4, steps)
        rng = self._rng(5)
        with crm_engine(self._folder, self._crm_url) as engine:
            crm.create(
                engine,
                crm.account_rows(everyone, now, YEAR, rng),
                crm.contact_rows(everyone, now, YEAR, rng),
            )
        unfinished.rename(self._folder / STORE)
        progress("done", steps, steps)

    def _rng(self, part: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, part])

    def start(self) -> dict[str, str]:
        """Start the server unless one runs in the folder; return the catalogue's variables.

        The server ends with this process, whatever ends it. Raises SourceUnreachable when it
        doesn't come up.
        """
        if self._server is None and not self._runs():
            self._server = self._spawn()
            if not self._runs(timeout=30):
                self.stop()
                raise SourceUnreachable("the sample systems' server did not come up")
        return self.environment

    def _spawn(self) -> subprocess.Popen[bytes]:
        with _listener(self._recorded_port()) as listener:
            listener.set_inheritable(True)
            record = {"port": listener.getsockname()[1]}
            (self._folder / _RECORD).write_text(json.dumps(record))
            module = "profile_pipelines.demo.server"
            return subprocess.Popen(
                [sys.executable, "-m", module, str(self._folder), str(listener.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def _recorded_port(self) -> int:
        try:
            return json.loads((self._folder / _RECORD).read_text())["port"]
        except (OSError, ValueError):
            return 0

    def _runs(self, timeout: float = 2) -> bool:
        """Whether the recorded server answers with this folder's mark.

        A server that is coming up answers as soon as it can: its socket listens already.
        """
        port = self._recorded_port()
        if not port:
            return False
        with contextlib.closing(connect(self._folder)) as store:
            mark = setting(store, "mark")
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=timeout) as answer:
                return answer.read().decode(errors="replace") == mark
        except (URLError, OSError):
            return False

    def stop(self) -> None:
        """Stop the server that this object started; one that it found running goes on."""
        server, self._server = self._server, None
        if server is None or server.stdin is None:
            return
        server.stdin.close()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def crm_url(folder: Path, url: str | None) -> str:
    """The SQLAlchemy URL of the CRM: the given one, or the SQLite file in the folder."""
    return url or f"sqlite:///{folder.resolve() / _CRM}"


@contextlib.contextmanager
def crm_engine(folder: Path, url: str | None):
    """A short-lived engine on the CRM."""
    engine = sa.create_engine(crm_url(folder, url))
    try:
        yield engine
    finally:
        engine.dispose()


def _listener(port: int) -> socket.socket:
    """A socket that listens on loopback, on the given port if that is free."""
    for wanted in (port, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise SourceUnreachable("no free port on loopback for the sample systems")
