"""What Salesforce does that no other vendor does: jobs, sessions, allowances, unknown fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import ReadRequest, open_source
from profile_pipelines.sources.rest import RestSource
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.presets import fault_proxy as faults
from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.fault_proxy import proxying
from profile_pipelines_tests.presets.preset_case import Shop, World
from profile_pipelines_tests.presets.salesforce_server import BULK, Salesforce
from profile_pipelines_tests.sources.api_server import serving

JOBS = "/services/data/v62.0/jobs/query"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for jobs, which takes no time here; nor do the pauses before retries."""
    waited: list[float] = []
    monkeypatch.setattr(
        "profile_pipelines.sources.rest_client.RestClient.wait",
        lambda _, seconds: waited.append(seconds),
    )
    monkeypatch.setitem(RestSource.__init__.__kwdefaults__, "first_wait", 0.001)
    return waited


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[World]:
    """The preset as it is shipped, with its server behind the proxy."""
    for name, value in BULK.secrets.items():
        monkeypatch.setenv(name, value)
    with serving() as api, proxying(api.port) as proxy:
        vendor = Salesforce(api)
        yield World(vendor, proxy, Shop(BULK, tmp_path, proxy.url, api.url, retries=1))


def _paths(world: World) -> list[str]:
    return [request.url.path for request in world.vendor.api.requests]


def test_everything_by_a_job_and_changes_by_a_query(world: World, waits: list[float]) -> None:
    """The first sync downloads a job's result, which has the deleted ones; the next ask SOQL."""
    assert isinstance(world.vendor, Salesforce)
    world.vendor.states = ["UploadComplete", "InProgress"]
    for stream in BULK.read:
        world.shop.sync(stream)
        assert world.shop.rows(stream) == world.vendor.expected(stream), stream
    assert waits == [5.0, 5.0]
    assert not any(path.endswith("queryAll") for path in _paths(world))
    world.vendor.change()
    world.vendor.api.requests.clear()
    for stream in BULK.read:
        world.shop.sync(stream)
        assert world.shop.rows(stream) == world.vendor.expected(stream), stream
    assert not any(path.startswith(JOBS) for path in _paths(world))


def test_faults_on_a_jobs_way(world: World) -> None:
    """Starting, asking and downloading are tried again; what lasts is told, and changes nothing."""
    world.shop.sync("contacts")
    before = world.shop.rows("contacts")
    world.vendor.change()
    broken = {
        "429": faults.status(429, retry_after="0"),
        "500": faults.status(500),
        "time-out": faults.silence,
        "cut connection": faults.cut,
        "empty answer": faults.empty,
        "the page before": faults.repeated,
    }
    for name, fault in broken.items():
        for at in (2, 4) if name != "time-out" else (4,):
            world.proxy.make(fault, None, at=range(at, 100))
            with pytest.raises(SourceError, match=r"^vendor\.contacts: ") as raised:
                world.shop.sync("contacts", full=True)
            assert "example.com" not in str(raised.value), name
            assert world.shop.rows("contacts") == before, name
    for at, name in enumerate(["429", "500", "time-out", "cut connection"], start=1):
        world.proxy.make(broken[name], None, at=(at,))
        world.shop.sync("contacts", full=True)
        assert world.proxy.faults == 1, name
        assert world.shop.rows("contacts") == world.vendor.expected("contacts"), name


def test_a_session_that_ends_while_pages_are_read(world: World) -> None:
    """A token that isn't taken any more is fetched anew, and nothing is missing.

    https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
    """
    vendor = world.vendor
    assert isinstance(vendor, Salesforce)
    world.shop.sync("contacts")
    for number in range(3 * PAGE):
        # all at one time, as a data load leaves them
        vendor.add(100 + number, later(COUNT))
    sessions = len(vendor.tokens)
    page = vendor.api.answers["/services/data/v62.0/queryAll"]

    def first_page(request: Request) -> Response:
        answer = page(request)
        vendor.tokens.append("the next session")
        return answer

    vendor.api.answers["/services/data/v62.0/queryAll"] = first_page
    world.shop.sync("contacts")
    assert len(vendor.tokens) == sessions + 3, "one to begin with, one that ended it, one more"
    assert world.shop.rows("contacts") == vendor.expected("contacts")


def test_the_organisations_allowance_is_used_up(world: World) -> None:
    """It is told as what passes, not as a lack of rights.

    https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
    """
    body = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    world.vendor.api.answers[JOBS] = lambda request: JSONResponse(body, 403)
    with pytest.raises(SourceUnreachable, match=r"403 \(REQUEST_LIMIT_EXCEEDED\).*allowance"):
        world.shop.sync("contacts")


def test_a_field_that_is_gone_stops_its_attribute_alone(world: World, tmp_path: Path) -> None:
    """Salesforce refuses the whole query for it; the sync asks again without it."""
    source = tmp_path / "catalog" / "sources" / "vendor.yaml"
    declared = yaml.safe_load(source.read_text(encoding="utf-8"))
    taken = dict.fromkeys(declared["syncs"]["contacts"]["attributes"])
    declared["syncs"]["contacts"]["attributes"] = {
        name: {"suggested": name} | ({"field": "Source__c"} if name == "lead_source" else {})
        for name in taken
    }
    source.write_text(yaml.safe_dump(declared), encoding="utf-8")
    world.shop.workspace = Workspace(world.shop.workspace.places)
    result = world.shop.sync("contacts")
    assert set(result.set_aside) == {"lead_source"}
    expected = world.vendor.expected("contacts")
    assert world.shop.rows("contacts") == {
        key: {**each, "lead_source": None} for key, each in expected.items()
    }


def test_one_record_is_asked_for_with_its_mapped_fields(world: World) -> None:
    """Events and webhooks name records; the fields are those that the sync maps."""
    asked: list[str] = []

    def one(request: Request) -> Response:
        asked.append(request.query_params["fields"])
        return JSONResponse({"Id": "003A", "MailingCountry": "Austria"})

    world.vendor.api.answers["/services/data/v62.0/sobjects/Contact/003A"] = one
    system = world.shop.workspace.catalogue.systems["vendor"]
    opened = open_source(system, system.syncs["contacts"])
    [batch] = opened.read(ReadRequest(("Id", "MailingCountry"), keys=("003A",)))
    assert batch.to_pylist() == [{"Id": "003A", "MailingCountry": "Austria"}]
    assert asked == ["Id,MailingCountry"]
