"""A real shop with a GraphQL API, read by the preset for any such shop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profile_pipelines_tests.live import shop
from profile_pipelines_tests.live.conftest import Workspace
from profile_pipelines_tests.live.running import System

pytestmark = pytest.mark.live


def test_vendure(shop_system: System, workspace: Callable[..., Workspace]) -> None:
    """A login, pages by offset, then a new customer and one who was changed, by a filter."""
    space = workspace(shop=shop_system)
    space.run("check", "--live")
    space.run("sync", "shop")
    assert space.values("anna@example.com") == {"shop_groups": ["gold"], "shop_verified": True}
    assert space.values("bo@example.com") == {"shop_groups": [], "shop_verified": True}
    customers = shop.ask(shop_system, "{ customers { items { id emailAddress } } }")
    [bo] = [
        each["id"]
        for each in customers["customers"]["items"]
        if each["emailAddress"] == "bo@example.com"
    ]
    shop.join(shop_system, [bo])
    shop.ask(
        shop_system,
        "mutation ($c: UpdateCustomerInput!) { updateCustomer(input: $c) { __typename } }",
        c={"id": bo, "phoneNumber": "+49 30 1"},
    )
    space.run("sync", "shop")
    assert space.values("bo@example.com")["shop_groups"] == ["gold"]
