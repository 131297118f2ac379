"""HubSpot: contacts are added to a static list, and removed from it.

PUT …/memberships/add-and-remove takes record ids, and names those that are missing. A contact who
is known by email is looked up before, 100 at a time.
Sources: https://developers.hubspot.com/docs/api-reference/2026-03/crm/lists/memberships/update-list-memberships
and …/2026-03/crm/objects/contacts/batch (read contacts by a unique property)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requests.auth import AuthBase

from profile_pipelines.activation.api import Answer, Api, BatchRefusedError, as_json
from profile_pipelines.activation.service import Operation, Row, Service
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.destinations import HubSpotList
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.sources.rest_auth import HeaderAuth

_LOOKED_UP = 100
_UNKNOWN = "HubSpot has no such contact"


class HubSpotService(Service):
    """Changes one list."""

    at_once: int | None = 1000

    def __init__(self, name: str, target: HubSpotList) -> None:
        def auth(api: Api) -> AuthBase:
            return HeaderAuth("Authorization", f"Bearer {resolve(target.token)}")

        super().__init__(Api(name, target, target.url, auth=auth))
        self._list, self._by_email = target.list_id, target.id_type == "email"

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        records = self._records(rows) if self._by_email else {r["key"]: r["key"] for r in rows}
        ids = sorted({records[r["key"].lower()] for r in rows if r["key"].lower() in records})
        missing: set[str] = set()
        if ids:
            key = "recordIdsToAdd" if operation == "add" else "recordIdsToRemove"
            body = {"recordIdsToAdd": [], "recordIdsToRemove": [], key: ids}
            path = f"/crm/lists/2026-03/{self._list}/memberships/add-and-remove"
            answer = self._checked(self._api.call("PUT", path, data=as_json(body)))
            missing = {str(each) for each in answer.body.get("recordIdsMissing") or []}
        if operation == "remove":
            # who isn't a contact is in no list
            return {}
        return {
            row["profile_id"]: _UNKNOWN
            for row in rows
            if records.get(row["key"].lower()) in (None, *missing)
        }

    def _records(self, rows: Sequence[Row]) -> dict[str, str]:
        """By email in lower case: the record ids of the contacts that there are."""
        found: dict[str, str] = {}
        keys = sorted({row["key"] for row in rows})
        for start in range(0, len(keys), _LOOKED_UP):
            body: dict[str, Any] = {
                "idProperty": "email",
                "properties": ["email"],
                "inputs": [{"id": key} for key in keys[start : start + _LOOKED_UP]],
            }
            answer = self._checked(self._api.post("/crm/objects/2026-03/contacts/batch/read", body))
            for each in answer.body.get("results") or []:
                email = (each.get("properties") or {}).get("email")
                if email:
                    found[str(email).lower()] = str(each["id"])
        return found

    def _checked(self, answer: Answer) -> Answer:
        if answer.status >= 300:
            raise BatchRefusedError(
                str(answer.body.get("category") or f"HTTP {answer.status}")[:60]
            )
        return answer
