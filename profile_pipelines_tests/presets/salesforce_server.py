"""A server that follows the documented behaviour of Salesforce's REST and Bulk 2.0 APIs."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]
_SOQL = re.compile(r"SELECT ([\w.,]+) FROM (\w+)(?: WHERE SystemModstamp >= (\S+))?\s*$")
_DATA = "/services/data/v62.0"


class Salesforce(Vendor):
    """https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/

    https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm
    """

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"Contact": {}, "Account": {}, "Contract": {}}
        self.tokens: list[str] = []
        self.jobs: list[list[_Record]] = []
        self.states: list[str] = []
        """What jobs say they are before they are complete."""
        for number in range(COUNT):
            self.add(number, later(number))
        api.answers = {
            "/services/oauth2/token": self._token,
            f"{_DATA}/queryAll": self._query,
            f"{_DATA}/jobs/query": self._start_job,
        }

    def add(self, number: int, at: datetime) -> None:
        """An account with its contact and its contract."""
        account, contact = f"001{number:015}", f"003{number:015}"
        self.found["Account"][account] = {
            "Id": account, "Type": "Customer", "Industry": None, "AnnualRevenue": 1500000.0,
            "IsDeleted": False, "SystemModstamp": stamp(at),
        }  # fmt: skip
        self.found["Contact"][contact] = {
            "Id": contact, "Email": f"user{number}@example.com", "MobilePhone": f"+4366400{number}",
            "HasOptedOutOfEmail": number == 1, "MailingCountry": "Austria", "LeadSource": "Web",
            "Account": {"attributes": {"type": "Account"}, "Name": f'Smith, "{number}" & Co'}
            if number != 2 else None,
            "Birthdate": "1980-02-29", "IsDeleted": False, "SystemModstamp": stamp(at),
        }  # fmt: skip
        self.found["Contract"][f"800{number:015}"] = {
            "Id": f"800{number:015}", "AccountId": account, "StatusCode": "Activated",
            "StartDate": "2025-01-01", "EndDate": f"2026-12-{number + 1:02}", "IsDeleted": False,
            "SystemModstamp": stamp(at),
        }  # fmt: skip

    def _token(self, request: Request) -> Response:
        """The answer has no expires_in: a session ends when the organisation says so.

        https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm
        """
        form = request.state.body
        assert form["grant_type"] == "client_credentials"
        if (form["client_id"], form["client_secret"]) != ("sf_key", "sf_secret"):
            return JSONResponse({"error": "invalid_client"}, 400)
        self.tokens.append(f"00D-{len(self.tokens)}")
        answer = {"access_token": self.tokens[-1], "token_type": "Bearer", "issued_at": "1"}
        return JSONResponse({**answer, "instance_url": self.api.url, "scope": "api"})

    def _refused(self, request: Request) -> Response | None:
        """errorcodes.htm: errors are a list of message and errorCode."""
        if self.tokens and request.headers.get("authorization") == f"Bearer {self.tokens[-1]}":
            return None
        body = [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
        return JSONResponse(body, 401)

    def _select(self, soql: str) -> list[_Record] | Response:
        """The records with what was selected, in no order; or how an unknown field is refused."""
        asked = _SOQL.match(soql)
        assert asked, soql
        found = self.found[asked[2]]
        names, since = asked[1].split(","), asked[3]
        for name in names:
            if name.split(".")[0] not in next(iter(found.values())):
                message = (
                    f"\nSELECT {asked[1]} FROM {asked[2]}\n       ^\nERROR at Row:1:Column:8\n"
                    f"No such column '{name}' on entity '{asked[2]}'. If you are attempting to use "
                    "a custom field, be sure to append the '__c' after the custom field name."
                )
                return JSONResponse([{"message": message, "errorCode": "INVALID_FIELD"}], 400)
        records = [r for r in found.values() if not since or _instant(r) >= _moment(since)]
        kept = {name.split(".")[0] for name in names}
        return [{k: v for k, v in each.items() if k in kept} for each in records[::-1]]

    def _query(self, request: Request) -> Response:
        """resources_queryall.htm: deleted records, too; the next page's path is a server's cursor,
        which has `query` in it though it gives the deleted ones as well."""
        records = self._select(request.query_params["q"])
        if isinstance(records, Response):
            return self._refused(request) or records
        return self._page(request, records, f"01g{len(self.api.requests)}", 0)

    def _page(self, request: Request, records: list[_Record], locator: str, start: int) -> Response:
        if refused := self._refused(request):
            return refused
        page = [{"attributes": {"type": "?"}, **each} for each in records[start : start + PAGE]]
        answer: _Record = {"totalSize": len(records), "done": True, "records": page}
        if start + PAGE < len(records):
            path = f"{_DATA}/query/{locator}-{start + PAGE}"
            self.api.answers[path] = lambda r: self._page(r, records, locator, start + PAGE)
            answer |= {"done": False, "nextRecordsUrl": path}
        return JSONResponse(answer, headers={"Sforce-Limit-Info": "api-usage=18/15000"})

    def _start_job(self, request: Request) -> Response:
        """query_create_job.htm: queryAll for deleted records; the query is checked at once."""
        if refused := self._refused(request):
            return refused
        assert request.state.body["operation"] == "queryAll"
        records = self._select(request.state.body["query"])
        if isinstance(records, Response):
            return records
        columns = _SOQL.match(request.state.body["query"])
        assert columns
        job = f"750R{len(self.jobs)}"
        self.jobs.append(records)
        names = columns[1].split(",")
        self.api.answers[f"{_DATA}/jobs/query/{job}"] = lambda r: self._job(r, job)
        self.api.answers[f"{_DATA}/jobs/query/{job}/results"] = lambda r: self._results(
            r, records, names
        )
        return JSONResponse({"id": job, "state": "UploadComplete", "contentType": "CSV"})

    def _job(self, request: Request, job: str) -> Response:
        state = self.states.pop(0) if self.states else "JobComplete"
        return self._refused(request) or JSONResponse({"id": job, "state": state})

    def _results(self, request: Request, records: list[_Record], names: list[str]) -> Response:
        """query_get_job_results.htm: CSV, and a Sforce-Locator that is `null` at the end."""
        if refused := self._refused(request):
            return refused
        start = int(request.query_params.get("locator", "0"))
        page = records[start : start + PAGE]
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(each, name) for name in names] for each in page)
        more = start + PAGE < len(records)
        headers = {
            "Sforce-Locator": str(start + PAGE) if more else "null",
            "Sforce-NumberOfRecords": str(len(page)),
        }
        return Response(text.getvalue(), headers=headers, media_type="text/csv")

    def expected(self, stream: str) -> Rows:
        object_name = {"contacts": "Contact", "accounts": "Account", "contracts": "Contract"}
        living = {
            key: each
            for key, each in self.found[object_name[stream]].items()
            if not each["IsDeleted"]
        }
        if stream == "contacts":
            return {
                key: {
                    "email_opt_in": not each["HasOptedOutOfEmail"],
                    "crm_country": each["MailingCountry"],
                    "crm_account": (each["Account"] or {}).get("Name"),
                    "lead_source": "Web",
                    "birthdate": date(1980, 2, 29),
                }
                for key, each in living.items()
            }
        if stream == "accounts":
            return {
                key: {
                    "account_type": each["Type"],
                    "industry": None,
                    "annual_revenue": Decimal(1_500_000),
                }
                for key, each in living.items()
            }
        return {
            key: {
                "contract_status": each["StatusCode"],
                "contract_start_date": date(2025, 1, 1),
                "contract_end_date": date.fromisoformat(each["EndDate"]),
            }
            for key, each in living.items()
        }

    def change(self) -> None:
        """Many at one time, as a data load does; deletions move SystemModstamp like changes."""
        at = later(COUNT + 1)
        self.add(COUNT, at)
        changed = {"SystemModstamp": stamp(at)}
        found = self.found
        found["Contact"][f"003{1:015}"] |= {"HasOptedOutOfEmail": False, **changed}
        found["Contact"][f"003{3:015}"] |= {"IsDeleted": True, **changed}
        found["Account"][f"001{1:015}"] |= {"Type": "Prospect", **changed}
        found["Contract"][f"800{4:015}"] |= {"EndDate": "2027-12-31", **changed}


def stamp(at: datetime) -> str:
    """A time as the REST API writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _instant(record: _Record) -> datetime:
    return _moment(record["SystemModstamp"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _cell(record: _Record, name: str) -> str:
    value: Any = record
    for part in name.split("."):
        value = (value or {}).get(part)
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


_SALESFORCE = Case(
    "salesforce",
    Salesforce,
    fields={
        "instance_url": "{server}",
        "client_id": {"env": "SALESFORCE_CLIENT_ID"},
        "client_secret": {"env": "SALESFORCE_CLIENT_SECRET"},
    },
    records={"contacts": "records", "accounts": "records", "contracts": "records"},
    secrets={"SALESFORCE_CLIENT_ID": "sf_key", "SALESFORCE_CLIENT_SECRET": "sf_secret"},
)
BULK = _SALESFORCE
"""Everything by Bulk API 2.0, as the preset has it."""
CASES = [
    # everything by queries: what happens to jobs is tested in test_salesforce
    Case(**{**vars(_SALESFORCE), "syncs": {"full_read": None}}),
]
