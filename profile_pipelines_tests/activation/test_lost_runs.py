"""Whatever happens to customers and to runs, a delivery that comes to its end is exact.

A model in plain Python says who should be where; runs are lost at any place between the ledger
and the destination, as if the process had been killed there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profile_pipelines.activation import api, service, sql_table
from profile_pipelines.errors import NotFound
from profile_pipelines.ledger.deliveries import Deliveries
from profile_pipelines.ledger.delivery_runs import DeliveryRuns
from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.activation.services import FakeCustomerIo, FakeService

KEYS = ("1", "2", "3", "4")
PLACES = (
    (Deliveries, "begin"), (Deliveries, "settle"), (Deliveries, "drop"), (DeliveryRuns, "release"),
    (sql_table.SqlTarget, "add"), (sql_table.SqlTarget, "remove"),
    (service.Service, "add"), (service.Service, "remove"),
)  # fmt: skip


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _rounds() -> st.SearchStrategy[list[list[tuple[str, ...]]]]:
    """Rounds of a few changes, each with a delivery at its end, which most often is killed."""
    customer = st.tuples(
        st.just("customer"),
        st.sampled_from(KEYS),
        st.sampled_from(["active", "churned"]),
        st.sampled_from(["yes", "yes", "no"]),
        st.sampled_from(["a", "b"]),
    )
    other = st.tuples(st.sampled_from(["remove", "unsubscribe"]), st.sampled_from(KEYS))
    changes = st.lists(customer | customer | other, min_size=1, max_size=4)
    killed = st.tuples(
        st.just("killed"), st.integers(0, 7).map(str), st.sampled_from(["before", "after"])
    )
    ends = st.one_of(killed, killed, st.just(("deliver",)))
    rounds = st.tuples(changes, ends).map(lambda each: [*each[0], each[1]])
    return st.lists(rounds, min_size=3, max_size=5)


def _killing(patch: pytest.MonkeyPatch, at: int, when: str, dead: int) -> None:
    """Let the process end before or after the call number `at` at one of the places."""
    count = 0
    gone = False

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count, gone
            if gone:
                raise Killed
            count += 1
            if count > at and when == "before":
                gone = True
                raise Killed
            found = real(*args, **options)
            if count > at:
                gone = True
                raise Killed
            return found

        return call

    for owner, name in PLACES:
        patch.setattr(owner, name, wrapped(getattr(owner, name)))
    patch.setattr(os, "getpid", lambda: dead)


class World:
    """Customers, and who should be at the destination by now."""

    def __init__(self, company: Delivering, held: Callable[[], set[str]], dead: int) -> None:
        self.company, self.held, self.dead = company, held, dead
        self.customers: dict[str, tuple[str, str, str]] = {}
        self.clicked: set[str] = set()

    def happen(self, what: tuple[str, ...]) -> None:
        company = self.company
        match what:
            case ("customer", key, status, opt_in, tier):
                self.customers[key] = (status, opt_in, tier)
                company.customer(key, status=status, opt_in=opt_in, tier=tier)
            case ("remove", key):
                company.remove("crm", key)
                self.customers.pop(key, None)
            case ("unsubscribe", key):
                if key in self.customers and self._is_known(key):
                    company.unsubscribe(f"c{key}@example.com")
                    self.clicked.add(key)
            case ("deliver",):
                assert company.deliver().error is None
                assert self.held() == self.expected
            case ("killed", at, when):
                with pytest.MonkeyPatch.context() as patch:
                    _killing(patch, int(at), when, self.dead)
                    with contextlib.suppress(Killed):
                        company.deliver()
            case _:
                raise AssertionError(what)

    def _is_known(self, key: str) -> bool:
        try:
            self.company.number(key)
        except NotFound:
            return False
        return True

    @property
    def expected(self) -> set[str]:
        return {
            f"c{key}@example.com"
            for key, (status, opt_in, _) in self.customers.items()
            if status == "active" and opt_in == "yes" and key not in self.clicked
        }


def _live(world: World, rounds: list[list[tuple[str, ...]]]) -> None:
    for key in (*KEYS, "9"):
        world.happen(("customer", key, "active", "yes", "a"))
    for each in [*chain.from_iterable(rounds), ("deliver",)]:
        world.happen(each)
    rows = world.company.workspace.ledger.deliveries.rows("out")
    assert len(rows) == len(world.expected)
    assert rows["operation"].null_count() == len(rows)


_RANDOM = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(9))
def test_lost_at_every_place(tmp_path: Path, dead: int, at: int, when: str):
    """Lost anywhere in the first delivery, whose customers leave before the next one: nobody is
    left behind."""
    url = f"sqlite:///{tmp_path / 'out.db'}"
    to = {"type": "sql", "url": url, "table": "people"}
    world = World(
        Delivering(tmp_path, to, batch_size=2, columns=["email"]), lambda: _mails(url), dead
    )
    left = [("customer", key, "churned", "yes", "a") for key in KEYS]
    _live(world, [[("killed", str(at), when), *left]])


@pytest.mark.slow
@_RANDOM
@given(rounds=_rounds())
def test_tables(
    rounds: list[list[tuple[str, ...]]], tmp_path_factory: pytest.TempPathFactory, dead: int
):
    """A table on SQLite holds exactly who should be there after any lost runs."""
    folder = tmp_path_factory.mktemp("lost")
    url = f"sqlite:///{folder / 'out.db'}"
    company = Delivering(
        folder, {"type": "sql", "url": url, "table": "people"}, columns=["email", "tier"],
        batch_size=2,
    )  # fmt: skip
    _live(World(company, lambda: _mails(url), dead), rounds)


@pytest.mark.slow
@settings(_RANDOM, max_examples=2)
@given(rounds=_rounds())
def test_postgresql(
    rounds: list[list[tuple[str, ...]]],
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    dead: int,
):
    """The same with ledger and table on PostgreSQL."""
    import sqlalchemy as sa

    url = postgres_url.replace("postgresql://", "postgresql+psycopg2://")
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("drop schema public cascade"))
        connection.execute(sa.text("create schema public"))
    company = Delivering(
        tmp_path_factory.mktemp("lost"),
        {"type": "sql", "url": postgres_url, "table": "people"},
        ledger=postgres_url,
        columns=["email", "tier"],
        batch_size=2,
    )
    _live(World(company, lambda: _mails(url), dead), rounds)


@pytest.mark.slow
@_RANDOM
@given(rounds=_rounds(), faults=st.lists(st.sampled_from(["", "cut", "hang up"]), max_size=6))
def test_services(
    rounds: list[list[tuple[str, ...]]],
    faults: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    dead: int,
):
    """A service holds exactly who should be there, also when it breaks off in between."""
    with pytest.MonkeyPatch.context() as patch, FakeCustomerIo().running() as sink:
        patch.setattr(api, "FIRST_WAIT", 0.0)
        patch.setenv("OUT_SECRET", "s3cret")
        to = {**_to(sink), "allow_private": True, "retries": 8}
        company = Delivering(tmp_path_factory.mktemp("lost"), to, batch_size=2)
        sink.orders.extend(each or None for each in faults)
        _live(World(company, lambda: sink.held, dead), rounds)


def _to(sink: FakeService) -> dict[str, Any]:
    assert isinstance(sink, FakeCustomerIo)
    return sink.to()


def _mails(url: str) -> set[str]:
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    if not sa.inspect(engine).has_table("people"):
        return set()
    with engine.connect() as connection:
        return set(connection.execute(sa.text("select email from people")).scalars())
