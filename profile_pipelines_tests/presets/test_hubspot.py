"""What HubSpot's searches do that its lists don't."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines_tests.presets import fault_proxy as faults
from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.fault_proxy import proxying
from profile_pipelines_tests.presets.hubspot_server import CAP, CASES, HubSpot
from profile_pipelines_tests.presets.preset_case import Case, Shop, World
from profile_pipelines_tests.sources.api_server import serving

_CAPPED = Case(
    **{
        **vars(CASES[0]),
        "records": {"contacts": "results"},
        "syncs": {"rate_limit": "1000 per 1 second", "window": {"cap": CAP}},
    }
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The preset with a lower cap, and its server behind the proxy."""
    monkeypatch.setenv("HUBSPOT_ACCESS_TOKEN", "pat-eu1")
    with serving() as api, proxying(api.port) as proxy:
        yield World(
            HubSpot(api), proxy, Shop(_CAPPED, tmp_path, proxy.url, retries=0, timeout="5s")
        )


def test_more_changes_than_a_search_gives(world: World) -> None:
    """Searches are asked anew from the last one's time, also where many have the same time.

    https://developers.hubspot.com/docs/api-reference/legacy/crm/search-the-crm#limitations
    """
    vendor = world.vendor
    assert isinstance(vendor, HubSpot)
    world.shop.sync("contacts")
    for number in range(3 * CAP):
        # some at one and the same millisecond, as an import leaves them
        vendor.add(100 + number, later(COUNT) + timedelta(milliseconds=number // 5))
    world.vendor.api.requests.clear()
    world.shop.sync("contacts")
    paths = [request.url.path for request in vendor.api.requests]
    assert paths[0] == "/crm/v3/objects/contacts"
    assert set(paths[1:]) == {"/crm/v3/objects/contacts/search"}
    assert world.shop.rows("contacts") == vendor.expected("contacts")


def test_faults_while_changes_are_searched(world: World) -> None:
    """What doesn't come whole is told and changes nothing; the next sync brings it."""
    world.shop.sync("contacts")
    before = world.shop.rows("contacts")
    assert isinstance(world.vendor, HubSpot)
    world.vendor.change()
    for number in range(2 * PAGE):
        world.vendor.add(100 + number, later(COUNT + number))
    broken = {
        "429": faults.status(429, retry_after="0"),
        "500": faults.status(500),
        "time-out": faults.silence,
        "cut connection": faults.cut,
        "empty answer": faults.empty,
        "reordered page": faults.reordered,
        "changed schema": faults.renamed,
        "the page before": faults.repeated,
    }
    # the first request is for the list of archived ones
    for name, fault in broken.items():
        world.proxy.make(fault, "results", at=(3,) if name == "the page before" else (2,))
        with pytest.raises(SourceError, match=r"^vendor\.contacts: ") as raised:
            world.shop.sync("contacts")
        assert "example.com" not in str(raised.value), name
        assert world.shop.rows("contacts") == before, name
    world.proxy.stop()
    world.shop.sync("contacts")
    assert world.shop.rows("contacts") == world.vendor.expected("contacts")
