"""A real CRM, read by a declaration of its JSON API."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from profile_pipelines_tests.live import crm
from profile_pipelines_tests.live.conftest import Workspace
from profile_pipelines_tests.live.running import System

pytestmark = pytest.mark.live


def test_bottlecrm(crm_system: System, workspace: Callable[..., Workspace]) -> None:
    """Contacts come over pages; what is changed and deleted there is seen."""
    space = workspace(crm=crm_system)
    space.run("check", "--live")
    space.run("sync", "crm")
    known = {"country": "SE", "employer": "Acme", "do_not_call": False}
    assert space.values("bo@example.com") == known
    crm.change(crm_system, "bo@example.com", do_not_call=True)
    crm.change(crm_system, "cem@example.com")
    space.run("sync", "crm")
    assert space.values("bo@example.com") == {**known, "do_not_call": True}
    space.run("profile", "show", "cem@example.com", code=3)
