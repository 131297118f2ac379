"""A real help desk, read by the preset for any help desk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profile_pipelines_tests.live import support
from profile_pipelines_tests.live.conftest import Workspace
from profile_pipelines_tests.live.running import System

pytestmark = pytest.mark.live


def test_django_helpdesk(support_system: System, workspace: Callable[..., Workspace]) -> None:
    """Open tickets are counted per customer, over pages; a closed and a new one are seen."""
    space = workspace(support=support_system)
    space.run("check", "--live")
    space.run("sync", "support")
    assert space.values("anna@example.com") == {"open_tickets": 1, "most_urgent": 1}
    [ticket] = [
        each["id"]
        for each in support.tickets(support_system)
        if each["submitter_email"] == "anna@example.com"
    ]
    support.change(support_system, int(str(ticket)), status=4)
    support.create(support_system, "bo@example.com", 2)
    space.run("sync", "support")
    assert space.values("anna@example.com") == {"open_tickets": 0, "most_urgent": None}
    assert space.values("bo@example.com") == {"open_tickets": 2, "most_urgent": 2}
