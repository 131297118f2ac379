"""A sync whose values all come from the one of a customer's records that wins."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.preset_expansion import expand
from profile_pipelines.catalog.preset_files import shipped
from profile_pipelines.catalog.survivorship_checks import survivorship_notes
from profile_pipelines.errors import CatalogueError
from profile_pipelines.upkeep import forget_history
from profile_pipelines_tests.company import Company, catalogue, stamp

BY_STATUS = {"status": ["active", "prospect"], "then": ["ends", "updated_at"]}


def declared(winner: Any = None, **sync: Any) -> dict[str, Any]:
    """Billing, whose subscriptions give status, tier, end and more; the CRM is the fallback."""
    made = copy.deepcopy(catalogue(("billing", "crm"), ("status", "tier", "ends", "opt_in")))
    made["attributes"]["tier"]["merge"] = "priority"
    for attribute in made["attributes"].values():
        attribute |= {"max_changed": "100%", "max_emptied": "100%"}
    made["systems"]["billing"]["syncs"]["people"] |= {"max_deleted": "100%", **sync}
    if winner is not None:
        record = {"survivorship": "record", "winner": winner}
        made["systems"]["billing"]["syncs"]["people"] |= record
    return made


def subscription(company: Company, key: str, hours: float, **values: str | None) -> None:
    """A subscription of customer 1, changed at that hour."""
    company.put("billing", key, **{"no": "1", "changed": stamp(hours), **values})


def test_an_old_records_value_does_not_fill_the_gap_of_the_one_that_wins(tmp_path: Path) -> None:
    """The running subscription has no tier, and the customer has none, though the ended one, which
    changed later, has one; the receipt says whose values these are. An opt-out counts wherever it
    stands, and a gap is filled by the next system."""
    company = Company(tmp_path, declared(BY_STATUS))
    subscription(company, "old", -1, status="churned", tier="gold", ends="2026-01-01", opt_in="no")
    subscription(company, "new", -9, status="active", ends="2026-12-01", opt_in="yes")
    company.run()
    view = company.customers.profile("1", now=company.now)
    values = {name: each.value for name, each in view.values.items()}
    assert (values["status"], values["tier"], str(values["ends"])) == ("active", None, "2026-12-01")
    assert values["opt_in"] is False
    receipt = view.values["ends"].receipt
    assert [(each.system, each.record) for each in receipt.winners] == [("billing", "new")]
    assert [(each.record, each.outvoted_by) for each in receipt.losers] == [("old", "new")]
    assert receipt.rule == (
        "priority: billing, then crm; of billing one record counts, by status (active, then "
        "prospect), then ends, then updated_at, then the newest"
    )
    [lost] = view.values["tier"].receipt.losers
    assert (lost.value, lost.record, lost.outvoted_by) == ("gold", "old", "new")
    company.put("crm", "c", no="1", changed=stamp(-20), tier="silver")
    company.run()
    assert company.profile("1")["tier"] == "silver"


def test_the_next_record_wins_when_the_winner_goes(tmp_path: Path) -> None:
    """Deleted, moved to another customer, or of a lesser word now: each is seen by itself."""
    company = Company(tmp_path, declared(BY_STATUS))
    subscription(company, "a", -9, status="active", tier="gold")
    subscription(company, "b", -8, status="prospect", tier="silver")
    subscription(company, "c", -7, tier="bronze")
    company.run()
    assert company.profile("1")["tier"] == "gold"
    subscription(company, "a", 1, status="churned", tier="gold")
    company.run()
    assert company.profile("1")["tier"] == "silver"
    subscription(company, "b", 2, status="prospect", tier="silver", no="2")
    company.run()
    assert (company.profile("1")["tier"], company.profile("2")["tier"]) == ("gold", "silver")
    subscription(company, "a", 3, gone="1")
    company.run()
    assert company.profile("1") == {"tier": "bronze"}


def test_receipts_of_the_past_follow_the_rule_of_then(tmp_path: Path) -> None:
    """What was the newest's stays so in an as-of read once a record wins, and what won by words
    that were forgotten since is still told to be that record's."""
    made = declared(survivorship="attribute")
    company = Company(tmp_path, made)
    subscription(company, "old", -1, status="churned", tier="gold")
    subscription(company, "new", -9, status="active", tier="silver")
    company.run()
    first = company.now - timedelta(minutes=30)
    company.declare(declared(BY_STATUS))
    company.run()
    second = company.now - timedelta(minutes=30)
    subscription(company, "new", 3, status="churned", tier="silver", ends="2020-01-01")
    subscription(company, "old", 3, status="active", tier="gold")
    company.run()

    def receipt(**at: Any) -> tuple[Any, Any, list[str | None]]:
        view = company.customers.profile("1", now=company.now, **at)
        told = view.values["tier"].receipt
        return told.value, told.winners[0].record, [each.record for each in told.losers]

    assert receipt() == ("gold", "old", ["new"])
    assert receipt(as_of=second) == ("silver", "new", ["old"])
    assert receipt(as_of=first) == ("gold", "old", [])
    later = declared(BY_STATUS)
    later["attributes"]["status"]["keep_history"] = "1 day"
    company.declare(later)
    company.now += timedelta(days=9)
    company.run()
    assert "sources/billing/people" in forget_history(company.workspace, now=company.now)
    assert receipt(as_of=second) == ("silver", "new", ["old"])
    assert company.customers.profiles(as_of=second).to_arrow()["tier"].to_pylist() == ["silver"]


