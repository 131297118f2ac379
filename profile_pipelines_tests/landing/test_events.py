"""A system's event log: which records a sync reads again, and when it reads everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines_tests.company import HOUR, Company, catalogue
from profile_pipelines_tests.sources.api_server import Api, answer, serving


class Crm:
    """An API with people, and a log of what happened to them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.people: dict[str, dict[str, str]] = {}
        self.log: list[dict[str, Any]] = []
        api.answers["/events"] = lambda request: answer(
            [e for e in self.log if e["at"] >= int(request.query_params["since"])]
        )(request)
        for key in "123":
            self.put(key)

    def put(self, key: str, **values: str) -> None:
        self.people[key] = {"id": key, "no": key, "status": "active", "tier": "gold", **values}
        self._answer()

    def remove(self, key: str) -> None:
        del self.people[key]
        self.api.answers[f"/people/{key}"] = answer({}, 404)
        self._answer()

    def happens(self, key: str, at: datetime) -> None:
        event = {"event": f"e{len(self.log)}", "at": int(at.timestamp()), "person": {"id": key}}
        self.log.append(event)

    def asked(self) -> list[str]:
        """The paths asked for since this was last called."""
        paths = [request.url.path for request in self.api.requests]
        self.api.requests.clear()
        return paths

    def _answer(self) -> None:
        self.api.answers["/people"] = answer(list(self.people.values()))
        for key, person in self.people.items():
            self.api.answers[f"/people/{key}"] = answer(person)


@pytest.fixture
def crm() -> Iterator[Crm]:
    with serving() as api:
        yield Crm(api)


@pytest.fixture
def company(crm: Crm, tmp_path: Path) -> Company:
    """A company over this CRM, synced once, an hour ago."""
    made = Company(tmp_path, declared(crm))
    made.run()
    crm.asked()
    return made


def declared(crm: Crm, **events: Any) -> dict[str, Any]:
    found = catalogue(("crm",), ("status", "tier"))
    found["systems"]["crm"]["connection"] = {
        "type": "rest",
        "base_url": crm.api.url,
        "retries": 0,
        "allow_private": True,
    }
    sync = found["systems"]["crm"]["syncs"]["people"]
    for key in ("table", "updated_at", "deleted"):
        del sync[key]
    sync |= {
        "path": "/people",
        "one": "/people/{id}",
        "mode": "events",
        "lateness": "5m",
        "events": {
            "path": "/events",
            "cursor": {"param": "since", "format": "epoch"},
            "time": "at",
            "event_id": "event",
            "id": "person.id",
            **events,
        },
    }
    return found


def test_only_named_records_are_read(company: Company, crm: Crm) -> None:
    """A record that an event names is read, once, and no other; then nothing, until the next."""
    crm.put("1", status="churned")
    crm.put("2", status="churned")
    for _ in range(2):
        crm.happens("1", company.now)
    result = company.sync("crm")
    assert (result.full, result.rows_read, result.changed) == (False, 1, 1)
    assert crm.asked() == ["/events", "/people/1"]
    company.settle()
    assert company.profile("1")["status"] == "churned"
    assert company.profile("2")["status"] == "active"
    assert company.sync("crm").changed == 0
    assert crm.asked() == ["/events"]


@pytest.mark.parametrize("seconds", [0, -200])
def test_events_that_show_late_are_read(company: Company, crm: Crm, seconds: int) -> None:
    """Of the same second as the newest that was read, or of one before."""
    at = company.now
    crm.happens("1", at)
    company.run()
    crm.put("2", status="churned")
    crm.happens("2", at + timedelta(seconds=seconds))
    company.run()
    assert company.profile("2")["status"] == "churned"


def test_a_named_record_that_is_gone_is_deleted(company: Company, crm: Crm) -> None:
    """The others stay, also those that weren't named."""
    crm.remove("1")
    crm.happens("1", company.now)
    crm.happens("2", company.now)
    result = company.sync("crm")
    assert (result.changed, result.deleted) == (0, 1)


@pytest.mark.parametrize(("days", "full"), [(29, False), (31, True)])
def test_a_cursor_older_than_the_log_reads_everything(
    company: Company, crm: Crm, days: int, full: bool
) -> None:
    """The log no longer has all that happened since."""
    company.now += timedelta(days=days)
    crm.put("1", status="churned")
    result = company.sync("crm")
    assert (result.full, result.changed) == (full, int(full))


def test_each_attribute_goes_on_where_it_was(company: Company, crm: Crm) -> None:
    """Events that were read for one attribute are read for another when that is due."""
    crm.put("1", status="churned", tier="silver")
    crm.happens("1", company.now)
    company.sync("crm", "status")
    company.now += HOUR
    company.sync("crm", "tier")
    company.settle()
    assert company.profile("1") == {"status": "churned", "tier": "silver"}


def test_what_fails_is_read_the_next_time(company: Company, crm: Crm) -> None:
    """When a named record can't be read, the cursor stays."""
    crm.put("1", status="churned")
    crm.happens("1", company.now)
    crm.api.answers["/people/1"] = answer({}, 503)
    with pytest.raises(SourceError):
        company.sync("crm")
    crm.put("1", status="churned")
    company.now += timedelta(days=1)
    assert company.sync("crm").changed == 1


@pytest.mark.parametrize("key", ["time", "event_id", "id"])
def test_an_event_without_what_is_declared(company: Company, crm: Crm, key: str) -> None:
    """It is told where the declaration is wrong."""
    crm.happens("1", company.now)
    company.declare(declared(crm))
    company.sync("crm")
    company.declare(declared(crm, **{key: "elsewhere"}))
    company.sync("crm", full=True)
    with pytest.raises(SourceError, match=f"events.{key}"):
        company.sync("crm")
