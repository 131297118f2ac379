import httpx

from profile_pipelines_tests.demo.clients import Clients
from profile_pipelines_tests.demo.conftest import NOW
from profile_pipelines_tests.demo.test_data import table


def test_a_wrong_key_is_refused(running: Clients):
    """Without the right key there is 401 and no data."""
    url = running.environment["BILLING_URL"] + "/v1/subscriptions"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic !"}):
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"] == "Invalid credentials"


def test_following_the_last_id_reads_each_record_once(running: Clients):
    """Pages by `starting_after` cover customers and subscriptions without gaps or repeats."""
    for path, name in (("customers", "billing_customers"), ("subscriptions", None)):
        params = {"status": "all"} if name is None else {}
        ids = [row["id"] for row in running.all_of_billing(f"/v1/{path}", **params)]
        rows = table(running.folder, name or "billing_subscriptions")
        assert len(ids) == len(set(ids))
        assert set(ids) == set(rows["id"])


def test_a_subscription_has_the_shape_of_stripe(running: Clients):
    """The package stands in the item's price, the contract in the metadata."""
    (record,) = running.billing("/v1/subscriptions", limit=1).json()["data"]
    assert record["items"]["data"][0]["price"]["nickname"]
    assert record["customer"].startswith("cus_")
    assert record["latest_invoice"].startswith("in_")
    assert {"contract_end_date", "renewal_status"} <= set(record["metadata"])


def test_expanding_puts_the_object_in_place_of_its_id(running: Clients):
    """`expand` works for the customer and the latest invoice, with and without an index."""
    for one, two in (("expand[]", "expand[1]"), ("expand[0]", "expand[1]")):
        params = {one: "data.customer", two: "data.latest_invoice"}
        (record,) = running.billing("/v1/subscriptions", limit=1, **params).json()["data"]
        assert record["customer"]["id"].startswith("cus_")
        assert record["latest_invoice"]["status"] in ("paid", "open", "uncollectible")


def test_cancelled_subscriptions_show_when_asked_for(running: Clients):
    """`status=all` is needed for cancelled subscriptions."""
    usual = {row["status"] for row in running.all_of_billing("/v1/subscriptions")}
    every = {row["status"] for row in running.all_of_billing("/v1/subscriptions", status="all")}
    assert "canceled" not in usual
    assert every == usual | {"canceled"}


def test_only_what_changed_since_a_time(running: Clients):
    """`updated[gte]` includes its own second and leaves out what is older."""
    rows = table(running.folder, "billing_subscriptions")
    since = int(NOW.timestamp()) - 86_400 * 100
    since = min(moment for moment in rows["updated"] if moment >= since)
    found = running.all_of_billing("/v1/subscriptions", status="all", **{"updated[gte]": since})
    wanted = {row["id"] for row in rows.iter_rows(named=True) if row["updated"] >= since}
    assert {record["id"] for record in found} == wanted
    assert 0 < len(wanted) < rows.height


def test_bad_parameters_are_refused(running: Clients):
    """A limit above 100 and an unknown cursor are the caller's mistakes."""
    for params in ({"limit": 101}, {"limit": "x"}, {"starting_after": "sub_none"}):
        assert running.billing("/v1/subscriptions", **params).status_code == 400
