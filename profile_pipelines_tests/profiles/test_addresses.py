"""Which of a customer's several addresses is used: the one decision of all who use one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profile_pipelines.errors import CatalogueError
from profile_pipelines.profiles.values import values_of
from profile_pipelines_tests.company import Company, catalogue, stamp


def company_of(folder: Path, sources: list[str] | None) -> Company:
    """A CRM and billing, which both know addresses, of which one may be trusted more."""
    declared = catalogue(("crm", "billing"), ("tier",))
    if sources is not None:
        declared["identifiers"]["email"]["sources"] = sources
    for system in declared["systems"].values():
        system["syncs"]["people"]["max_deleted"] = "100%"
    return Company(folder, declared)


def used(company: Company) -> dict[str, Any]:
    """By customer number the address that messages and deliveries take."""
    space = company.workspace
    rows = company.customers.profiles().to_arrow().to_pylist()
    ids = {row["profile_id"]: row["customer_no"][0] for row in rows}
    found = values_of(space.catalogue, space.lake, list(ids), {"email", "tier"})
    return {ids[number]: row["email"] for number, row in found.items()}


@pytest.mark.parametrize(
    ("sources", "order"),
    [
        (None, ["new@x.de", "mid@x.de", "abc@x.de"]),
        (["crm"], ["mid@x.de", "abc@x.de", "new@x.de"]),
        (["billing", "crm"], ["new@x.de", "mid@x.de", "abc@x.de"]),
    ],
)
def test_the_trusted_systems_newest_address_is_used(
    tmp_path: Path, sources: list[str] | None, order: list[str]
) -> None:
    """Not the first by the alphabet: that of the system which stands first, then the newest; a
    profile lists all with where they come from, the used one first."""
    company = company_of(tmp_path, sources)
    company.put("crm", "a", no="1", email="abc@x.de", changed=stamp(-9))
    company.put("crm", "b", no="1", email="mid@x.de", changed=stamp(-5))
    company.put("billing", "c", no="1", email="new@x.de", changed=stamp(-1))
    company.put("billing", "d", no="2", email="only@x.de", changed=stamp(-1))
    company.put("crm", "e", no="3", changed=stamp(-1))
    company.run()
    assert used(company) == {"1": order[0], "2": "only@x.de", "3": None}
    view = company.customers.profile("1", now=company.now)
    assert list(view.identifiers["email"]) == order
    told = {each.value: each for each in view.known_values["email"]}
    assert (told["mid@x.de"].system, told["mid@x.de"].record) == ("crm", "b")
    at = told["mid@x.de"].record_updated_at
    assert at is not None
    assert at.isoformat() == stamp(-5)
    company.put("billing", "c", no="1", email="abc@x.de", changed=stamp(1))
    company.run()
    assert used(company)["1"] == ("mid@x.de" if sources == ["crm"] else "abc@x.de")


_ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["crm", "billing"]), st.sampled_from("abc")),
    st.tuples(
        st.sampled_from("12"), st.none() | st.sampled_from(["a@x.de", "b@x.de", "c@x.de"]),
        st.integers(-9, -1),
    ),
    min_size=1,
)  # fmt: skip


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.sampled_from([None, ["crm"], ["billing", "crm"]]), _ROWS)
def test_screens_and_messages_choose_alike(
    sources: list[str] | None, rows: dict[tuple[str, str], tuple[str, str | None, int]]
) -> None:
    """What is used for messages, in SQL, is what a profile lists first, in plain Python."""
    with tempfile.TemporaryDirectory() as folder:
        company = company_of(Path(folder), sources)
        for (system, key), (no, email, hour) in rows.items():
            company.put(system, key, no=no, email=email, changed=stamp(hour))
        company.run()
        for no, email in used(company).items():
            listed = company.customers.profile(no, now=company.now).identifiers["email"]
            assert (listed[0] if listed else None) == email


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["crn"], "unknown system crn"),
        (["crm", "crm"], "names crm twice"),
        (["billing"], "system billing maps no field to email"),
    ],
)
def test_trust_in_who_knows_nothing_is_a_mistake(
    tmp_path: Path, sources: list[str], told: str
) -> None:
    """Each is told with its line."""
    declared = catalogue(("crm", "billing"), ("tier",))
    declared["identifiers"]["email"]["sources"] = sources
    del declared["systems"]["billing"]["syncs"]["people"]["identifiers"]["email"]
    with pytest.raises(CatalogueError) as caught:
        Company(tmp_path, declared).workspace.catalogue  # noqa: B018
    assert told in str(caught.value)
