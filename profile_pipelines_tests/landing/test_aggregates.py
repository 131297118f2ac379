"""Attributes made of child records agree with a plain model, whatever happens to the children."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profile_pipelines import pipeline
from profile_pipelines.landing.named import NamedResult
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.webhooks.events import named_by
from profile_pipelines.webhooks.signatures import Delivery
from profile_pipelines_tests.company import HOUR, Company, stamp

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ATTRIBUTES = {
    "orders": "integer",
    "paid": "integer",
    "spent": "integer",
    "last_order": "date",
    "first_order": "timestamp",
    "latest_state": "string",
    "states": "list",
    "products": "list",
}
FIELDS = {
    "state": {"type": "string", "field": "status", "convert": ["lower"]},
    "total": {"type": "integer", "field": "points"},
    "placed_at": {"type": "timestamp", "field": "since"},
    "items": {"type": "list", "field": "tags"},
    "gift": {"type": "boolean", "field": "opt_in"},
}
AGGREGATES: dict[str, Any] = {
    "orders": {"aggregate": "count"},
    "paid": {"aggregate": {"count": True, "where": {"state": {"in": ["paid", "sent"]}}}},
    "spent": {"aggregate": {"sum": "total", "where": {"any": [
        {"state": {"is_not": "new"}}, {"total": {"more_than": 50}}]}}},
    "last_order": {"aggregate": {"max": "placed_at"}},
    "first_order": {"aggregate": {"min": "placed_at"}},
    "latest_state": {"aggregate": {"last": "state", "by": "placed_at"}},
    "states": {"aggregate": {"list_distinct": "state"}},
    "products": {"aggregate": {"list_distinct": "items", "where": {"none": [
        {"state": {"is": "new"}}]}}},
}  # fmt: skip
MORE_ATTRIBUTES = {
    "any_gift": "boolean",
    "all_gifts": "boolean",
    "by_total": "string",
    "by_state": "integer",
    "by_words": "integer",
}
MORE_AGGREGATES: dict[str, Any] = {
    "any_gift": {"aggregate": {"any": "gift"}},
    "all_gifts": {"aggregate": {"all": "gift", "where": {"total": {"present": True}}}},
    "by_total": {"aggregate": {"last": "state", "by": "total"}},
    "by_state": {"aggregate": {"last": "total", "by": "state"}},
    "by_words": {"aggregate": {"last": "total", "by": {"state": ["sent", "new"]}}},
}


def shop(**changes: Any) -> dict[str, Any]:
    """A catalogue of one system whose one sync reads orders."""
    sync = {
        "table": "people",
        "key": "id",
        "identifiers": {"customer_no": "no"},
        "updated_at": "changed",
        "deleted": "gone",
        "fields": FIELDS,
        "attributes": AGGREGATES,
    }
    return {
        "identifiers": {"customer_no": {"normalise": ["trim", "upper", {"strip_prefix": "C-"}]}},
        "attributes": {
            name: {"type": kind, "sources": ["shop"], "fresh_within": "24h"}
            for name, kind in {**ATTRIBUTES, **MORE_ATTRIBUTES}.items()
            if name in {**sync, **changes}["attributes"]
        },
        "systems": {
            "shop": {
                "system": "shop",
                "kind": "ecommerce",
                "connection": {"type": "sql", "url": ""},
                "syncs": {"people": {**sync, **changes}},
            }
        },
        "audiences": {},
    }


def customers(company: Company) -> dict[str, dict[str, Any]]:
    """Every customer's attributes as the lake has them."""
    space = company.workspace
    pinned = space.lake.source(space.catalogue, "shop", "people").pin()
    names = list(space.catalogue.systems["shop"].syncs["people"].attributes)
    rows = pinned.current(["id_customer_no", "deleted", *names], "r")
    found = space.lake.engine.query(rows.sql, rows.relations).to_pylist()
    assert not any(row.pop("deleted") for row in found)
    return {row.pop("id_customer_no"): row for row in found}


