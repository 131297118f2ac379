import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.demo import DemoSystems
from profile_pipelines.demo.warehouse import LOYALTY, SCORES
from profile_pipelines_tests.demo.conftest import NOW

CATALOGUE = load_catalogue(Path(__file__).parents[2] / "profile_pipelines" / "demo" / "catalog")
COLUMNS = [
    ("contacts", "contract_end_date", "contract_end_date"),
    ("contacts", "lifecycle_status", "lifecycle_status"),
    ("contacts", "home_market", "home_market"),
    ("contacts", "language", "language"),
    ("accounts", "status", "account_status"),
    ("billing_subscriptions", "contract_end_date", "contract_end_date"),
    ("billing_subscriptions", "renewal_status", "renewal_status"),
    ("billing_subscriptions", "package", "package"),
    ("shop_customers", "orders_count", "orders_count"),
    ("shop_customers", "last_order_date", "last_order_date"),
    ("support_users", "satisfaction", "satisfaction"),
    ("support_users", "open_tickets", "open_tickets"),
    (SCORES, "value_band", "value_band"),
    (SCORES, "churn_risk", "churn_risk"),
    (SCORES, "lifetime_value", "lifetime_value"),
    (LOYALTY, "tier", "loyalty_tier"),
    (LOYALTY, "points", "loyalty_points"),
]


def table(folder: Path, name: str) -> pl.DataFrame:
    """A table of any of the systems as it stands in the folder."""
    if name == SCORES:
        return pl.read_parquet(folder / "warehouse" / SCORES / "*.parquet")
    if name == LOYALTY:
        return pl.read_delta(str(folder / "warehouse" / LOYALTY))
    file = "crm.db" if name in ("contacts", "accounts") else "sample.db"
    connection = sqlite3.connect(folder / file)
    try:
        return pl.read_database(
            f"SELECT * FROM {name} ORDER BY 1", connection, infer_schema_length=None
        )
    finally:
        connection.close()


TABLES = sorted({name for name, _, _ in COLUMNS} | {"billing_customers"})


def plain(number: object) -> str:
    return str(number).strip().upper().removeprefix("C-").lstrip("0")


def test_the_same_seed_makes_the_same_rows(make: Callable[..., DemoSystems], tmp_path: Path):
    """Two folders with the same seed and moment hold the same rows, another seed others."""
    for folder, seed in (("one", 7), ("two", 7), ("other", 8)):
        make(folder, seed=seed).create()
    for name in TABLES:
        one, two, other = (table(tmp_path / folder, name) for folder in ("one", "two", "other"))
        assert one.equals(two), name
        assert not one.equals(other), name


@pytest.mark.parametrize(("name", "column", "attribute"), COLUMNS)
def test_a_few_values_are_invalid(full: Path, name: str, column: str, attribute: str):
    """Invalid values are there, and stay far below the share that sets a sync's values aside."""
    values = table(full, name)[column].drop_nulls()
    bad = [value for value in values if not valid(attribute, value)]
    assert 0.002 < len(bad) / len(values) < 0.012


def valid(attribute: str, value: object) -> bool:
    rules = CATALOGUE.attributes[attribute].valid
    if CATALOGUE.attributes[attribute].type == "date":
        try:
            datetime.strptime(str(value), "%Y-%m-%d")
        except ValueError:
            return False
        return True
    if rules.in_ is not None:
        return value in rules.in_
    number = float(str(value))
    return float(rules.min) <= number and (rules.max is None or number <= float(rules.max))


def test_numbers_are_spelled_in_four_ways(full: Path):
    """The systems write the same customer number with and without prefix, blanks and zeros."""
    contacts = table(full, "contacts")["customer_no"].drop_nulls()
    billing = table(full, "billing_customers")["customer_no"].drop_nulls()
    users = table(full, "support_users")["external_id"].drop_nulls()
    spelt = Counter(
        re.sub(r"\d+", lambda digits: "0" if digits[0].startswith("0") else "n", number)
        for number in [*contacts, *billing, *users]
    )
    assert min(spelt[spelling] for spelling in ("C-0", " c-0 ", "0", "n")) > 50
    assert {plain(number) for number in billing} <= {str(number) for number in range(1, 5001)}


def test_every_customer_is_known_somewhere_and_hardly_one_everywhere(full: Path):
    """No system knows all customers, together they know each of the 5,000."""
    known = [
        {int(plain(number)) for number in numbers if plain(number).isdigit()}
        for numbers in (
            table(full, "contacts")["contact_id"] // 2,
            table(full, "billing_customers")["number"],
            table(full, "shop_customers")["number"],
            table(full, "support_users")["number"],
            table(full, SCORES)["customer_no"],
        )
    ]
    assert set.union(*known) == set(range(1, 5001))
    assert all(len(numbers) < 5000 for numbers in known)


def test_some_customers_stand_twice_in_a_system(full: Path):
    """Duplicates bear the same number, and the one that is out of date is the older one."""
    contacts = table(full, "contacts")
    second = contacts.filter(pl.col("contact_id") % 2 == 1).with_columns(pl.col("contact_id") - 1)
    both = second.join(contacts, on="contact_id", suffix="_first")
    assert 50 < both.height < 150
    assert (both["modified_at"] < both["modified_at_first"]).all()


def test_a_later_file_may_hold_an_older_score(full: Path):
    """Scores arrive late: the last file's rows are older than those they repeat."""
    folder = full / "warehouse" / SCORES
    first = pl.concat(pl.read_parquet(folder / f"part-{n}.parquet") for n in (1, 2))
    late = pl.read_parquet(folder / "part-3.parquet").join(first, on="customer_no")
    assert late.height > 100
    assert (late["scored_at"] < late["scored_at_right"]).all()


@pytest.mark.parametrize(
    ("name", "column"),
    [("billing_subscriptions", "updated"), ("support_users", "updated"), (SCORES, "scored_at")],
)
def test_times_of_change_lie_in_the_last_year_but_for_a_few(full: Path, name: str, column: str):
    """Rows changed within the last 600 days and not after now, except for a few in the future."""
    times = table(full, name)[column]
    seconds = times if times.dtype.is_integer() else times.dt.epoch("s")
    future = (seconds > NOW.timestamp()).sum()
    assert 1 <= future <= 4
    assert min(seconds) >= (NOW - timedelta(days=600)).timestamp()


def test_some_hundred_contracts_end_in_30_days(full: Path):
    """The first audience has some hundred members."""
    today, last = NOW.date().isoformat(), (NOW + timedelta(days=30)).date().isoformat()
    rows = table(full, "billing_subscriptions").filter(
        pl.col("contract_end_date").is_between(pl.lit(today), pl.lit(last)),
        pl.col("renewal_status") != "confirmed",
        pl.col("status") != "canceled",
    )
    assert 200 < rows.height < 800


def test_the_time_of_creation_is_the_one_given(make: Callable[..., DemoSystems], tmp_path: Path):
    """Data of another moment is spread around that moment."""
    long_ago = datetime(2020, 2, 29, tzinfo=UTC)
    make(now=long_ago).create()
    updated = table(tmp_path / "systems", "support_users")["updated"]
    assert max(updated) <= long_ago.timestamp()
