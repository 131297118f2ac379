"""Deleted records that only a list of their own tells: an archive, delta links."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from profile_pipelines.errors import CatalogueError, SourceError
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.company import Company, catalogue
from profile_pipelines_tests.presets import dynamics_server, hubspot_server
from profile_pipelines_tests.presets.billing_servers import COUNT, later
from profile_pipelines_tests.presets.dynamics_server import Dynamics
from profile_pipelines_tests.presets.hubspot_server import HubSpot
from profile_pipelines_tests.presets.preset_case import Case, Shop
from profile_pipelines_tests.sources.api_server import Api, serving

CONTACT = "c0-0000-0000-0000-000000000002"
"""One of Dataverse's."""


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as made:
        yield made


def shop(case: Case, folder: Path, api: Api, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name, value in case.secrets.items():
        monkeypatch.setenv(name, value)
    return Shop(case, folder, api.url, retries=0)


@pytest.fixture
def hubspot(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[HubSpot, Shop]:
    """HubSpot with a page of contacts more, synced once."""
    vendor = HubSpot(api)
    for number in range(100, 130):
        vendor.add(number, later(0))
    made = shop(hubspot_server.CASES[0], tmp_path, api, monkeypatch)
    made.sync("contacts")
    return vendor, made


@pytest.fixture
def dynamics(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dynamics, Shop]:
    """Dataverse, synced once."""
    vendor = Dynamics(api)
    made = shop(dynamics_server.CASES[0], tmp_path, api, monkeypatch)
    made.sync("contacts")
    api.requests.clear()
    return vendor, made


def test_an_archived_contact_is_gone_and_a_restored_one_back(
    hubspot: tuple[HubSpot, Shop],
) -> None:
    """With the next sync of changes, each time."""
    vendor, made = hubspot
    known = vendor.archive("contacts", "c3", later(COUNT + 1))
    result = made.sync("contacts")
    assert (result.full, result.deleted) == (False, 1)
    assert made.rows("contacts") == vendor.expected("contacts")
    assert made.sync("contacts").deleted == 0
    vendor.restore("contacts", "c3", known, later(COUNT + 2))
    result = made.sync("contacts")
    assert (result.full, result.changed, result.deleted) == (False, 1, 0)
    assert made.rows("contacts") == vendor.expected("contacts")


def test_a_late_entry_does_not_remove_what_came_back(hubspot: tuple[HubSpot, Shop]) -> None:
    """A list that still has it, with a time before its last change, is outdated."""
    vendor, made = hubspot
    known = vendor.archive("contacts", "c3", later(COUNT + 1))
    made.sync("contacts")
    listed = vendor.archived["contacts"]
    vendor.restore("contacts", "c3", known, later(COUNT + 2))
    made.sync("contacts")
    vendor.archived["contacts"] = listed
    # so that the search brings others only
    vendor.add(200, later(COUNT + 2) + timedelta(hours=2))
    made.sync("contacts")
    assert made.sync("contacts").deleted == 0
    assert made.rows("contacts") == vendor.expected("contacts")


def test_too_many_archived_ones_are_set_aside(hubspot: tuple[HubSpot, Shop]) -> None:
    """They count as deletions do: nothing of the sync is taken until it's approved."""
    vendor, made = hubspot
    before = made.rows("contacts")
    for number in range(100, 112):
        vendor.archive("contacts", f"c{number}", later(COUNT + 1))
    result = made.sync("contacts")
    assert "delete" in str(result.set_aside)
    assert made.rows("contacts") == before


def test_one_that_was_never_known_stays_unknown(hubspot: tuple[HubSpot, Shop]) -> None:
    """The archive may hold who was never read."""
    vendor, made = hubspot
    vendor.archived["contacts"] = [{"id": "c999", "archivedAt": "2026-03-01T00:00:00.000Z"}]
    assert made.sync("contacts").deleted == 0
    assert "c999" not in made.rows("contacts")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"archivedAt": "2026-03-01T00:00:00.000Z"}, "has nothing at 'id'"),
        ({"id": "c3"}, "has no time at 'archivedAt'"),
        ({"id": "c3", "archivedAt": "lately"}, "has no time at 'archivedAt'"),
    ],
)
def test_an_entry_that_cannot_be_read_is_told(
    hubspot: tuple[HubSpot, Shop], entry: dict[str, Any], problem: str
) -> None:
    """Nobody is removed by it."""
    vendor, made = hubspot
    vendor.archived["contacts"] = [entry]
    with pytest.raises(SourceError, match=problem):
        made.sync("contacts")
    assert made.rows("contacts") == vendor.expected("contacts")


