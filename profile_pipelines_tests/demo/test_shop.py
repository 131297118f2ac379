from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx

from profile_pipelines_tests.demo.clients import Clients
from profile_pipelines_tests.demo.conftest import NOW
from profile_pipelines_tests.demo.test_data import table


def test_a_wrong_secret_is_refused(running: Clients):
    """Without the right key and secret there is 401."""
    url = running.environment["ECOMMERCE_URL"] + "/wp-json/wc/v3/customers"
    user = running.environment["ECOMMERCE_KEY"]
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, auth=(user, "wrong")).json()["data"]["status"] == 401


def test_numbered_pages_read_each_customer_once(running: Clients):
    """The headers count the customers and pages, and the pages hold them all once."""
    first = running.shop(per_page=100)
    total, pages = (int(first.headers[name]) for name in ("X-WP-Total", "X-WP-TotalPages"))
    found = [running.shop(per_page=100, page=page + 1).json() for page in range(pages)]
    ids = [row["id"] for rows in found for row in rows]
    assert pages > 1
    assert len(ids) == total
    assert ids == table(running.folder, "shop_customers")["id"].to_list()
    assert running.shop(per_page=100, page=pages + 1).json() == []


def test_modified_after_leaves_out_its_own_moment(running: Clients):
    """The filter means later than, in UTC when `dates_are_gmt` says so."""
    rows = table(running.folder, "shop_customers")
    moment = sorted(rows["modified"])[rows.height // 2]
    text = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
    found = running.shop(per_page=1, modified_after=text, dates_are_gmt="true")
    assert int(found.headers["X-WP-Total"]) == sum(m > moment for m in rows["modified"])
    local = running.shop(per_page=1, modified_after=text)
    earlier = moment - int(timedelta(hours=2).total_seconds())
    assert int(local.headers["X-WP-Total"]) >= sum(m > earlier + 3600 for m in rows["modified"])
    offset = running.shop(per_page=1, modified_after=f"{text}+00:00")
    assert offset.headers["X-WP-Total"] == found.headers["X-WP-Total"]


def test_times_are_given_in_the_shops_zone_and_in_utc(running: Clients):
    """`date_modified` is local and `date_modified_gmt` UTC, both without an offset."""
    record = running.shop(per_page=1).json()[0]
    utc = datetime.fromisoformat(record["date_modified_gmt"]).replace(tzinfo=UTC)
    local = datetime.fromisoformat(record["date_modified"])
    assert local == utc.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None)
    assert utc <= NOW


def test_a_guest_has_no_customer_number(running: Clients):
    """A fifth of the shop's customers is known by e-mail alone."""
    records = running.shop(per_page=100).json()
    guests = [record for record in records if not record["meta_data"]]
    assert 5 < len(guests) < 40
    assert isinstance(records[0]["products_owned"], list)


def test_bad_parameters_are_refused(running: Clients):
    """More than 100 a page, page 0 and a nonsense date are the caller's mistakes."""
    for params in ({"per_page": 101}, {"page": 0}, {"modified_after": "soon"}):
        answer = running.shop(**params)
        assert answer.status_code == 400
        assert answer.json()["code"] == "woocommerce_rest_error"
