"""A server that follows the documented behaviour of Dataverse's Web API (OData 4)."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.presets.support_servers import iso
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]
_FORMATTED = "OData.Community.Display.V1.FormattedValue"
_WORDS = {
    "preferredcontactmethodcode": {1: "Any", 2: "Email"},
    "customertypecode": {3: "Customer", 10: "Supplier"},
    "industrycode": {},
    "statecode": {0: "Active", 1: "Inactive"},
}


class Dynamics(Vendor):
    """https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"contacts": {}, "accounts": {}}
        self.log: dict[str, list[str]] = {"contacts": [], "accounts": []}
        self.forgotten = 0
        self.tracks_changes = True
        for number in range(COUNT):
            self.add(number, later(number))
        api.answers["/t-1/oauth2/v2.0/token"] = self._token
        for table in self.found:
            path = f"/api/data/v9.2/{table}"
            api.answers[path] = lambda request, t=table: self._query(request, t)

    def add(self, number: int, at: datetime) -> None:
        """A contact and an account."""
        contact, account = (f"{kind}-0000-0000-0000-{number:012}" for kind in ("c0", "a0"))
        self.found["contacts"][contact] = {
            "contactid": contact, "emailaddress1": f"user{number}@example.com", "mobilephone": None,
            "donotbulkemail": number == 1, "statecode": 0, "address1_country": "Austria",
            "preferredcontactmethodcode": 2 if number % 2 else 1, "birthdate": "1980-02-29",
            "_parentcustomerid_value": account, "modifiedon": iso(at),
        }  # fmt: skip
        self.found["accounts"][account] = {
            "accountid": account, "customertypecode": 3, "industrycode": None,
            "revenue": 1000000.5, "modifiedon": iso(at),
        }  # fmt: skip
        for table, key in (("contacts", contact), ("accounts", account)):
            self.log[table].append(key)

    def delete(self, table: str, key: str) -> None:
        del self.found[table][key]
        self.log[table].append(key)

    def _token(self, request: Request) -> Response:
        """Entra's v2.0 endpoint: the scope is the environment's address and `/.default`.

        https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
        """
        form = request.state.body
        assert form["grant_type"] == "client_credentials"
        assert form["scope"] == f"{self.api.url}/.default"
        if (form["client_id"], form["client_secret"]) != ("app", "s3cr3t"):
            return JSONResponse({"error": "invalid_client", "error_codes": [7000215]}, 401)
        return JSONResponse({"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ0"})

    def _query(self, request: Request, table: str) -> Response:
        """…/query/page-results: the next page's address has all of the query; `$skip` isn't there.

        …/query/select-columns: unknown columns are an error, whose name its message quotes.
        """
        if request.headers.get("authorization") != "Bearer eyJ0":
            return JSONResponse({"error": {"code": "0x80072560", "message": "not a member"}}, 401)
        assert "$skip" not in request.query_params
        assert request.headers["odata-version"] == "4.0"
        prefer = request.headers["prefer"]
        if "$deltatoken" in request.query_params:
            return self._delta(request, table)
        tracks = prefer == "odata.track-changes"
        assert tracks or "odata.maxpagesize=5000" in prefer
        if tracks and not self.tracks_changes:
            return JSONResponse({"error": {"code": "0x80060892", "message": "not enabled"}}, 400)
        records = list(self.found[table].values())
        names = request.query_params["$select"].split(",")
        for name in names:
            if name not in records[0]:
                kind = f"Microsoft.Dynamics.CRM.{table.removesuffix('s')}"
                text = f"Could not find a property named '{name}' on type '{kind}'."
                return JSONResponse({"error": {"code": "0x80060888", "message": text}}, 400)
        if asked := request.query_params.get("$filter"):
            found = re.fullmatch(r"modifiedon ge (\S+Z)", asked)
            assert found, asked
            records = [each for each in records if each["modifiedon"] >= found[1]]
        start = int(request.query_params.get("$skiptoken", "0"))
        page = [
            _selected(each, names, annotated=_FORMATTED in prefer)
            for each in records[start : start + PAGE]
        ]
        answer: _Record = {"@odata.context": f"…/$metadata#{table}", "value": page}
        if start + PAGE < len(records):
            url = request.url.include_query_params(**{"$skiptoken": start + PAGE})
            answer["@odata.nextLink"] = str(url)
        elif tracks:
            answer["@odata.deltaLink"] = self._link(request, table)
        return JSONResponse(answer)

    def _link(self, request: Request, table: str) -> str:
        url = request.url.replace(query="")
        token = f"{self.forgotten}-{len(self.log[table])}"
        return str(url.include_query_params(**{"$deltatoken": token}))

    def _delta(self, request: Request, table: str) -> Response:
        """What happened since the token; a deleted row has its id and the reason alone.

        …/use-change-tracking-synchronize-data-external-systems; an old token is gone.
        """
        made, _, start = request.query_params["$deltatoken"].partition("-")
        if int(made) != self.forgotten:
            error = {"code": "0x80044352", "message": "the version stamp has expired"}
            return JSONResponse({"error": error}, 410)
        page: list[_Record] = []
        for key in dict.fromkeys(self.log[table][int(start) :]):
            if key in self.found[table]:
                page.append({f"{table.removesuffix('s')}id": key})
            else:
                context = f"…/$metadata#{table}/$deletedEntity"
                page.append({"@odata.context": context, "id": key, "reason": "deleted"})
        link = self._link(request, table)
        return JSONResponse({"@odata.context": "…/$delta", "@odata.deltaLink": link, "value": page})

    def expected(self, stream: str) -> Rows:
        if stream == "contacts":
            return {
                key: {
                    "email_opt_in": not each["donotbulkemail"],
                    "crm_active": each["statecode"] == 0,
                    "contact_method": {1: "Any", 2: "Email"}[each["preferredcontactmethodcode"]],
                    "crm_country": "Austria",
                    "birthdate": date(1980, 2, 29),
                }
                for key, each in self.found[stream].items()
            }
        return {
            key: {
                "account_type": {3: "Customer", 10: "Supplier"}[each["customertypecode"]],
                "industry": None,
                "annual_revenue": Decimal("1000000.5"),
            }
            for key, each in self.found[stream].items()
        }

    def change(self) -> None:
        at = iso(later(COUNT + 1))
        self.add(COUNT, later(COUNT + 1))
        contact, account = (f"{kind}-0000-0000-0000-{1:012}" for kind in ("c0", "a0"))
        self.found["contacts"][contact] |= {
            "donotbulkemail": False,
            "statecode": 1,
            "modifiedon": at,
        }
        self.found["accounts"][account] |= {"customertypecode": 10, "modifiedon": at}


def _selected(record: _Record, names: list[str], *, annotated: bool) -> _Record:
    """The columns, and beside a choice's number its word; none for null."""
    found: _Record = {"@odata.etag": 'W/"1"'}
    for name in names:
        found[name] = record[name]
        word = _WORDS.get(name, {}).get(record[name])
        if annotated and word is not None:
            found[f"{name}@{_FORMATTED}"] = word
    return found


CASES = [
    Case(
        "dynamics",
        Dynamics,
        fields={
            "environment_url": "{server}",
            "login_url": "{server}",
            "tenant_id": "t-1",
            "client_id": {"env": "DYNAMICS_CLIENT_ID"},
            "client_secret": {"env": "DYNAMICS_CLIENT_SECRET"},
        },
        records={"contacts": "value", "accounts": "value"},
        secrets={"DYNAMICS_CLIENT_ID": "app", "DYNAMICS_CLIENT_SECRET": "s3cr3t"},
    )
]