def test_a_deleted_row_is_told_by_the_delta_link(dynamics: tuple[Dynamics, Shop]) -> None:
    """Once, by the link at which the last sync ended; where nothing happened it stays."""
    vendor, made = dynamics
    vendor.delete("contacts", CONTACT)
    result = made.sync("contacts")
    assert (result.full, result.deleted) == (False, 1)
    assert made.rows("contacts") == vendor.expected("contacts")
    for _ in range(2):
        assert made.sync("contacts").deleted == 0
    tokens = [
        request.query_params["$deltatoken"]
        for request in vendor.api.requests
        if "$deltatoken" in request.query_params
    ]
    assert tokens == [f"0-{COUNT}", f"0-{COUNT + 1}", f"0-{COUNT + 1}"]


def test_a_forgotten_link_has_everything_read(dynamics: tuple[Dynamics, Shop]) -> None:
    """Only that tells what was deleted meanwhile; the next link is of this read."""
    vendor, made = dynamics
    vendor.delete("contacts", CONTACT)
    vendor.forgotten += 1
    result = made.sync("contacts")
    assert (result.full, result.deleted) == (True, 1)
    vendor.delete("contacts", CONTACT[:-1] + "3")
    result = made.sync("contacts")
    assert (result.full, result.deleted) == (False, 1)
    assert made.rows("contacts") == vendor.expected("contacts")


def test_a_row_that_comes_again_stays(dynamics: tuple[Dynamics, Shop]) -> None:
    """What the sync itself brings isn't gone, whatever a list without times says."""
    vendor, made = dynamics
    known = vendor.found["contacts"][CONTACT]
    vendor.delete("contacts", CONTACT)
    made.sync("contacts")
    vendor.found["contacts"][CONTACT] = {**known, "modifiedon": "2026-03-02T20:00:00Z"}
    vendor.log["contacts"].append(CONTACT)
    result = made.sync("contacts")
    assert (result.changed, result.deleted) == (1, 0)
    assert made.rows("contacts") == vendor.expected("contacts")


def test_a_table_without_change_tracking_says_the_way_out(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is refused, and may be left out."""
    vendor = Dynamics(api)
    vendor.tracks_changes = False
    made = shop(dynamics_server.CASES[0], tmp_path, api, monkeypatch)
    with pytest.raises(SourceError, match=r"0x80060892.*write `deleted_list: null`"):
        made.sync("contacts")
    path = tmp_path / "catalog" / "sources" / "vendor.yaml"
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))
    declared["syncs"]["contacts"]["deleted_list"] = None
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    made.workspace = Workspace(made.workspace.places)
    made.sync("contacts")
    assert made.rows("contacts") == vendor.expected("contacts")


LIST = {"path": "/gone", "key": "id"}


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"deleted_list": {**LIST, "deleted": "reason"}}, "deleted and deleted_when go together"),
        ({"deleted_list": {**LIST, "resume": {"next": "n"}, "cursor": {"param": "p"}}}, "either"),
        ({"deleted_list": LIST, "mode": "full"}, "deleted_list: is for incremental syncs"),
        ({"deleted_list": LIST, "key": None}, "key: is missing; deleted_list names records by it"),
        ({"deleted_list": {**LIST, "body": {}, "method": "GET"}}, "GET sends no body"),
        ({"deleted_list": {"path": "/gone"}}, "key"),
    ],
)
def test_mistakes_in_a_list_are_told(tmp_path: Path, changes: dict[str, Any], mistake: str) -> None:
    """When the catalogue is read."""
    declared = catalogue(("crm",), ("tier",))
    connection = {"type": "rest", "base_url": "https://api.example.com"}
    declared["systems"]["crm"]["connection"] = connection
    sync = declared["systems"]["crm"]["syncs"]["people"]
    del sync["table"]
    sync |= {"path": "/people", **changes}
    with pytest.raises(CatalogueError, match=mistake):
        Company(tmp_path, declared)