_VALUES: dict[str, st.SearchStrategy[str | None]] = {
    "status": st.none() | st.sampled_from(["active", "prospect", "churned"]),
    "tier": st.none() | st.sampled_from(["gold", "silver"]),
    "ends": st.none() | st.sampled_from(["2026-12-31", "2027-06-30"]),
    "opt_in": st.none() | st.sampled_from(["yes", "no"]),
    "no": st.sampled_from(["1", "1", "2"]),
    "gone": st.sampled_from([None, None, None, "1"]),
}
_CHANGES = st.dictionaries(
    st.sampled_from("abcd"), st.fixed_dictionaries(_VALUES), min_size=1, max_size=4
)
_WINNERS = st.sampled_from(
    [BY_STATUS, {"status": ["churned"]}, "ends", "updated_at", ["tier", {"status": ["active"]}]]
)


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(_WINNERS, st.lists(_CHANGES, min_size=1, max_size=3))
def test_values_are_those_of_the_models_record(
    winner: Any, steps: list[dict[str, dict[str, str | None]]]
) -> None:
    """Whatever comes, changes, moves and goes: a profile has exactly the values of the record that
    a plain model chooses, step by step; and receipts, in plain Python, name that record."""
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder), declared(winner))
        rows: dict[str, dict[str, Any]] = {}
        for hour, step in enumerate(steps):
            for key, values in step.items():
                rows[key] = {**values, "changed": hour}
                subscription(company, key, hour - 9, **values)
            company.run()
            expected = _expected(winner, rows)
            found = {
                row["customer_no"][0]: {
                    "status": row["status"], "tier": row["tier"], "opt_in": row["opt_in"],
                    "ends": row["ends"] and str(row["ends"]),
                }
                for row in company.customers.profiles().to_arrow().to_pylist()
            }  # fmt: skip
            assert found == {no: values for no, (_, values) in expected.items()}
        for no, (record, _) in expected.items():
            view = company.customers.profile(no, now=company.now)
            for name in ("status", "tier", "ends"):
                receipt = view.values[name].receipt
                won = [each.record for each in receipt.winners]
                assert won == ([] if receipt.value is None else [record])
                assert {each.outvoted_by for each in receipt.losers} <= {record}


