"""What later steps ask of a catalogue: plan, schedules, values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.plan import (
    audience_order,
    cadences_of,
    is_incremental,
    schedule_of,
    sync_of,
)
from profile_pipelines.catalog.schedules import longest_gap
from profile_pipelines.catalog.systems import SourceField
from profile_pipelines.catalog.values import AttributeType, typed_value
from profile_pipelines.errors import UnknownName
from profile_pipelines_tests.catalog.folders import audience, crm, write_catalogue


def test_sync_and_schedule(tmp_path: Path):
    """An attribute is found in the sync that maps it, with its own or the sync's schedule."""
    files = crm("tier: tier", 'tier: {field: level, schedule: "*/5 * * * *"}')
    catalogue = load_catalogue(write_catalogue(tmp_path, **files))
    own = SourceField(field="level", schedule="*/5 * * * *")
    assert sync_of(catalogue, "crm", "tier") == ("contacts", own)
    assert schedule_of(catalogue, "crm", "tier") == "*/5 * * * *"
    assert schedule_of(catalogue, "crm", "points") == "0 * * * *"
    contacts = catalogue.systems["crm"].syncs["contacts"]
    assert cadences_of(contacts) == {"*/5 * * * *": ["tier"], "0 * * * *": ["points"]}
    assert not is_incremental(contacts)


@pytest.mark.parametrize(("system", "attribute"), [("erp", "tier"), ("crm", "gone")])
def test_unknown_sync(tmp_path: Path, system: str, attribute: str):
    """A system or attribute that isn't declared is named in the error."""
    catalogue = load_catalogue(write_catalogue(tmp_path))
    with pytest.raises(UnknownName, match=r"erp|gone"):
        sync_of(catalogue, system, attribute)


def test_audience_order(tmp_path: Path):
    """Each audience comes after those that its condition refers to."""
    files = {
        **audience("{all: [{in_audience: c}, {none: [{in_audience: b}]}]}", "a"),
        **audience("{not_in_audience: c}", "b"),
        **audience("{tier: {is: gold}}", "c"),
    }
    catalogue = load_catalogue(write_catalogue(tmp_path, **files))
    assert audience_order(catalogue.audiences) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("cron", "gap"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("*/15 * * * *", timedelta(minutes=15)),
        ("5,50 * * * *", timedelta(minutes=45)),
        ("0 3 * * *", timedelta(days=1)),
        ("0 8,20 * * *", timedelta(hours=12)),
        ("*/15 8-18 * * 1-5", timedelta(days=2, hours=13, minutes=15)),
        ("0 0 * * sun", timedelta(days=7)),
        ("0 3 1 * *", timedelta(days=31)),
        ("0 0 29 2 *", timedelta(days=1461)),
        ("0 0 * * wed", timedelta(days=7)),
    ],
)
def test_longest_gap(cron: str, gap: timedelta):
    """The longest time between two ticks counts nights, weekends and months."""
    assert longest_gap(cron) == gap


@pytest.mark.parametrize(
    "cron",
    [
        "", "hourly", "@hourly", "60 * * * *", "* * * * * *", "0 0 31 2 *", "H * * * *",
        "0 0 15W * *", "é",
    ],
)  # fmt: skip
def test_no_schedule(cron: str):
    """What isn't a cron schedule of five fields, or never comes, is refused with an example."""
    with pytest.raises(ValueError, match=r"0 \* \* \* \*"):
        longest_gap(cron)


@pytest.mark.parametrize(
    ("attribute_type", "value", "typed"),
    [
        ("string", "a", "a"),
        ("integer", 5, 5),
        ("decimal", 0.1, Decimal("0.1")),
        ("decimal", "12.5000", Decimal("12.5")),
        ("boolean", True, True),
        ("date", "2030-12-31", date(2030, 12, 31)),
        ("timestamp", date(2030, 12, 31), datetime(2030, 12, 31, tzinfo=UTC)),
        ("timestamp", datetime(2030, 12, 31, 12), datetime(2030, 12, 31, 12, tzinfo=UTC)),
        ("timestamp", "2030-12-31T01:00+01:00", datetime(2030, 12, 31, tzinfo=UTC)),
        ("list", ["a"], ["a"]),
    ],
)
def test_typed_value(attribute_type: AttributeType, value: Any, typed: Any):
    """A YAML value comes out in the attribute's Python type."""
    found = typed_value(attribute_type, value)
    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("attribute_type", "value"),
    [
        ("string", 5),
        ("string", True),
        ("integer", True),
        ("integer", 1.5),
        ("integer", 2**63),
        ("decimal", "x"),
        ("decimal", float("nan")),
        ("decimal", "0.00001"),
        ("decimal", 10**14),
        ("decimal", False),
        ("boolean", "true"),
        ("boolean", 1),
        ("date", datetime(2030, 12, 31)),
        ("date", "31.12.2030"),
        ("timestamp", "soon"),
        ("timestamp", datetime.fromisoformat("0001-01-01T00:00:00+05:00")),
        ("list", "a"),
        ("list", [1]),
    ],
)
def test_untyped_value(attribute_type: AttributeType, value: Any):
    """A value of another type is refused with what would be right."""
    with pytest.raises(ValueError, match=r"^must be"):
        typed_value(attribute_type, value)
