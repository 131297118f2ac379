"""Audiences that are kept up as the days pass have whom the conditions mean on each day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.audiences.materialise import preview
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

DAYS = ("0001-01-01", "2000-02-28", "2000-02-29", "2000-03-01", "2027-02-27", "2027-03-02",
        "2028-02-29", "9999-12-31", None)  # fmt: skip
CONDITIONS: dict[str, dict[str, Any]] = {
    "birthday": {"since": {"anniversary_within_next": "2 days"}},
    "had_birthday": {"since": {"anniversary_within_last": "1 day"}},
    "soon": {"since": {"between": ["tomorrow", "today + 1 month"]}},
    "long_ago": {"since": {"before": "today - 100 years"}},
    "ended": {"since": {"after": {"attribute": "ends"}}},
    "not_ended": {"since": {"is_not": {"attribute": "ends"}}},
}
FOUND: dict[str, dict[str, set[str | None]]] = {
    "2027-02-26": {
        "birthday": {"2000-02-28", "2000-02-29"},
        "soon": {"2027-02-27", "2027-03-02"},
    },
    "2027-02-28": {
        "birthday": {"2000-02-28", "2000-02-29", "2000-03-01"},
        "had_birthday": {"2000-02-28", "2000-02-29"},
        "soon": {"2027-03-02"},
    },
    "2027-03-01": {"birthday": {"2000-03-01"}, "had_birthday": {
        "2000-02-28", "2000-02-29", "2000-03-01"}, "soon": {"2027-03-02"}},
    "2028-02-28": {
        "birthday": {"2000-02-28", "2000-02-29", "2000-03-01"},
        "had_birthday": {"2000-02-28", "2027-02-27"},
        "soon": {"2028-02-29"},
    },
    "2029-02-28": {
        "birthday": {"2000-02-28", "2000-02-29", "2000-03-01", "2028-02-29", "2027-03-02"},
        "had_birthday": {"2000-02-28", "2000-02-29", "2027-02-27", "2028-02-29"},
    },
}  # fmt: skip
"""By day: who is in each audience, by their date. What isn't told there is the same on all days."""
ALWAYS: dict[str, set[str | None]] = {
    "long_ago": {"0001-01-01"},
    "ended": {"2028-02-29", "9999-12-31"},
    "not_ended": set(DAYS) - {"2027-03-02"},
}


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A customer for each of the dates, and contracts that end on 2 March 2027."""
    made = catalogue(("crm",), ("since", "ends"))
    for attribute in made["attributes"].values():
        attribute |= {"fresh_within": "2000 days"}
    made["settings"] = {"timezone": "Pacific/Auckland"}
    made["audiences"] = {name: {"where": where} for name, where in CONDITIONS.items()}
    company = Company(tmp_path, made)
    for number, day in enumerate(DAYS, 1):
        company.put(
            "crm", str(number), no=str(number), email=f"c{number}@example.com",
            changed=stamp(-5), since=day, ends="2027-03-02",
        )  # fmt: skip
    company.run()
    return company


def test_audiences_follow_the_calendar(company: Company) -> None:
    """Over leap days and common years, with dates that mean always and never; nothing was synced
    in between, and a look at the whole says the same."""
    assert company.now > START
    ids = {company.customers.profile(f"c{n}@example.com").profile_id: n for n in range(1, 10)}
    for day, told in FOUND.items():
        # noon there, which is the evening before in UTC
        company.now = datetime.fromisoformat(f"{day}T23:00").replace(tzinfo=UTC) - timedelta(1)
        _, _, results = company.settle()
        for name, where in CONDITIONS.items():
            expected = {DAYS.index(each) + 1 for each in told.get(name, ALWAYS.get(name, set()))}
            members = company.customers.members(name).to_arrow()["profile_id"].to_pylist()
            assert {ids[each] for each in members} == expected, (day, name)
            space = company.workspace
            whole = preview(
                space.catalogue, space.lake, space.ledger.coverage(),
                Condition.model_validate(where), now=company.now - HOUR,
            )  # fmt: skip
            assert {ids[each] for each in whole.sample} == expected, (day, name)
            assert results[name].counts.members == len(expected)