def _expected(winner: Any, rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    def standing(key: str) -> list[Any]:
        row = rows[key]
        listed = winner if isinstance(winner, list) else [winner]
        found: list[Any] = []
        for each in listed:
            if isinstance(each, str):
                each = {each: None}
            for name, words in each.items():
                if name == "then":
                    found += [row["ends"] or "", row["changed"]]
                elif words:
                    known = row[name] in words
                    found.append(9 - words.index(row[name]) if known else bool(row[name]))
                else:
                    found.append(row["changed"] if name == "updated_at" else row[name] or "")
        return [*found, row["changed"], first_seen[key]]

    # of equals the record that was known last wins
    first_seen = {key: number for number, key in enumerate(rows)}
    living = [key for key, row in rows.items() if not row["gone"]]
    found: dict[str, Any] = {}
    for no in {rows[key]["no"] for key in living}:
        own = [key for key in living if rows[key]["no"] == no]
        best = max(own, key=standing)
        said = [rows[key]["opt_in"] == "yes" for key in own if rows[key]["opt_in"]]
        values = {name: rows[best][name] for name in ("status", "tier", "ends")}
        found[no] = (best, {**values, "opt_in": all(said) if said else None})
    return found


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        ({"winner": "status"}, "write survivorship: record beside it"),
        ({"survivorship": "record", "winner": "stat"}, "stat is no attribute of this sync"),
        ({"survivorship": "record", "winner": {"ends": ["x"]}}, "the type of ends is date"),
        ({"survivorship": "record", "winner": {"status": []}}, "needs the words of status"),
        ({"survivorship": "record", "winner": {"then": "ends"}}, "must be a field, or one field"),
        ({"survivorship": "newest"}, "must be attribute or record"),
    ],
)
def test_a_winner_that_cannot_be_found_is_a_mistake(
    tmp_path: Path, sync: dict[str, Any], told: str
) -> None:
    """Each is told with its line and what would be right."""
    made = declared()
    made["systems"]["billing"]["syncs"]["people"] |= sync
    with pytest.raises(CatalogueError) as caught:
        Company(tmp_path, made).workspace.catalogue  # noqa: B018
    assert told in str(caught.value)


def test_a_winner_may_name_a_source_field(tmp_path: Path) -> None:
    """A field's own name stands for the attribute that is read from it."""
    made = declared(["changed"])
    sync = made["systems"]["billing"]["syncs"]["people"]
    sync["attributes"] = {"status": "points", "tier": "tier"}
    sync["winner"] = {"points": ["active"], "then": "changed"}
    for name in ("ends", "opt_in"):
        made["attributes"][name]["sources"] = ["crm"]
    company = Company(tmp_path, made)
    subscription(company, "a", -9, points="active", tier="gold")
    subscription(company, "b", -1, points="churned", tier="silver")
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "gold"}


def test_conditions_that_may_mix_records_are_noted(tmp_path: Path) -> None:
    """Two attributes of one sync in one condition are noted, unless the sync says what survives,
    its key is the customer number, or a rule combines them anyway."""
    where = {"all": [{"status": {"is": "active"}}, {"tier": {"is": "gold"}}]}
    combined = {"all": [{"status": {"is": "active"}}, {"opt_in": {"is": True}}]}

    def notes(**sync: Any) -> list[str]:
        made = declared(**sync)
        made["systems"]["crm"]["syncs"]["people"]["key"] = "no"
        made["audiences"] = {"gold": {"where": where}, "fine": {"where": combined}}
        company = Company(tmp_path, made)
        return list(survivorship_notes(load_catalogue(company.folder / "catalog")))

    [told] = notes()
    assert told.startswith(
        "billing.people: a customer's records may differ, and a condition may then mix them: "
        "status and tier (audience gold). Write survivorship: record"
    )
    assert notes(survivorship="attribute") == notes(survivorship="record") == []


def test_a_presets_winner_goes_with_what_is_taken() -> None:
    """All values are one subscription's; its status decides where it is taken under any name, and
    what is declared otherwise stays so."""

    def sync(**own: Any) -> Any:
        system = {"system": "stripe", "connection": {"type": "stripe", "api_key": {"env": "K"}}}
        expansion = expand({**system, "syncs": {"subscriptions": own}}, shipped("stripe"))
        assert not expansion.mistakes
        made = expansion.data["syncs"]["subscriptions"]
        return made.get("survivorship"), "winner" in made

    ends = "subscription_period_end"
    assert sync(attributes=["subscription_status", ends]) == ("record", True)
    renamed = {"state": {"suggested": "subscription_status"}}
    assert sync(attributes=renamed) == ("record", True)
    assert sync(attributes=[ends]) == ("record", False)
    assert sync(attributes=[ends], winner=ends) == ("record", True)
    mine = sync(attributes=["subscription_status"], survivorship="attribute")
    assert mine == ("attribute", False)
    assert sync(attributes={"subscriptions": {"aggregate": "count"}}) == (None, False)
