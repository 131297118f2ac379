"""All four systems in one catalogue: one customer, one profile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profile_pipelines_tests.live.conftest import Workspace
from profile_pipelines_tests.live.running import System

pytestmark = pytest.mark.live


def test_one_profile_of_four_systems(
    crm_system: System,
    billing_system: System,
    shop_system: System,
    support_system: System,
    workspace: Callable[..., Workspace],
) -> None:
    """What each of the systems knows of a customer stands in one profile."""
    space = workspace(
        crm=crm_system, billing=billing_system, shop=shop_system, support=support_system
    )
    space.run("run")
    found = space.values("C-1")
    assert found["country"] == "DE"
    assert found["subscription_plan"] == "gold"
    assert found["shop_groups"] == ["gold"]
    assert found["open_tickets"] is not None
