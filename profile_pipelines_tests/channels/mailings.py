"""Customers who get a mail whenever a test says so."""

from __future__ import annotations

import asyncio
import email
import email.policy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette

from profile_pipelines import journey_steps, privacy_steps
from profile_pipelines.consent.unsubscribe_links import UnsubscribeLinks
from profile_pipelines.webhooks.unsubscribe import unsubscribe_route
from profile_pipelines_tests.company import Company, catalogue, joining

LINKS = UnsubscribeLinks("https://mail.example.org", "k" * 32)
DAY = timedelta(days=1)
MAIL = {"type": "file", "to": "email", "folder": "outbox/drop"}


class Mailings:
    """Customers of one system, who get a mail whenever `send` is called."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        declared = joining(catalogue(("crm",), ("status", "opt_in")))
        declared["identifiers"]["customer_no"].pop("per_profile")
        declared["attributes"]["opt_in"] |= {"consent": "email", "fresh_within": "999 days",
                                             "max_changed": "100%"}  # fmt: skip
        declared["attributes"]["status"] |= {"max_changed": "100%"}
        declared["systems"]["crm"]["syncs"]["people"] |= {"max_deleted": "100%"}
        mail = {**MAIL, "folder": str(folder / "drop")}
        declared["channels"] = {"channels": {"drop": mail}, "limits": limits}
        declared["templates"] = {"hello.txt": "Subject: hello {{ customer_no }}\n\nx\n"}
        self.company = Company(folder, declared)
        self.sent = 0

    def put(self, no: str, address: str, **values: Any) -> None:
        changed = self.company.now.isoformat()
        row = {"no": no, "email": address, "status": "active", "opt_in": "yes", **values}
        self.company.put("crm", no, changed=changed, **row)

    def run(self) -> None:
        self.company.now += DAY
        self.company.run()

    def send(self, *numbers: str, at: datetime | None = None) -> dict[str, str]:
        """By customer number: what became of a mail to them."""
        company = self.company
        ids = {company.customers.profile(no).profile_id: no for no in numbers}
        self.sent += 1
        rows = [
            {
                "journey": "welcome", "version": 1, "enrolment": profile_id,
                "step": str(self.sent), "channel": "drop", "template": "hello",
                "consent": "email", "profile_id": profile_id, "decided_at": company.now,
                "next_attempt_at": company.now, "expires_at": None,
            }
            for profile_id in ids
        ]  # fmt: skip
        outbox = company.workspace.ledger.outbox
        with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
            outbox.decide(connection, rows)
        now = at or company.now
        journey_steps.dispatch(company.workspace, clock=lambda: now)
        return {
            ids[row["profile_id"]]: row["reason"] or row["state"]
            for row in outbox.messages(limit=None)
            if row["step"] == str(self.sent)
        }

    def click(self, subject: str, query: str = "") -> None:
        """One click, at the mail with this subject."""
        company = self.company
        mails = [
            email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            for path in sorted((company.folder / "drop").glob("*.eml"))
        ]
        link = next(each["List-Unsubscribe"] for each in mails if each["Subject"] == subject)
        at = urlsplit(link.strip("<>")).path + query
        app = Starlette(
            routes=[unsubscribe_route(LINKS, lambda: company.workspace.ledger, lambda: company.now)]
        )

        async def post() -> int:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
                return (await client.post(at)).status_code

        assert asyncio.run(post()) == 200

    def restore(self, identifier: str) -> list[int]:
        return privacy_steps.restore_consent(
            self.company.workspace, identifier, "email", by="ann", because="asked by phone",
            now=self.company.now,
        )  # fmt: skip
