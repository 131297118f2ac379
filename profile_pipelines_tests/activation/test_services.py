"""What services over HTTP are sent, and what becomes of deliveries when they fail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import destination_steps, privacy_steps
from profile_pipelines.activation import api, deliver
from profile_pipelines.activation.deliver import DeliveryResult
from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.activation.services import COLUMNS, KINDS, FakeService
from profile_pipelines_tests.company import HOUR, stamp


class Served:
    """A company that delivers to a service."""

    def __init__(self, folder: Path, kind: str, service: Any, **more: Any) -> None:
        self.kind, self.service = kind, service
        to = {**service.to(), "allow_private": True, **more.pop("to", {})}
        if kind in COLUMNS:
            more["columns"] = COLUMNS[kind]
        self.company = Delivering(folder, to, **more)
        for key in "123":
            self.company.customer(key)

    def key(self, customer: str) -> str:
        """As the service knows a customer."""
        email = f"c{customer}@example.com"
        if self.kind == "webhook":
            return str(self.company.number(customer))
        return hashlib.sha256(email.encode()).hexdigest() if self.kind in COLUMNS else email

    def keys(self, customers: str) -> set[str]:
        return {self.key(each) for each in customers}

    def again(self) -> DeliveryResult:
        """Deliver what is known already."""
        return destination_steps.deliver(
            self.company.workspace, "out", clock=lambda: self.company.now
        )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("OUT_SECRET", "s3cret")


@pytest.fixture(params=list(KINDS))
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """Three customers, not yet delivered, and a service of each kind."""
    with KINDS[request.param]().running() as service:
        yield Served(tmp_path, request.param, service)


def test_changes_arrive(served: Served):
    """Who enters is added and who leaves, withdraws or is deleted is removed, once."""
    company, service = served.company, served.service
    assert company.deliver().added == 3
    assert service.held == served.keys("123")
    calls = len(service.calls)
    assert company.deliver().wrote is False
    assert len(service.calls) == calls
    left = served.keys("1")
    company.customer("2", opt_in="no")
    company.remove("crm", "3")
    company.customer("4")
    done = company.deliver()
    assert (done.added, done.removed, done.error) == (1, 2, None)
    assert service.held == left | served.keys("4")


def test_changed_key_moves(served: Served):
    """Under a new address the customer is added, and under the old one removed."""
    company, service = served.company, served.service
    company.deliver()
    company.customer("1", no="1", email="new@example.com")
    company.deliver()
    emails = {"new@example.com", "c2@example.com", "c3@example.com"}
    if served.kind == "webhook":
        assert len(service.held) == 3
    else:
        hashed = {hashlib.sha256(each.encode()).hexdigest() for each in emails}
        assert service.held == (hashed if served.kind in COLUMNS else emails)


@pytest.mark.parametrize("fault", [500, 503, (429, 0), "cut", "hang up"])
def test_passing_faults(served: Served, fault: Any):
    """A fault that passes is tried again in the same run, and nobody is told twice over."""
    served.service.orders.append(fault)
    done = served.company.deliver()
    assert (done.added, done.error) == (3, None)
    assert served.service.held == served.keys("123")


def test_lasting_faults(served: Served):
    """A service that stays away ends the run with an error; the next one goes on."""
    served.service.orders.extend(["hang up"] * 10)
    done = served.company.deliver()
    assert done.error is not None
    assert "@" not in done.error
    served.service.orders.clear()
    served.company.customer("3", opt_in="no")
    later = served.company.deliver()
    assert later.error is None
    assert served.service.held == served.keys("12")
    assert served.company.workspace.ledger.deliveries.counts()["out"] == {("held", None): 2}


def test_long_pause(served: Served):
    """A service that asks for a long pause is left alone until it is over."""
    company, service = served.company, served.service
    service.orders.append((429, 5400))
    assert "pause" in str(company.deliver().error)
    calls = len(service.calls)
    assert "no request before" in str(served.again().error)
    assert len(service.calls) == calls
    company.now += HOUR
    assert served.again().error is None
    assert service.held == served.keys("123")


def test_a_clock_that_was_a_year_ahead(served: Served):
    """What a service asked for by it, and whom it refused then, doesn't wait for that year."""
    company, service = served.company, served.service
    company.run()
    right = company.now
    company.now += timedelta(days=365)
    service.orders.append((429, 5400))
    assert "pause" in str(served.again().error)
    company.now = right
    if served.kind == "webhook":
        service.unknown = {served.key("2")}
    assert served.again().error is None
    if served.kind == "webhook":
        company.now += timedelta(days=365)
        assert served.again().refused == 1
        service.unknown = set()
        company.now = right
        assert served.again().added == 1
    assert service.held == served.keys("123")


