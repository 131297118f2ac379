"""A real server with Stripe's API, read by the preset for Stripe."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profile_pipelines_tests.live import billing
from profile_pipelines_tests.live.conftest import Workspace
from profile_pipelines_tests.live.running import System

pytestmark = pytest.mark.live


def test_localstripe(billing_system: System, workspace: Callable[..., Workspace]) -> None:
    """Customers and subscriptions come as they are; a cancelled one is seen by the next read."""
    space = workspace(billing=billing_system)
    space.run("check", "--live")
    space.run("sync", "billing")
    known = {"billing_country": "DE", "payment_overdue": False, "subscription_plan": "gold"}
    known |= {"subscription_amount": 19.99}
    assert space.values("C-1") == {**known, "subscription_status": "active"}
    assert space.values("bo@example.com") == {**known, "subscription_status": "active"}
    [subscription, *_] = billing.get(billing_system, "subscriptions")["data"]
    customer = billing.get(billing_system, f"customers/{subscription['customer']}")
    with billing_system.client(auth=(billing_system.secret, "")) as client:
        client.delete(f"/v1/subscriptions/{subscription['id']}").raise_for_status()
    space.run("sync", "billing")
    assert space.values(customer["email"])["subscription_status"] == "canceled"
