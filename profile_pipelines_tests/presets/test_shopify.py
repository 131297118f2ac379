"""What Shopify does differently: bulk operations, throttling by cost, deletions, logins."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines import pipeline
from profile_pipelines.catalog.preset_files import shipped
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rest import RestSource
from profile_pipelines.webhooks.receiver import create_app
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.presets import fault_proxy as faults
from profile_pipelines_tests.presets.fault_proxy import Fault, proxying
from profile_pipelines_tests.presets.preset_case import NOW, Shop, World
from profile_pipelines_tests.presets.shopify_server import BULK, PATH, Shopify
from profile_pipelines_tests.sources.api_server import serving
from profile_pipelines_tests.webhooks import senders


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between polls, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(
        "profile_pipelines.sources.rest_client.RestClient.wait",
        lambda _, seconds: waited.append(seconds),
    )
    monkeypatch.setitem(RestSource.__init__.__kwdefaults__, "first_wait", 0.001)
    return waited


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polls: list[float]) -> Iterator[World]:
    """The shop's server behind the proxy."""
    monkeypatch.setenv("SHOPIFY_ACCESS_TOKEN", "shpat_1")
    with serving() as api, proxying(api.port) as proxy:
        yield World(Shopify(api), proxy, Shop(BULK, tmp_path, proxy.url, retries=1))


def _server(world: World) -> Shopify:
    assert isinstance(world.vendor, Shopify)
    return world.vendor


def _asked(world: World) -> list[str]:
    """The first words of the queries so far."""
    bodies = [body for body in world.vendor.api.bodies if body]
    world.vendor.api.bodies.clear()
    return [" ".join(body["query"].split())[:30] for body in bodies]


def test_only_a_read_of_everything_is_a_bulk_operation(world: World, polls: list[float]) -> None:
    """It is polled until it's done; changes are then asked for page by page, without another."""
    world.shop.sync("customers")
    assert _asked(world) == [
        "mutation ($query: String!) { b",
        "query ($id: ID!) { node(id: $i",
        "query ($id: ID!) { node(id: $i",
    ]
    assert polls == [5.0]
    world.vendor.change()
    world.shop.sync("customers")
    assert set(_asked(world)) == {"query ($after: String, $change"}
    assert world.shop.rows("customers") == world.vendor.expected("customers")


@pytest.mark.parametrize("request_number", [1, 2, 4])
def test_faults_in_a_bulk_operation(world: World, request_number: int) -> None:
    """A fault of its start, a poll or the download that passes changes no value."""
    passing: dict[str, Fault] = {
        "429": faults.status(429, retry_after="0"), "500": faults.status(500), "cut": faults.cut
    }  # fmt: skip
    for name, fault in passing.items():
        world.proxy.make(fault, None, at=(request_number,))
        world.shop.sync("customers", full=True)
        assert world.proxy.faults == 1, name
        assert world.shop.rows("customers") == world.vendor.expected("customers"), name
    world.proxy.make(faults.empty, None, at=(request_number,))
    if request_number < 4:
        with pytest.raises(SourceError, match="isn't whole JSON"):
            world.shop.sync("customers", full=True)
    else:
        assert world.shop.sync("customers", full=True).set_aside
    assert world.shop.rows("customers") == world.vendor.expected("customers")


def test_a_bulk_operation_that_isnt_started(world: World) -> None:
    """Its `userErrors` are told by their number: they may quote the query.

    https://shopify.dev/docs/api/admin-graphql/latest/objects/BulkOperationUserError
    """
    _server(world).refuses = [{"field": None, "message": "A bulk query is already in progress"}]
    with pytest.raises(SourceError, match=r"doesn't start the job \(1 reasons"):
        world.shop.sync("customers")


def test_a_throttled_query_is_asked_again_when_it_can_be_paid(world: World) -> None:
    """A THROTTLED error in an answer of 200 says how many points are missing: 50 of 100 a second.

    https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits
    """
    _server(world).throttles = 1
    world.shop.sync("orders")
    assert world.shop.rows("orders") == world.vendor.expected("orders")
    assert _asked(world).count("mutation ($query: String!) { b") == 2


