"""Google Customer Match, over the Data Manager API: audience members by hashed identifiers.

POST /v1/audienceMembers:ingest and :remove take 10,000 members a request, encoded as HEX; a 400
names the members that it is for. What Google finds out later (`requestStatus`) isn't asked for.
Sources: https://developers.google.com/data-manager/api/reference/rest/v1/audienceMembers/ingest
and …/devguides/audiences/send-audience-members
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from requests.auth import AuthBase

from profile_pipelines.activation.api import Answer, Api, BatchRefusedError
from profile_pipelines.activation.service import Operation, Row, Service, said
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.connections import OAuth2Auth
from profile_pipelines.catalog.destination_checks import GOOGLE_ADDRESS
from profile_pipelines.catalog.destinations import Destination, GoogleCustomerMatch
from profile_pipelines.errors import DestinationError
from profile_pipelines.sources.rest_auth import authentication

_NAMES = {
    "email": "emailAddress",
    "phone": "phoneNumber",
    "given_name": "givenName",
    "family_name": "familyName",
    "region_code": "regionCode",
    "postal_code": "postalCode",
}
_INDEX = re.compile(r"audience_?members\[(\d+)\]", re.IGNORECASE)


class GoogleService(Service):
    """Changes one user list."""

    at_once: int | None = 10_000

    def __init__(self, destination: Destination, target: GoogleCustomerMatch) -> None:
        def auth(api: Api) -> AuthBase:
            declared = OAuth2Auth(
                type="oauth2",
                url=target.login_url,
                client_id=target.client_id,
                client_secret=target.client_secret,
                refresh_token=target.refresh_token,
            )
            found = authentication(api.where, declared, api.base_url, api.fetch_token)
            assert found is not None
            return found

        super().__init__(Api(destination.destination, target, target.url, auth=auth))
        self._kinds = list(destination.columns.values())
        place: dict[str, Any] = {
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": target.account_id},
            "productDestinationId": target.audience_id,
        }
        if target.login_account_id is not None:
            place["loginAccount"] = {
                "accountType": "GOOGLE_ADS", "accountId": target.login_account_id,
            }  # fmt: skip
        self._common: dict[str, Any] = {"destinations": [place], "encoding": "HEX"}

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        members = [self._member(json.loads(row["key"])) for row in rows]
        body: dict[str, Any] = {**self._common, "audienceMembers": members}
        path = "/v1/audienceMembers:remove"
        if operation == "add":
            path = "/v1/audienceMembers:ingest"
            # nobody is delivered without the purpose's consent at this moment
            granted = {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"}
            terms = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
            body |= {"consent": granted, "termsOfService": terms}
        answer = self._api.post(path, body)
        if answer.status < 300:
            return {}
        refused = _violations(answer, rows)
        if not refused:
            error = answer.body.get("error")
            status = error.get("status") if isinstance(error, dict) else None
            raise DestinationError(
                f"{self._api.where}: Google refuses the request ({status or answer.status}); "
                "check the accounts, the audience's number and what the OAuth client may do"
            )
        left = [row for row in rows if row["profile_id"] not in refused]
        if not left:
            return refused
        if len(left) == len(rows):
            raise BatchRefusedError(f"HTTP {answer.status}")
        return {**refused, **self._send(operation, left, part)}

    def _member(self, hashed: Sequence[str]) -> dict[str, Any]:
        told = {kind: text for kind, text in zip(self._kinds, hashed, strict=True) if text}
        identifiers: list[dict[str, Any]] = [
            {_NAMES[kind]: text} for kind, text in told.items() if kind not in GOOGLE_ADDRESS
        ]
        address = {_NAMES[kind]: text for kind, text in told.items() if kind in GOOGLE_ADDRESS}
        if address:
            identifiers.append({"address": address})
        return {"userData": {"userIdentifiers": identifiers}}


def _violations(answer: Answer, rows: Sequence[Row]) -> dict[int, str]:
    """By profile id: the reasons in the answer's `fieldViolations`."""
    error = answer.body.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    found: dict[int, str] = {}
    for detail in details if isinstance(details, list) else []:
        for each in detail.get("fieldViolations") or []:
            index = _INDEX.search(str(each.get("field", "")))
            if index and int(index[1]) < len(rows):
                row = rows[int(index[1])]
                reason = each.get("reason") or each.get("description")
                found[row["profile_id"]] = said(reason, row)
    return found
