from pathlib import Path

import pytest

from profile_pipelines_tests.demo.clients import Clients
from profile_pipelines_tests.demo.test_data import CATALOGUE, table

COMMON = {
    *("account_status", "lifecycle_status", "home_market", "language", "package"),
    *("contract_end_date", "renewal_date", "renewal_status", "payment_status", "value_band"),
    *("lifetime_value", "churn_risk", "loyalty_tier", "loyalty_points", "channel_preferences"),
    *("email_opt_in", "sms_opt_in", "phone_opt_in", "products_owned", "last_order_date"),
    *("orders_count", "open_tickets", "satisfaction", "escalated"),
}


def test_every_common_attribute_is_declared_and_described():
    """The catalogue holds the attributes that such a business needs, each with a description."""
    assert set(CATALOGUE.attributes) == COMMON
    assert all(attribute.description for attribute in CATALOGUE.attributes.values())
    consents = {name for name, attribute in CATALOGUE.attributes.items() if attribute.consent}
    assert consents == {"email_opt_in", "sms_opt_in", "phone_opt_in"}


@pytest.mark.parametrize(
    ("system", "sync", "name"),
    [
        ("crm", "contacts", "contacts"),
        ("crm", "accounts", "accounts"),
        ("warehouse", "customer_value", "customer_value"),
        ("warehouse", "loyalty", "loyalty"),
    ],
)
def test_mapped_columns_exist(full: Path, system: str, sync: str, name: str):
    """Every column that the catalogue reads stands in the table."""
    declared = CATALOGUE.systems[system].syncs[sync]
    fields = [field.field for field in declared.attributes.values()]
    others = [each.field for each in declared.controls]
    wanted = {field for field in [*fields, *others] if field}
    assert wanted <= set(table(full, name).columns)


def test_mapped_paths_exist(running: Clients):
    """Every path that the catalogue reads from an API stands in some record."""
    expand = {"expand[0]": "data.customer", "expand[1]": "data.latest_invoice"}
    records = {
        "billing": running.billing("/v1/subscriptions", limit=100, **expand).json()["data"],
        "ecommerce": running.shop(per_page=100).json(),
        "support": running.support(start_time=0).json()["users"],
    }
    for system, found in records.items():
        for sync in CATALOGUE.systems[system].syncs.values():
            fields = [field.field for field in sync.attributes.values()]
            for path in [*fields, *(each.field for each in sync.controls if each != sync.deleted)]:
                assert any(stands(record, str(path).split(".")) for record in found), path


def stands(record: object, path: list[str]) -> bool:
    for part in path:
        if isinstance(record, list):
            if int(part) >= len(record):
                return False
            record = record[int(part)]
        elif isinstance(record, dict) and part in record:
            record = record[part]
        else:
            return False
    return True