def model(children: dict[str, dict[str, Any]], ever: set[str]) -> dict[str, dict[str, Any]]:
    """The same in plain Python; `ever` are all customers that had a child at any time."""
    expected: dict[str, dict[str, Any]] = {}
    for customer in ever:
        own = [c for c in children.values() if c["no"] == customer and not c["gone"]]
        states = [(c["since"], c["id"], c["status"]) for c in own if c["since"] and c["status"]]
        times = [EPOCH + timedelta(hours=c["since"]) for c in own if c["since"] is not None]
        spent = [
            c["points"] for c in own
            if c["points"] is not None and (c["status"] != "new" or c["points"] > 50)
        ]  # fmt: skip
        items = {i for c in own if c["status"] != "new" for i in c["tags"]}
        gifts = [c["gift"] for c in own if c["gift"] is not None]
        counted_gifts = [
            c["gift"] for c in own if c["gift"] is not None and c["points"] is not None
        ]
        both = [c for c in own if c["status"] and c["points"] is not None]
        points = [c for c in own if c["points"] is not None]
        expected[customer] = {
            "orders": len(own),
            "paid": sum(c["status"] in ("paid", "sent") for c in own),
            "spent": sum(spent) if spent else None,
            "last_order": max(times).date() if times else None,
            "first_order": min(times) if times else None,
            "latest_state": max(states)[2] if states else None,
            "states": sorted({c["status"] for c in own if c["status"]}) or None,
            "products": sorted(items) or None,
            "any_gift": any(gifts) if gifts else None,
            "all_gifts": all(counted_gifts) if counted_gifts else None,
            "by_total": last(both, lambda c: c["points"], "status"),
            "by_state": last(both, lambda c: c["status"], "points"),
            "by_words": last(
                points,
                lambda c: ({"sent": 2, "new": 1}.get(c["status"], 0), c["changed"]),
                "points",
            ),
        }
    return expected


def last(children: list[dict[str, Any]], key: Callable[[dict[str, Any]], Any], of: str) -> Any:
    """What the last of the children says, which of equals is that with the greater id."""
    return max(children, key=lambda c: (key(c), c["id"]))[of] if children else None


CHILD = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abcdef"),
        "no": st.sampled_from("123"),
        "gone": st.sampled_from([False, False, False, True]),
        "status": st.sampled_from(["new", "paid", "sent", None]),
        "points": st.none() | st.integers(-100, 100),
        "since": st.none() | st.integers(1, 200),
        "gift": st.none() | st.booleans(),
        "tags": st.lists(st.sampled_from("xyz"), max_size=2),
        "late": st.sampled_from([False, False, False, True]),
        "repeated": st.booleans(),
    }
)
ROUNDS = st.lists(
    st.tuples(st.lists(CHILD, max_size=4), st.sampled_from(["sync", "sync", "full", "kill"])),
    min_size=1,
    max_size=5,
)


def put(company: Company, child: dict[str, Any]) -> None:
    """The child as the shop's database has it."""
    since, points = child["since"], child["points"]
    company.remove("shop", child["id"])
    row = {
        "no": f" c-{child['no']}",
        "changed": (EPOCH + timedelta(minutes=child["changed"])).isoformat(),
        "gone": "1" if child["gone"] else None,
        "status": child["status"] and child["status"].upper(),
        "points": None if points is None else str(points),
        "since": None if since is None else (EPOCH + timedelta(hours=since)).isoformat(),
        "opt_in": None if child["gift"] is None else str(child["gift"]),
        "tags": ",".join(child["tags"]),
    }
    company.add("shop", child["id"], **row)
    if child["repeated"]:
        # the version before it stands there, too
        earlier = (EPOCH + timedelta(minutes=child["changed"] - 1)).isoformat()
        company.add("shop", child["id"], **{**row, "changed": earlier, "status": "PAID"})


