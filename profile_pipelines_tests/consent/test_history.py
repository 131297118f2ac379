"""Every value of a consent can be proven afterwards, and what relied on it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from profile_pipelines import privacy_steps
from profile_pipelines.cli.main import main
from profile_pipelines.consent.history import ConsentedDelivery
from profile_pipelines.errors import NotFound, UnknownName
from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.company import HOUR, joining
from profile_pipelines_tests.privacy.reminders import Reminders, declared

DAY = timedelta(days=1)


def test_values_acts_and_messages_are_told(tmp_path: Path) -> None:
    """What it became, by which source against which, in which run; and each message's ground."""
    company = Reminders(tmp_path)
    company.customer("1")
    began = company.now
    company.remind()
    company.now = began + DAY
    company.customer("1", "billing", opt_in="no")
    withdrawn = company.now
    company.remind()
    company.customer("1", "billing")
    company.now = began + 2 * DAY
    company.remind()
    clicked = company.now
    company.unsubscribe("c1@example.com")
    company.now = began + 3 * DAY
    company.remind()
    privacy_steps.restore_consent(
        company.workspace, "c1@example.com", "email", by="ann", because="phoned", now=company.now
    )
    (found,) = company.customers.consent_history("c1@example.com", now=company.now).values()
    (email,) = found
    assert (email.purpose, email.missing) == ("email", "consent")
    told = [
        (each.value, [g.system for g in each.winners], [g.system for g in each.losers])
        for each in email.values
    ]
    assert told == [
        (False, ["unsubscribes"], ["crm", "billing"]),
        (True, ["crm", "billing"], []),
        (False, ["crm", "billing"], []),
        (True, ["crm"], []),
    ]
    assert [each.recorded_at for each in email.values[1:]] == [began + 2 * DAY, withdrawn, began]
    assert [(act.unsubscribed, act.because) for act in email.acts] == [
        (False, "phoned"), (True, None),
    ]  # fmt: skip
    assert email.acts[1].at == clicked
    assert [each.at for each in email.messages] == [began + 2 * DAY, began]
    second, first = (message.relied_on[0] for message in email.messages)
    assert (first.value, first.systems, first.since) == (True, ("crm",), began)
    assert second.systems == ("crm", "billing")
    assert (first.confirmed_at, second.confirmed_at) == (began, began + 2 * DAY)


def test_destinations_that_hold_the_customer_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the consent they were delivered by; after a withdrawal they hold nobody."""
    company = Delivering(tmp_path, {"type": "csv"})
    company.customer("1")
    delivered = company.now
    assert company.deliver().added == 1

    def deliveries() -> tuple[ConsentedDelivery, ...]:
        (found,) = company.customers.consent_history("c1@example.com", now=company.now).values()
        return found[0].deliveries

    (held,) = deliveries()
    assert (held.destination, held.state, held.at) == ("out", "held", delivered)
    (ground,) = held.relied_on
    assert (ground.value, ground.systems, ground.since) == (True, ("crm",), delivered)
    places = company.workspace.places
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LAKE", str(places.lake))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", places.ledger)
    assert main(["consent", "history", "c1@example.com", "--now", company.now.isoformat()]) == 0
    assert "out" in capsys.readouterr().out.partition("Destinations")[2]
    company.customer("1", opt_in="no")
    assert company.deliver().removed == 1
    assert deliveries() == ()


def test_a_profile_that_went_up_in_another_is_told_with_it(tmp_path: Path) -> None:
    """Its values and messages are the same customer's; a profile that still is there isn't."""
    company = Reminders(tmp_path)
    company.declare(joining(company.declared))
    for key in "123":
        company.customer(key)
    company.remind()
    before = {key: company.customers.profile(f"c{key}@example.com").profile_id for key in "123"}
    company.customer("2", email="c1@example.com")
    company.remind()
    (found,) = company.customers.consent_history("c1@example.com", now=company.now).values()
    gone = [each.profile_id for each in found[0].values if each.gone]
    assert gone == [before["2"]]
    assert {m.profile_id for m in found[0].messages} == {before["1"], before["2"]}
    company.customer("2")
    company.remind()
    (first,) = company.customers.consent_history("c1@example.com", now=company.now).values()
    other = company.customers.profile("c2@example.com", now=company.now).profile_id
    assert other not in {each.profile_id for each in first[0].values}


def test_unknown_people_and_purposes(tmp_path: Path) -> None:
    """Are plain errors."""
    company = Reminders(tmp_path)
    company.customer("1")
    company.remind()
    with pytest.raises(NotFound):
        company.customers.consent_history("nobody@example.com")
    with pytest.raises(UnknownName):
        company.customers.consent_history("c1@example.com", purpose="fax")


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """History in words and as JSON, restore by the login or `--by`; mistakes end plainly."""
    company = Reminders(tmp_path)
    company.customer("1")
    company.remind()
    company.unsubscribe("c1@example.com")
    company.remind()
    places = company.workspace.places
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("catalog", "lake", "ledger"):
        value = str(getattr(places, "catalogue" if name == "catalog" else name))
        monkeypatch.setenv(f"PROFILE_PIPELINES_{name.upper()}", value)
    later = (company.now + HOUR).isoformat()

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--now", later])
        done = capsys.readouterr()
        return code, done.out, done.err

    code, shown, _ = run("consent", "history", "C1@example.com")
    assert code == 0
    assert "no: it is missing, withdrawn or unsubscribed" in shown
    assert "lost: true" in shown
    assert "unsubscribed by a link" in shown
    restore = ("consent", "restore", "C1@example.com", "email", "--because")
    assert run(*restore, " ")[0] == 2
    assert run(*restore, "phoned", "--by", "ann")[0] == 0
    assert run(*restore, "phoned")[0] == 3
    code, shown, _ = run("consent", "history", "c1@example.com", "--purpose", "email", "--json")
    told = json.loads(shown)[0]["purposes"][0]
    assert told["acts"][0]["because"] == "phoned"
    assert told["messages"][0]["relied_on"][0]["value"] is True
    assert run("consent", "history", "c1@example.com", "--purpose", "fax")[0] == 3
    code, _, wrong = run("consent", "history", "nobody@example.com")
    assert (code, "no profile has this identifier" in wrong) == (3, True)


def test_a_catalogue_without_consents_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than showing nothing."""
    made = declared()
    made["attributes"]["opt_in"].pop("consent")
    made["journeys"] = {}
    company = Reminders(tmp_path, made)
    company.customer("1")
    company.run()
    places = company.workspace.places
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LAKE", str(places.lake))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", places.ledger)
    assert main(["consent", "history", "c1@example.com"]) == 0
    assert "no attribute of the catalogue is a consent" in capsys.readouterr().err
