"""Braze: a custom attribute that is true for members, with the columns as further attributes.

POST /users/track takes 75 attribute objects a request, names what it won't take by `index`, and
takes an attribute away for null; `_update_existing_only` keeps a removal from making a user.
Source: https://braze.com/docs/api/endpoints/user_data/post_user_track
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from requests.auth import AuthBase

from profile_pipelines.activation.api import Api, BatchRefusedError
from profile_pipelines.activation.service import Operation, Row, Service, said
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.destinations import Braze, Destination
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.sources.rest_auth import HeaderAuth


class BrazeService(Service):
    """Writes one custom attribute, and the columns."""

    at_once: int | None = 75

    def __init__(self, destination: Destination, target: Braze) -> None:
        def auth(api: Api) -> AuthBase:
            return HeaderAuth("Authorization", f"Bearer {resolve(target.api_key)}")

        super().__init__(Api(destination.destination, target, target.url, auth=auth))
        self._attribute = target.attribute
        self._columns = list(destination.columns.values())

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        answer = self._api.post(
            "/users/track", {"attributes": [self._attributes(operation, row) for row in rows]}
        )
        errors = answer.body.get("errors")
        refused: dict[int, str] = {}
        for each in errors if isinstance(errors, list) else []:
            index = each.get("index") if isinstance(each, dict) else None
            if isinstance(index, int) and 0 <= index < len(rows):
                refused[rows[index]["profile_id"]] = said(each.get("type"), rows[index])
        if answer.status >= 300 and len(refused) < len(rows):
            # a fatal answer: nothing of it was taken
            raise BatchRefusedError(f"HTTP {answer.status}")
        return refused

    def _attributes(self, operation: Operation, row: Row) -> dict[str, Any]:
        if operation == "remove":
            gone = dict.fromkeys(self._columns)
            own = {"external_id": row["key"], "_update_existing_only": True}
            return {**gone, **own, self._attribute: False}
        told = {name: row[name] for name in self._columns}
        return {**told, "external_id": row["key"], self._attribute: True}