def test_refused_rows(served: Served):
    """Whom a service refuses is kept with the reason, tried again later, and hinders nobody."""
    company, service = served.company, served.service
    if served.kind == "webhook":
        company.run()
    service.unknown = {served.key("2")} if served.kind == "webhook" else {
        hashlib.sha256(b"c2@example.com").hexdigest() if served.kind in COLUMNS
        else "c2@example.com"
    }  # fmt: skip
    done = company.deliver()
    assert (done.added, done.refused, done.error) == (2, 1, None)
    assert service.held == served.keys("13")
    calls = len(service.calls)
    assert company.workspace.ledger.deliveries.counts()["out"][("held", None)] == 2
    company.now -= timedelta(minutes=30)
    again = served.again()
    assert (again.added, again.refused, again.waiting) == (0, 0, 1)
    assert len(service.calls) == calls
    service.unknown = set()
    company.workspace.ledger.deliveries.retry("out", now=company.now)
    assert served.again().added == 1
    assert service.held == served.keys("123")


def test_refused_forever(served: Served):
    """The waits for who is refused again and again grow, and end when the customer leaves."""
    company, service = served.company, served.service
    email = "c2@example.com"
    company.run()
    service.unknown = {served.key("2")}
    times = 0
    for _ in range(8):
        times += served.again().refused
        company.now += HOUR
    assert times == 4
    company.customer("2", email=email, status="churned")
    company.deliver()
    assert ("refused", None) not in company.workspace.ledger.deliveries.counts()["out"]
    assert len(company.workspace.ledger.deliveries.rows("out")) == 2


def test_bad_credentials(served: Served):
    """Refused credentials end the run at once, and the error says where to look."""
    served.service.orders.extend([401, 401, 401])
    done = served.company.deliver()
    assert "credentials" in str(done.error)
    assert "s3cret" not in str(done.error)
    assert served.service.held == set()


def test_missing_secret(served: Served, monkeypatch: pytest.MonkeyPatch):
    """A secret that isn't set is told by its name."""
    monkeypatch.delenv("OUT_SECRET")
    assert "OUT_SECRET isn't set" in str(served.company.deliver().error)
    assert served.service.calls == []


def test_private_addresses(tmp_path: Path):
    """Unless it is allowed nothing is sent to a private address."""
    with KINDS["webhook"]().running() as service:
        served = Served(tmp_path, "webhook", service, to={"allow_private": False})
        assert "private address" in str(served.company.deliver().error)
        assert service.calls == []


def test_same_key_for_the_same_batch(tmp_path: Path):
    """A batch that may have arrived comes again under its own key, with the same words."""
    with KINDS["webhook"]().running() as service:
        served = Served(tmp_path, "webhook", service, batch_size=2, to={"retries": 0})
        service.orders.append("hang up")
        assert served.company.deliver().error is not None
        assert served.again().error is None
        keys = [call.headers["idempotency-key"] for call in service.calls]
        assert keys[0] == keys[1]
        assert json.loads(service.calls[0].body) == json.loads(service.calls[1].body)
        assert len(set(keys)) == 2
        assert len(service.held) == 3


def test_two_profiles_one_address(tmp_path: Path):
    """An address that another member keeps isn't removed when one who shares it leaves."""
    with KINDS["customer_io"]().running() as service:
        served = Served(tmp_path, "customer_io", service, to={"person": "tier"})
        served.company.deliver()
        assert service.held == {"gold"}
        served.company.customer("1", status="churned")
        served.company.deliver()
        assert service.held == {"gold"}
        for key in "23":
            served.company.customer(key, status="churned")
        served.company.deliver()
        assert service.held == set()


