"""Meta: people are added to a custom audience, and removed from it, by hashed identifiers.

POST and DELETE of /{audience}/users take a `payload` with a schema and up to 10,000 rows.
Source: https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience/users
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from requests.auth import AuthBase

from profile_pipelines.activation.api import Api
from profile_pipelines.activation.service import Operation, Row, Service
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.destinations import Destination, MetaAudience
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import DestinationError
from profile_pipelines.sources.rest_auth import HeaderAuth

_THROTTLED = frozenset({1, 2, 4, 17, 32, 341, 613, *range(80000, 80015)})
"""Codes of a refusal that passes: https://developers.facebook.com/docs/graph-api/guides/error-handling"""
_PAUSE = 300.0


class MetaService(Service):
    """Changes one custom audience."""

    at_once: int | None = 10_000

    def __init__(self, destination: Destination, target: MetaAudience) -> None:
        def auth(api: Api) -> AuthBase:
            return HeaderAuth("Authorization", f"Bearer {resolve(target.access_token)}")

        super().__init__(Api(destination.destination, target, target.url, auth=auth))
        self._path = f"/{target.audience_id}/users"
        self._schema = list(destination.columns.values())

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        data: list[list[str]] = [json.loads(row["key"]) for row in rows]
        payload = {"schema": self._schema, "data": data}
        method = "POST" if operation == "add" else "DELETE"
        answer = self._api.call(method, self._path, data={"payload": json.dumps(payload)})
        if answer.status >= 300:
            error = answer.body.get("error")
            told = error if isinstance(error, dict) else {}
            code, subcode = told.get("code"), told.get("error_subcode")
            if code in _THROTTLED or told.get("is_transient"):
                raise DestinationError(
                    f"{self._api.where}: Meta asks for a pause (code {code}); the next run after "
                    "it goes on from here",
                    _PAUSE,
                )
            raise DestinationError(
                f"{self._api.where}: Meta refuses the request (code {code}, subcode {subcode}); "
                "check the token, its rights and the audience"
            )
        samples = answer.body.get("invalid_entry_samples")
        invalid = {str(each) for each in samples} if isinstance(samples, dict) else set[str]()
        return {
            row["profile_id"]: "invalid entry"
            for row, told in zip(rows, data, strict=True)
            if invalid.intersection(filter(None, told))
        }
