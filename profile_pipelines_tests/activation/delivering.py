"""A company whose audience of active customers is delivered to one destination, `out`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profile_pipelines import destination_steps
from profile_pipelines.activation.deliver import DeliveryResult
from profile_pipelines_tests.privacy.reminders import Reminders, declared


def with_destination(to: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The catalogue of the reminders, with a destination in place of the journey."""
    made = declared()
    made["journeys"] = {}
    del made["channels"], made["templates"]
    columns = {} if to["type"] in ("customer_io", "hubspot_list") else {"email": "mail"}
    made["destinations"] = {
        "out": {"audience": "active", "consent": "email", "columns": columns, "to": to, **more}
    }
    return made


class Delivering(Reminders):
    """Its runs deliver."""

    def __init__(
        self, folder: Path, to: dict[str, Any], ledger: str | None = None, **more: Any
    ) -> None:
        super().__init__(folder, with_destination(to, **more), ledger=ledger)

    def deliver(self, *, full: bool = True) -> DeliveryResult:
        """Sync, evaluate and deliver; then the clock moves on by an hour."""
        now = self.now
        self.run(full=full)
        return destination_steps.deliver(self.workspace, "out", clock=lambda: now)

    def number(self, key: str) -> int:
        """The profile of a customer."""
        return self.customers.profile(f"c{key}@example.com", now=self.now).profile_id
