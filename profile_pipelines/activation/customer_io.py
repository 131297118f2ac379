"""Customer.io: people are added to a manual segment, and removed from it.

POST /api/v1/segments/{id}/add_customers and …/remove_customers of the Track API take 1,000 ids a
request, whose kind `id_type` tells; people who are unknown are ignored or made.
Source: https://customer.io/docs/api/track/ (operations add_to_segment, remove_from_segment)
"""

from __future__ import annotations

from collections.abc import Sequence

from requests.auth import AuthBase, HTTPBasicAuth

from profile_pipelines.activation.api import Api, BatchRefusedError
from profile_pipelines.activation.service import Operation, Row, Service
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.destinations import CustomerIo
from profile_pipelines.catalog.secrets import resolve


class CustomerIoService(Service):
    """Changes one segment."""

    at_once: int | None = 1000

    def __init__(self, name: str, target: CustomerIo) -> None:
        def auth(api: Api) -> AuthBase:
            return HTTPBasicAuth(resolve(target.site_id).encode(), resolve(target.api_key).encode())

        super().__init__(Api(name, target, target.url, auth=auth))
        self._segment, self._id_type = target.segment, target.id_type

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        answer = self._api.post(
            f"/api/v1/segments/{self._segment}/{operation}_customers",
            {"ids": [row["key"] for row in rows]},
            params={"id_type": self._id_type},
        )
        if answer.status >= 300:
            raise BatchRefusedError(f"HTTP {answer.status}")
        return {}
