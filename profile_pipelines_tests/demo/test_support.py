import httpx

from profile_pipelines_tests.demo.clients import Clients
from profile_pipelines_tests.demo.test_data import table


def read(running: Clients, **params: object) -> list[dict]:
    page = running.support(**params).json()
    users = page["users"]
    while not page["end_of_stream"]:
        page = running.support_url(page["after_url"]).json()
        users += page["users"]
    return users


def test_both_kinds_of_credentials_work_and_wrong_ones_do_not(running: Clients):
    """The token is good as a bearer and as an agent's password."""
    url = running.environment["SUPPORT_URL"] + "/api/v2/incremental/users/cursor.json?start_time=0"
    token = running.environment["SUPPORT_TOKEN"]
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert httpx.get(url, auth=("agent@example.com/token", token)).status_code == 200
    assert httpx.get(url, auth=("agent@example.com/token", "wrong")).status_code == 401


def test_following_the_links_reads_each_user_once_in_order_of_change(running: Clients):
    """Every user comes once, the last changed last, also across equal times."""
    users = read(running, start_time=0, per_page=40)
    rows = table(running.folder, "support_users")
    assert [user["id"] for user in users] == rows.sort("updated", "id")["id"].to_list()


def test_the_cursor_goes_on_where_the_page_ended(running: Clients):
    """`after_cursor` says the same as `after_url`, and at the end brings nothing more."""
    page = running.support(start_time=0, per_page=40).json()
    second = running.support(cursor=page["after_cursor"], per_page=40).json()
    assert second["users"] == running.support_url(page["after_url"]).json()["users"]
    last = running.support(start_time=0).json()
    again = running.support(cursor=last["after_cursor"]).json()
    assert (again["users"], again["end_of_stream"]) == ([], True)
    assert again["after_cursor"] == last["after_cursor"]


def test_start_time_includes_its_own_second(running: Clients):
    """The export begins with what changed at the start time."""
    updated = sorted(table(running.folder, "support_users")["updated"])
    since = updated[len(updated) // 2]
    assert len(read(running, start_time=since)) == sum(moment >= since for moment in updated)


def test_bad_parameters_are_refused(running: Clients):
    """A missing start, a page above 1,000 and a nonsense cursor are the caller's mistakes."""
    bad = ({}, {"start_time": "soon"}, {"start_time": 0, "per_page": 1001}, {"cursor": "??"})
    for params in bad:
        assert running.support(**params).status_code == 400
