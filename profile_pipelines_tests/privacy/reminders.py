"""A company with consents, whose one journey writes to every active customer, again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profile_pipelines import journey_steps
from profile_pipelines.channels.dispatch import DispatchResult
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

SEND = {"send": {"channel": "drop", "template": "hello", "expire_after": "400 days"}}


def declared(systems: tuple[str, ...] = ("crm", "billing"), **journey: Any) -> dict[str, Any]:
    """The catalogue: two systems, a consent, an audience, a journey that sends every day."""
    made = catalogue(systems, ("status", "tier", "opt_in"))
    for attribute in made["attributes"].values():
        attribute |= {
            "fresh_within": "400 days", "max_changed": "100%", "max_emptied": "100%",
        }  # fmt: skip
    for system in made["systems"].values():
        system["syncs"]["people"]["max_deleted"] = "100%"
    made["attributes"]["opt_in"]["consent"] = "email"
    made["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    made["channels"] = {"channels": {"drop": {"type": "file", "to": "email"}}}
    made["templates"] = {"hello.txt": "Subject: Hello\n\n{{ tier }}\n"}
    steps = [SEND, {"wait": "20 hours"}] * 3
    made["journeys"] = {"daily": {"audience": "active", "consent": "email", "steps": steps}}
    made["journeys"]["daily"] |= journey
    return made


class Reminders(Company):
    """Its runs tick and send, too."""

    def __init__(
        self,
        folder: Path,
        made: dict[str, Any] | None = None,
        ledger: str | None = None,
        lake: str | None = None,
    ) -> None:
        super().__init__(folder, made or declared(), lake=lake, ledger=ledger)

    def customer(self, key: str, system: str = "crm", **values: str | None) -> None:
        """What a system says of a customer from now on."""
        row: dict[str, str | None] = {
            "no": key, "email": f"c{key}@example.com", "status": "active", "tier": "gold",
            "opt_in": "yes", "changed": stamp((self.now - START) / HOUR), **values,
        }  # fmt: skip
        self.put(system, key, **row)

    def remind(self, *, full: bool = False) -> DispatchResult:
        """Sync, evaluate, tick and send; then the clock moves on by an hour."""
        now = self.now
        self.run(full=full)
        for name in self.workspace.catalogue.journeys:
            journey_steps.tick_journey(self.workspace, name, now=now)
        return journey_steps.dispatch(self.workspace, clock=lambda: now)

    def unsubscribe(self, identifier: str) -> int:
        """By the link that the customer's profile got."""
        profile_id = self.customers.profile(identifier, now=self.now).profile_id
        self.workspace.ledger.unsubscribes.add(profile_id, "email", now=self.now)
        return profile_id