def test_deleted_customers_and_orders(world: World) -> None:
    """What is gone is noticed when everything is read."""
    for stream in BULK.read:
        world.shop.sync(stream)
    del _server(world).found["customers"]["4"]
    del _server(world).found["orders"]["505"]
    for stream in BULK.read:
        assert world.shop.sync(stream, full=True).deleted == 1, stream
        assert world.shop.rows(stream) == world.vendor.expected(stream)


def test_webhooks_bring_changes_and_deletions_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that an event names is read by its number; one that isn't there, or that the
    event says is deleted, goes.

    https://shopify.dev/docs/api/webhooks/latest: the topic stands in X-Shopify-Topic, the number
    in `id`.
    """
    monkeypatch.setenv("SHOPIFY_CLIENT_SECRET", senders.SECRETS["shopify"])
    _declare(
        world.shop,
        webhook={
            "signature": "shopify",
            "secret": {"env": "SHOPIFY_CLIENT_SECRET"},
            "events": [
                {"types": ["customers/delete"], "sync": "customers", "id": "id", "deleted": True},
                {"types": ["customers/*"], "sync": "customers", "id": "id"},
            ],
        },
    )
    world.shop.sync("customers")
    workspace = world.shop.workspace
    app = create_app(workspace.catalogue, lambda: workspace.ledger.inbox, clock=lambda: NOW)
    found = _server(world).found["customers"]
    found["3"] |= {"state": "DECLINED"}
    del found["5"], found["6"]
    asyncio.run(
        _deliver(
            app,
            senders.shopify("3", "event-1", topic="customers/update"),
            senders.shopify("5", "event-2", topic="customers/update"),
            senders.shopify("6", "event-3", topic="customers/delete"),
        )
    )
    result = pipeline.sync_named_records(
        workspace, "vendor", "customers", now=world.shop.now, run_id="hook"
    )
    assert (result.changed, result.deleted) == (1, 2)
    assert world.shop.rows("customers") == world.vendor.expected("customers")


def test_an_app_that_logs_in_by_its_id_and_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the preset's note says for apps of the Dev Dashboard, which have no token of their own.

    https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant
    """
    monkeypatch.setenv("SHOPIFY_CLIENT_ID", "id-1")
    monkeypatch.setenv("SHOPIFY_CLIENT_SECRET", "secret-1")
    told = next(
        note
        for note in shipped("shopify").preset.streams["customers"].notes
        if "client_credentials" in note
    )
    written: dict[str, Any] = yaml.safe_load(f"{{{told.split('`')[1]}}}")

    def login(request: Request) -> Response:
        sent = {"client_id": "id-1", "client_secret": "secret-1"}
        assert request.state.body == {"grant_type": "client_credentials", **sent}
        return JSONResponse({"access_token": "shpat_1", "scope": "x", "expires_in": 86399})

    world.vendor.api.answers["/admin/oauth/access_token"] = login
    _declare(world.shop, connection={"access_token": None, **written})
    world.shop.sync("orders")
    assert world.shop.rows("orders") == world.vendor.expected("orders")
    assert PATH in {request.url.path for request in world.vendor.api.requests}


async def _deliver(app: Starlette, *posts: senders.Post) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://receiver") as client,
    ):
        for post in posts:
            headers = dict(post.headers)
            answer = await client.post("/webhooks/vendor", content=post.body, headers=headers)
            assert answer.status_code == 200


def _declare(shop: Shop, **changes: Any) -> None:
    """Change the system's file as a user would."""
    path = shop.folder / "catalog" / "sources" / "vendor.yaml"
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    connection = changes.pop("connection", {})
    declared["connection"] = {
        key: value
        for key, value in {**declared["connection"], **connection}.items()
        if value is not None
    }
    path.write_text(yaml.safe_dump({**declared, **changes}, sort_keys=False), encoding="utf-8")
    shop.workspace = Workspace(shop.workspace.places)
