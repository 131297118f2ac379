"""A server that follows the documented behaviour of HubSpot's CRM objects and search APIs."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]
_CHANGED = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate"}
CAP = 3 * PAGE
"""Results of a search that can be had, in place of 10,000."""


class HubSpot(Vendor):
    """https://developers.hubspot.com/docs/api-reference/legacy/crm/search-the-crm

    https://developers.hubspot.com/docs/api-reference/legacy/crm/objects/contacts/guide
    """

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"contacts": {}, "companies": {}, "deals": {}}
        self.archived: dict[str, list[_Record]] = {kind: [] for kind in self.found}
        for number in range(COUNT):
            self.add(number, later(number))
        for kind in self.found:
            api.answers[f"/crm/v3/objects/{kind}"] = lambda request, k=kind: self._list(request, k)
            if kind in _CHANGED:
                path = f"/crm/v3/objects/{kind}/search"
                api.answers[path] = lambda request, k=kind: self._search(request, k)

    def add(self, number: int, at: datetime) -> None:
        """A contact, a company and a deal. All values are text, null where there is none."""
        self.found["contacts"][f"c{number}"] = {
            "email": f"user{number}@example.com", "mobilephone": None, "country": "Austria",
            "hs_email_optout": {0: None, 1: "true"}.get(number, "false"), "hs_language": "de-at",
            "lifecyclestage": "customer", "lastmodifieddate": stamp(at),
        }  # fmt: skip
        self.found["companies"][f"o{number}"] = {
            "name": f"Company {number}", "industry": None, "annualrevenue": "1000000.5",
            "hs_lastmodifieddate": stamp(at),
        }  # fmt: skip
        self.found["deals"][f"d{number}"] = {
            "dealstage": "contractsent", "closedate": "2026-12-31T10:00:00Z", "amount": "12.50",
            "hs_is_closed": "false",
            "hs_lastmodifieddate": stamp(at),
        }  # fmt: skip

    def archive(self, kind: str, key: str, at: datetime) -> _Record:
        """Into the recycle bin, from where it can be restored for 90 days; what it was."""
        known = self.found[kind].pop(key)
        self.archived[kind].append(
            {"id": key, "properties": {}, "archived": True, "archivedAt": stamp(at)}
        )
        return known

    def restore(self, kind: str, key: str, known: _Record, at: datetime) -> None:
        """Out of the recycle bin, which sets the time of the change."""
        self.archived[kind] = [each for each in self.archived[kind] if each["id"] != key]
        self.found[kind][key] = {**known, _CHANGED[kind]: stamp(at)}

    def _refused(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == "Bearer pat-eu1":
            return None
        body = {"status": "error", "category": "INVALID_AUTHENTICATION", "message": "expired?"}
        return JSONResponse(body, 401)

    def _record(self, kind: str, key: str, asked: list[str]) -> _Record:
        """With the properties that were asked for; one that isn't there is left out in silence."""
        known = self.found[kind][key]
        changed = known[_CHANGED.get(kind, "hs_lastmodifieddate")]
        return {
            "id": key,
            "properties": {name: known[name] for name in asked if name in known},
            "createdAt": changed, "updatedAt": changed, "archived": False,
        }  # fmt: skip

    def _list(self, request: Request, kind: str) -> Response:
        """At most 100 a page; archived ones only with `archived=true`; associations on demand."""
        query = request.query_params
        if refused := self._refused(request):
            return refused
        if int(query.get("limit", 10)) > 100:
            return JSONResponse({"status": "error", "category": "VALIDATION_ERROR"}, 400)
        if query.get("archived") == "true":
            start = int(query.get("after", 0))
            page = self.archived[kind][start : start + PAGE]
            return JSONResponse(_page(page, start, len(self.archived[kind])))
        keys = list(self.found[kind])
        start = int(query.get("after", 0))
        page = [
            self._record(kind, key, query["properties"].split(","))
            for key in keys[start : start + PAGE]
        ]
        if query.get("associations") == "contacts":
            for each in page:
                other = {"id": each["id"].replace("d", "c"), "type": "deal_to_contact"}
                each["associations"] = {"contacts": {"results": [other]}}
        return JSONResponse(_page(page, start, len(keys)))

    def _search(self, request: Request, kind: str) -> Response:
        """#limitations: 200 a page at most, and beyond 10,000 results the status 400."""
        if refused := self._refused(request):
            return refused
        body: Any = request.state.body
        [filtered] = body["filterGroups"][0]["filters"]
        changed = _CHANGED[kind]
        assert (filtered["propertyName"], filtered["operator"]) == (changed, "GTE")
        assert body["sorts"] == [{"propertyName": changed, "direction": "ASCENDING"}]
        start = int(body.get("after", 0))
        if body["limit"] > 200 or start + PAGE > CAP:
            return JSONResponse({"status": "error", "category": "VALIDATION_ERROR"}, 400)
        since = int(filtered["value"])
        found = [key for key, each in self.found[kind].items() if _ms(each[changed]) >= since]
        found.sort(key=lambda key: self.found[kind][key][changed])
        page = [self._record(kind, key, body["properties"]) for key in found[start : start + PAGE]]
        return JSONResponse({"total": len(found), **_page(page, start, len(found))})

    def expected(self, stream: str) -> Rows:
        found = self.found[stream].items()
        if stream == "contacts":
            return {
                key: {
                    "email_opt_in": {"true": False, "false": True}.get(each["hs_email_optout"]),
                    "lifecycle_stage": each["lifecyclestage"],
                    "crm_country": "Austria",
                    "crm_language": "de-at",
                }
                for key, each in found
            }
        if stream == "companies":
            return {
                key: {
                    "company_name": each["name"],
                    "industry": None,
                    "annual_revenue": Decimal("1000000.5"),
                }
                for key, each in found
            }
        contacts = {key.replace("c", "d"): key for key in self.found["contacts"]}
        return {
            f"hubspot_contact_id:{contact}": self._deals(deal) for deal, contact in contacts.items()
        }

    def _deals(self, key: str) -> dict[str, Any]:
        """What the contact's only deal comes to; counts stay when it's gone."""
        deal = self.found["deals"].get(key)
        is_open = deal is not None and deal["hs_is_closed"] == "false"
        return {
            "open_deals": int(is_open),
            "open_deal_amount": Decimal("12.5") if is_open else None,
            "next_deal_close_date": date(2026, 12, 31) if is_open else None,
            "last_deal_stage": None if deal is None else deal["dealstage"],
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self.add(COUNT, at)
        self.found["contacts"]["c2"] |= {
            "hs_email_optout": "true",
            "lifecyclestage": "evangelist",
            "lastmodifieddate": stamp(at),
        }
        self.found["companies"]["o1"] |= {"name": "Renamed", "hs_lastmodifieddate": stamp(at)}
        self.found["deals"]["d1"] |= {"dealstage": "closedwon", "hs_is_closed": "true"}
        del self.found["deals"]["d4"]


def stamp(at: datetime) -> str:
    """A time as HubSpot writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _page(page: list[_Record], start: int, total: int) -> _Record:
    """`paging` is missing on the last page."""
    if start + PAGE >= total:
        return {"results": page}
    return {"results": page, "paging": {"next": {"after": str(start + PAGE), "link": "…"}}}


CASES = [
    Case(
        "hubspot",
        HubSpot,
        fields={"access_token": {"env": "HUBSPOT_ACCESS_TOKEN"}},
        records={"contacts": "results", "companies": "results", "deals": "results"},
        secrets={"HUBSPOT_ACCESS_TOKEN": "pat-eu1"},
        connection={"rate_limit": "1000 per 1 second"},
        syncs={"rate_limit": "1000 per 1 second"},
    )
]