@contextmanager
def killed_between_commits() -> Iterator[None]:
    """A run ends after its children are committed and before its customers are."""
    aggregating = import_module("profile_pipelines.landing.aggregating")
    with pytest.MonkeyPatch.context() as patch:

        def die(*_args: Any, **_kwargs: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(aggregating, "aggregated", die)
        with suppress(KeyboardInterrupt):
            yield


@pytest.mark.slow
@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(ROUNDS)
def test_aggregates_agree_with_the_children(rounds: list[tuple[list[dict[str, Any]], str]]) -> None:
    """After any changes, late or repeated, moves, deletions and kills, the values are exact."""
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder), shop(attributes={**AGGREGATES, **MORE_AGGREGATES}))
        known: dict[str, dict[str, Any]] = {}
        ever: set[str] = set()
        for tick, (batch, how) in enumerate(rounds, start=10):
            for child in batch:
                before = known.get(child["id"])
                at = max(tick - 5, before["changed"] if before else 0) if child["late"] else tick
                known[child["id"]] = {**child, "changed": at}
                put(company, known[child["id"]])
            if how == "kill":
                with killed_between_commits():
                    company.sync("shop")
            # what the source dates back is seen by a full read only
            company.sync("shop", full=how == "full" or any(child["late"] for child in batch))
            company.now += HOUR
            ever |= {known[child["id"]]["no"] for child in batch}
            assert customers(company) == model(known, ever)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A shop with two customers and three orders."""
    made = Company(tmp_path, shop())
    for key, customer, status in (("a", "1", "NEW"), ("b", "1", "PAID"), ("c", "2", "SENT")):
        made.add("shop", key, no=customer, changed=EPOCH.isoformat(), status=status, points="5")
    made.sync("shop")
    return made


def test_only_customers_whose_children_moved_change(company: Company) -> None:
    """A sync writes a record for no one else, and nothing at all when nothing moved."""
    later = (EPOCH + timedelta(days=1)).isoformat()
    company.put("shop", "a", no="1", changed=later, status="PAID", points="5")
    assert company.sync("shop").changed == 1
    result = company.sync("shop")
    assert (result.changed, result.deleted) == (0, 0)
    assert customers(company)["1"]["paid"] == 2


def test_another_rule_is_applied_to_every_customer(company: Company) -> None:
    """A changed `where` is computed anew for all, without a change at the source."""
    rule = {"aggregate": {"count": True, "where": {"total": {"at_least": 5}}}}
    company.declare(shop(attributes={**AGGREGATES, "paid": rule}))
    company.sync("shop")
    assert {no: row["paid"] for no, row in customers(company).items()} == {"1": 2, "2": 1}


def test_customers_that_come_out_alike_again_are_no_fault(tmp_path: Path) -> None:
    """A child that came late changes nothing of its customer, in this run and in those after it."""
    paid = {"aggregate": {"count": True, "where": {"state": {"is": "paid"}}}}
    declared = shop(attributes={"paid": paid})
    company = Company(tmp_path, declared)
    company.put("shop", "1", no="1", status="paid", changed=stamp(-5))
    company.sync("shop")
    company.put("shop", "2", no="1", status="new", changed=stamp(-5.1))
    for _ in range(3):
        company.now += HOUR
        company.sync("shop")
        assert customers(company)["1"]["paid"] == 1


def test_two_fields_of_a_child_are_compared(tmp_path: Path) -> None:
    """As two attributes of a profile are."""
    fields = {**FIELDS, "due": {"type": "timestamp", "field": "seen"}}
    late = {"aggregate": {"count": True, "where": {"placed_at": {"after": {"attribute": "due"}}}}}
    company = Company(tmp_path, shop(fields=fields, attributes={"paid": late}))
    for key, due in (("a", stamp(-6)), ("b", stamp(-4)), ("c", None)):
        company.put("shop", key, no="1", changed=stamp(-5), since=stamp(-5), seen=due)
    company.sync("shop")
    assert customers(company)["1"]["paid"] == 1


@pytest.mark.parametrize("test", [{"within_last": "2 days"}, {"after": "today - 3 days"}])
def test_a_window_moves_with_the_clock(company: Company, test: dict[str, Any]) -> None:
    """A condition on the time is exact at each sync, though no child changed."""
    recent = {"aggregate": {"count": True, "where": {"placed_at": test}}}
    company.declare(shop(attributes={**AGGREGATES, "paid": recent}))
    since = company.now.isoformat()
    company.put("shop", "a", no="1", changed=since, since=since, status="NEW")
    company.sync("shop")
    assert customers(company)["1"]["paid"] == 1
    company.now += timedelta(days=3)
    company.sync("shop")
    assert customers(company)["1"]["paid"] == 0


def test_a_child_that_can_not_be_read_is_quarantined(company: Company) -> None:
    """Its value counts as missing, and the attributes that use it say so."""
    later = (EPOCH + timedelta(days=1)).isoformat()
    for number in range(30):
        company.add("shop", f"x{number}", no="3", changed=later, status="PAID", points="1")
    company.add("shop", "bad", no="3", changed=later, status="PAID", points="many")
    result = company.sync("shop")
    assert result.attributes["spent"].in_quarantine == 1
    assert result.attributes["orders"].in_quarantine == 0
    assert (customers(company)["3"]["orders"], customers(company)["3"]["spent"]) == (31, 30)
    [found] = company.customers.quarantine().to_arrow().to_pylist()
    assert (found["record_key"], found["attribute"], found["value"]) == ("bad", "total", "many")


def test_a_field_set_aside_sets_aside_what_uses_it(company: Company) -> None:
    """Too many unreadable values leave the last good ones, of the attributes that use them."""
    later = (EPOCH + timedelta(days=1)).isoformat()
    for key in "ab":
        company.put("shop", key, no="1", changed=later, status="SENT", points="many")
    result = company.sync("shop")
    assert {name for name, entry in result.attributes.items() if entry.set_aside} == {"spent"}
    assert customers(company)["1"]["spent"] == 5
    assert customers(company)["1"]["paid"] == 2


def test_profiles_get_the_attributes(company: Company) -> None:
    """What is aggregated goes on like every other attribute."""
    company.settle()
    assert company.profile("1") == {
        "orders": 2, "paid": 1, "spent": 5, "states": ["new", "paid"],
    }  # fmt: skip


def test_events_name_children(company: Company) -> None:
    """The children that events name are read, and their customers computed; no others. A kill
    between the two commits loses nothing."""
    inbox, coverage = company.workspace.ledger.inbox, company.workspace.ledger.coverage()

    def read(*keys: str) -> NamedResult:
        inbox.store([Named("shop", "people", key) for key in keys], [], now=company.now)
        return pipeline.sync_named_records(
            company.workspace, "shop", "people", now=company.now, run_id=company.run_id
        )

    later = (EPOCH + timedelta(days=1)).isoformat()
    for key, customer in (("a", "1"), ("c", "2")):
        company.put("shop", key, no=customer, changed=later, status="PAID", points="70")
    with killed_between_commits():
        read("a")
    assert customers(company)["1"]["spent"] == 5
    result = read()
    assert (result.events, result.rows_read, result.changed, result.deleted) == (1, 1, 1, 0)
    assert (customers(company)["1"]["spent"], customers(company)["2"]["spent"]) == (75, 5)
    company.remove("shop", "b")
    assert read("b").events == 1
    assert customers(company)["1"]["orders"] == 1
    assert inbox.syncs_waiting() == {}
    assert company.workspace.ledger.coverage() == coverage
    # the sync goes on from where it was
    company.now += HOUR
    assert company.sync("shop").changed == 1
    assert customers(company)["2"]["spent"] == 70


def test_events_carry_children(company: Company) -> None:
    """Of a child that an event carries the fields are kept that aggregates are made of."""
    declared = company.declared
    declared["systems"]["shop"]["webhook"] = {
        "signature": "stripe",
        "secret": {"env": "SECRET"},
        "events": [{"types": ["*"], "sync": "people", "record": "order"}],
    }
    company.declare(declared)
    system = company.workspace.catalogue.systems["shop"]
    assert system.webhook is not None
    later = (EPOCH + timedelta(days=1)).isoformat()
    order = {"id": "c", "no": "2", "changed": later, "status": "PAID", "points": 70, "note": "?"}
    event = {"id": "evt_1", "type": "order.updated", "order": order}
    delivery = Delivery("POST", "https://hooks.example.com", {}, b"")
    named, without = named_by(system, system.webhook, delivery, event, None)
    assert without == 0
    assert "note" not in (named[0].record or "")
    company.workspace.ledger.inbox.store(named, [], now=company.now)
    result = pipeline.sync_named_records(
        company.workspace, "shop", "people", now=company.now, run_id=company.run_id
    )
    assert (result.rows_read, result.changed) == (1, 1)
    assert customers(company)["2"]["spent"] == 70