def test_erasure_leaves_what_others_share(tmp_path: Path):
    """Who is erased is removed by their key, unless another customer is held by the same."""
    with KINDS["customer_io"]().running() as service:
        served = Served(tmp_path, "customer_io", service, to={"person": "tier"})
        served.company.customer("3", tier="silver")
        served.company.deliver()
        assert service.held == {"gold", "silver"}
        space = served.company.workspace
        for customer, left in {"1": {"gold", "silver"}, "3": {"gold"}, "2": set()}.items():
            numbers = [served.company.number(customer)]
            privacy_steps.erase_people(
                space, numbers, reference=None, by="o", now=served.company.now
            )
            assert service.held == left


def test_refusals_are_isolated_in_few_requests(tmp_path: Path):
    """One customer for whom a whole batch is refused is found by halving it."""
    with KINDS["customer_io"]().running() as service:
        served = Served(tmp_path, "customer_io", service)
        for key in range(10, 110):
            served.company.customer(str(key))
        service.unknown = {"c42@example.com"}
        done = served.company.deliver()
        assert (done.added, done.refused) == (102, 1)
        assert len(service.calls) < 20


def test_a_lost_cause_ends(tmp_path: Path):
    """Where nobody is taken the run ends after a few tries."""

    class Nobody(FakeService):
        to = KINDS["customer_io"].to  # pyright: ignore

        def answer(self, call: Any) -> Any:
            return 422, {}

    with Nobody().running() as service:
        served = Served(tmp_path, "customer_io", service)
        for key in range(10, 110):
            served.company.customer(str(key))
        assert "check the declaration" in str(served.company.deliver().error)
        assert len(service.calls) < 60


def test_click_while_delivering(served: Served, monkeypatch: pytest.MonkeyPatch):
    """Who unsubscribes after the delivery was planned isn't sent any more."""
    company = served.company
    company.run()
    real = deliver.planned

    def planned(*given: Any, **more: Any) -> Any:
        plan = real(*given, **more)
        company.unsubscribe("c2@example.com")
        return plan

    monkeypatch.setattr(deliver, "planned", planned)
    done = served.again()
    assert (done.added, done.without_consent) == (2, 1)
    assert served.service.held == served.keys("13")


def test_joined_profiles(served: Served):
    """Who turns out to be one customer is there once."""
    company = served.company
    company.customer("7", system="billing")
    company.deliver()
    assert len(served.service.held) == 4
    company.put(
        "billing", "7", no="1", email="c1@example.com", status="active", tier="gold",
        opt_in="yes", changed=stamp(30),
    )  # fmt: skip
    company.deliver()
    assert served.service.held == served.keys("123")


def test_without_identifier(tmp_path: Path):
    """Whom the service couldn't know isn't sent, and is counted."""
    with KINDS["customer_io"]().running() as service:
        served = Served(tmp_path, "customer_io", service)
        served.company.customer("4", email=None)
        done = served.company.deliver()
        assert (done.added, done.without_key) == (3, 1)


def test_withdrawal_after_a_refused_change(tmp_path: Path):
    """Who withdraws is removed at once, also while a refused change of theirs waits."""
    with KINDS["webhook"]().running() as service:
        served = Served(tmp_path, "webhook", service, columns={"tier": "mail"})
        company = served.company
        company.deliver()
        service.unknown = {served.key("2")}
        company.customer("2", tier="silver")
        assert company.deliver().refused == 1
        company.customer("2", tier="silver", opt_in="no")
        company.now -= timedelta(minutes=50)
        assert company.deliver().removed == 1
        assert service.held == served.keys("13")


def test_refused_change_taken_back(tmp_path: Path):
    """Whose refused change is taken back at the source counts as delivered again."""
    with KINDS["webhook"]().running() as service:
        served = Served(tmp_path, "webhook", service, columns={"tier": "mail"})
        company = served.company
        company.deliver()
        service.unknown = {served.key("2")}
        company.customer("2", tier="silver")
        company.deliver()
        service.unknown = set()
        company.customer("2", tier="gold")
        company.now -= timedelta(minutes=50)
        company.deliver()
        assert company.workspace.ledger.deliveries.counts() == {"out": {("held", None): 3}}
