from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from profile_pipelines.demo import DemoSystems, change
from profile_pipelines.demo.warehouse import LOYALTY, SCORES
from profile_pipelines.errors import NotFound
from profile_pipelines_tests.demo.clients import Clients
from profile_pipelines_tests.demo.conftest import NOW
from profile_pipelines_tests.demo.test_data import TABLES, table

LATER = NOW + timedelta(hours=1)
Make = Callable[..., DemoSystems]


@pytest.fixture
def changed(make: Make, tmp_path: Path) -> tuple[Path, dict[str, pl.DataFrame], dict[str, int]]:
    """A folder after a change, its tables before, and the counts."""
    folder = tmp_path / "systems"
    make().create()
    before = {name: table(folder, name) for name in TABLES}
    return folder, before, change(folder, LATER, share=0.04, seed=3)


def test_each_kind_of_change_happens(changed: tuple):
    """The counts say how many there were of each kind."""
    _, _, counts = changed
    assert counts == {
        "renewals_confirmed": 14,
        "packages_changed": 3,
        "tickets_opened": 7,
        "consents_withdrawn": 7,
        "customers_added": 7,
        "customers_deleted": 3,
    }


def test_changed_rows_bear_the_time_of_the_change(changed: tuple):
    """An incremental read from the time of the change finds all that changed, and no more."""
    folder, before, counts = changed
    seconds = int(LATER.timestamp())
    after = table(folder, "billing_subscriptions")
    moved = after.filter(pl.col("updated") == seconds)
    same = after.filter(pl.col("updated") != seconds)
    assert moved.height >= counts["renewals_confirmed"] + counts["packages_changed"] - 3
    assert (
        same.join(before["billing_subscriptions"], on=after.columns, nulls_equal=True).height
        == same.height
    )


def test_confirmed_renewals_leave_the_first_audience(changed: tuple):
    """Those who confirm are customers whose contract ends soon."""
    folder, before, counts = changed
    old, new = before["billing_subscriptions"], table(folder, "billing_subscriptions")
    both = new.join(old, on="id", suffix="_before").filter(
        pl.col("renewal_status") != pl.col("renewal_status_before")
    )
    assert both.height == counts["renewals_confirmed"]
    assert set(both["renewal_status"]) == {"confirmed"}
    assert min(both["contract_end_date"]) >= NOW.date().isoformat()


def test_consents_are_withdrawn(changed: tuple):
    """Withdrawn consent is false, not missing."""
    folder, before, counts = changed
    both = table(folder, "contacts").join(before["contacts"], on="contact_id", suffix="_before")
    withdrawn = both.filter((pl.col("email_opt_in") == 0) & (pl.col("email_opt_in_before") == 1))
    assert withdrawn.height == counts["consents_withdrawn"]


def test_deleted_customers_leave_every_system_in_its_own_way(changed: tuple):
    """The shop and the warehouse forget them, the others mark them."""
    folder, before, counts = changed
    gone = set(before["billing_customers"]["number"]) & set(
        table(folder, "billing_customers").filter(pl.col("deleted") == 1)["number"]
    )
    assert len(gone) == counts["customers_deleted"]
    assert not gone & set(table(folder, "shop_customers")["number"])
    assert not gone & set(table(folder, SCORES)["customer_no"])
    assert not gone & {int(number) for number in table(folder, LOYALTY)["member_no"]}
    contacts = table(folder, "contacts").filter((pl.col("contact_id") // 2).is_in(gone))
    users = table(folder, "support_users").filter(pl.col("number").is_in(gone))
    assert (contacts["is_deleted"] == 1).all()
    assert (users["deleted"] == 1).all()


def test_new_customers_get_new_numbers_each_time(changed: tuple):
    """A second change adds others than the first."""
    folder, _, _ = changed
    change(folder, LATER + timedelta(hours=1), share=0.04, seed=3)
    numbers = table(folder, "shop_customers")["number"]
    new = numbers.filter(numbers > 350)
    assert set(new) <= set(range(351, 365))
    assert max(new) > 357


def test_the_same_seed_makes_the_same_changes(make: Make, tmp_path: Path):
    """Equal systems stay equal under equal changes."""
    for name in ("one", "two"):
        make(name).create()
        change(tmp_path / name, LATER, share=0.04, seed=5)
    for name in TABLES:
        one, two = table(tmp_path / "one", name), table(tmp_path / "two", name)
        assert one.equals(two), name


def test_a_running_server_shows_the_change_at_once(make: Make, tmp_path: Path):
    """No restart is needed between a change and the next read."""
    with make() as systems:
        clients = Clients(tmp_path / "systems", systems.environment)
        since = {
            "status": "all",
            "updated[gte]": int(LATER.timestamp()),
            "expand[]": "data.customer",
        }
        old = {row["id"] for row in clients.all_of_billing("/v1/subscriptions", **since)}
        counts = change(tmp_path / "systems", LATER, share=0.04, seed=3)
        rows = [
            row
            for row in clients.all_of_billing("/v1/subscriptions", **since)
            if row["id"] not in old
        ]
    confirmed = [row for row in rows if row["metadata"].get("renewal_status") == "confirmed"]
    deleted = [row for row in rows if row["customer"].get("deleted")]
    assert len(confirmed) >= counts["renewals_confirmed"] - counts["packages_changed"]
    assert len({row["customer"]["id"] for row in deleted}) == counts["customers_deleted"]


def test_a_folder_without_systems_is_named(tmp_path: Path):
    """Changing nothing is a mistake that says what to do."""
    with pytest.raises(NotFound, match="profile-pipelines demo"):
        change(tmp_path / "none", LATER)
