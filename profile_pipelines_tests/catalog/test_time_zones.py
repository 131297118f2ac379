"""Which time zone a customer has."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from profile_pipelines.catalog.models import Settings

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("said", "zone"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"), (" America/New_York ", "America/New_York"),
        (None, "Europe/Berlin"), ("", "Europe/Berlin"), ("Mars/Olympus", "Europe/Berlin"),
        ("../../etc/passwd", "Europe/Berlin"), ("localtime", "Europe/Berlin"), (7, "Europe/Berlin"),
    ],
)  # fmt: skip
def test_a_customers_own_zone(said: object, zone: str) -> None:
    """What the attribute names, where it names a zone; else the catalogue's."""
    settings = Settings(timezone="Europe/Berlin", timezone_attribute="lives_in")
    assert settings.zone_of({"lives_in": said}) == ZoneInfo(zone)


def test_without_such_an_attribute() -> None:
    """Everybody has the catalogue's zone."""
    assert Settings(timezone="Europe/Berlin").zone_of({"timezone": "Asia/Tokyo"}) == BERLIN
