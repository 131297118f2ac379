"""Every preset through the fault proxy: right values in the lake, or nothing and a plain error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rest import RestSource
from profile_pipelines_tests.presets import fault_proxy as faults
from profile_pipelines_tests.presets.billing_servers import CASES as BILLING
from profile_pipelines_tests.presets.dynamics_server import CASES as DYNAMICS
from profile_pipelines_tests.presets.fault_proxy import Fault, proxying
from profile_pipelines_tests.presets.graphql_shop_server import CASES as GRAPHQL_SHOP
from profile_pipelines_tests.presets.hubspot_server import CASES as HUBSPOT
from profile_pipelines_tests.presets.json_api_server import CASES as JSON_API
from profile_pipelines_tests.presets.preset_case import Case, Shop, World
from profile_pipelines_tests.presets.salesforce_server import CASES as SALESFORCE
from profile_pipelines_tests.presets.shopify_server import CASES as SHOPIFY
from profile_pipelines_tests.presets.support_servers import CASES as SUPPORT
from profile_pipelines_tests.presets.tryton_server import CASES as TRYTON
from profile_pipelines_tests.presets.woocommerce_server import CASES as WOOCOMMERCE
from profile_pipelines_tests.sources.api_server import serving

CASES = [
    *BILLING,
    *SUPPORT,
    *WOOCOMMERCE,
    *SHOPIFY,
    *GRAPHQL_SHOP,
    *SALESFORCE,
    *HUBSPOT,
    *DYNAMICS,
    *JSON_API,
    *TRYTON,
]

PASSING: dict[str, Fault] = {
    "429": faults.status(429, retry_after="0"),
    "500": faults.status(500),
    "time-out": faults.silence,
    "cut connection": faults.cut,
}
"""Tried again, and told when they last."""
HARMLESS: dict[str, Fault] = {
    "overlapping page": faults.overlapping,
    "reordered page": faults.reordered,
}
"""The same records in other pages or another order."""
BROKEN: dict[str, Fault] = {
    "empty answer": faults.empty,
    "changed schema": faults.renamed,
}
"""Answers of which nothing can be made."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses before retries are tested elsewhere."""
    monkeypatch.setitem(RestSource.__init__.__kwdefaults__, "first_wait", 0.001)
    monkeypatch.setattr(
        "profile_pipelines.sources.rest_client.RestClient.wait", lambda _, seconds: None
    )


@pytest.fixture(params=CASES, ids=[case.name or case.preset for case in CASES])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Each preset, with its server behind the proxy."""
    case: Case = request.param
    for name, value in case.secrets.items():
        monkeypatch.setenv(name, value)
    with serving() as api, proxying(api.port) as proxy:
        vendor = case.vendor(api)
        yield World(vendor, proxy, Shop(case, tmp_path, proxy.url, api.url, retries=1))


def _right(world: World) -> None:
    for stream in world.shop.case.read:
        assert world.shop.rows(stream) == world.vendor.expected(stream), stream


def _sync_all(world: World, *, full: bool = False) -> None:
    for stream in world.shop.case.read:
        world.shop.sync(stream, full=full)


def test_brings_what_is_there_and_what_changes(world: World) -> None:
    """All pages, then what was added, changed and deleted; then nothing more."""
    _sync_all(world)
    _right(world)
    assert len(world.vendor.api.requests) >= world.shop.case.pages * len(world.shop.case.read)
    world.vendor.change()
    _sync_all(world)
    _right(world)
    for stream in world.shop.case.read:
        result = world.shop.sync(stream)
        assert (result.changed, result.deleted, result.quarantined) == (0, 0, 0)


def test_wrong_credentials(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told in plain words without being shown, and nothing is committed."""
    for name in world.shop.case.secrets:
        monkeypatch.setenv(name, "w0rn-out")
    stream = world.shop.case.read[0]
    with pytest.raises(SourceError, match="credentials") as raised:
        world.shop.sync(stream)
    assert "w0rn-out" not in str(raised.value)
    assert world.shop.rows(stream) == {}


def test_harmless_faults(world: World) -> None:
    """A fault that passes, and pages that overlap or are in another order, change no value."""
    stream = world.shop.case.read[0]
    for name, fault in {**PASSING, **HARMLESS}.items():
        world.proxy.make(fault, world.shop.case.records[stream], at=(2,))
        told = name in world.shop.case.told
        with pytest.raises(SourceError, match="records") if told else nullcontext():
            world.shop.sync(stream, full=True)
        assert world.proxy.faults == 1, name
        assert world.shop.rows(stream) == world.vendor.expected(stream), name


def test_faults_that_last(world: World) -> None:
    """What never comes whole is told, the last values stay, and the next sync brings the rest."""
    stream = world.shop.case.read[0]
    world.shop.sync(stream)
    before = world.shop.rows(stream)
    world.vendor.change()
    for name, fault in {**PASSING, **BROKEN}.items():
        world.proxy.make(fault, world.shop.case.records[stream], at=range(2, 100))
        with pytest.raises(SourceError, match=r"^vendor\.") as raised:
            world.shop.sync(stream, full=True)
        assert "example.com" not in str(raised.value), name
        assert world.shop.rows(stream) == before, name
    world.proxy.stop()
    world.shop.sync(stream)
    assert world.shop.rows(stream) == world.vendor.expected(stream)


def test_a_page_that_comes_twice(world: World) -> None:
    """A page in place of the next never passes for the whole: told, or nothing is missing."""
    stream = world.shop.case.read[0]
    world.shop.sync(stream)
    before = world.shop.rows(stream)
    world.proxy.make(faults.repeated, world.shop.case.records[stream], at=(2,))
    with suppress(SourceError):
        world.shop.sync(stream, full=True)
    assert world.proxy.faults == 1
    assert world.shop.rows(stream) == before
