"""A system of one's own: tagged values, nested references, pages by offset."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.presets.support_servers import iso
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]


class InHouse(Vendor):
    """As https://jsonapi.org/format/#fetching-pagination leaves it open: offset and limit."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.customers: dict[str, _Record] = {}
        self.contracts: dict[str, _Record] = {}
        for number in range(COUNT):
            self.add(number, later(number))
        api.answers = {"/customers": self._customers, "/contracts": self._contracts}

    def add(self, number: int, at: datetime) -> None:
        """A customer with a contract."""
        key = f"C-{number:05}"
        self.customers[key] = {
            "customer_no": _tagged("key", key),
            "contact": {
                "email": {**_tagged("email", f"user{number}@example.com"), "verified": True},
                "language": _tagged("enum", "de"),
            },
            "properties": [
                {"name": "newsletter", "value": _tagged("flag", number != 1)},
                {"name": "tier", "value": _tagged("enum", "GOLD" if number % 2 else "BASIC")},
            ],
            "modified": _tagged("datetime", iso(at)),
        }
        self.contracts[f"K{number:03}"] = {
            "number": _tagged("key", f"K{number:03}"),
            "customer": {"ref": f"/customers/{key}", "customer_no": _tagged("key", key)},
            "product": {"ref": "/products/7", "name": _tagged("text", "Fibre 500")},
            "status": {**_tagged("enum", "ACTIVE"), "label": "In force"},
            "period": {"end": _tagged("date", f"2026-12-{number + 1:02}")},
        }

    def _customers(self, request: Request) -> Response:
        assert request.query_params["sort"] == "modified"
        since = request.query_params["modified_since"]
        found = [each for each in self.customers.values() if each["modified"]["value"] >= since]
        found.sort(key=lambda each: each["modified"]["value"])
        return self._page(request, found)

    def _contracts(self, request: Request) -> Response:
        return self._page(request, [self.contracts[key] for key in sorted(self.contracts)])

    def _page(self, request: Request, found: list[_Record]) -> Response:
        if request.headers.get("authorization") != "Bearer erp_token":
            return JSONResponse({"error": "unauthorized"}, 401)
        start = int(request.query_params["offset"])
        assert int(request.query_params["limit"]) == 200
        meta = {"total": len(found), "offset": start}
        return JSONResponse({"meta": meta, "data": found[start : start + PAGE]})

    def expected(self, stream: str) -> Rows:
        if stream == "customers":
            return {
                key: {
                    "tier": each["properties"][1]["value"]["value"].lower(),
                    "crm_language": "de",
                    "email_opt_in": each["properties"][0]["value"]["value"],
                }
                for key, each in self.customers.items()
            }
        return {
            key: {
                "contract_status": each["status"]["value"].lower(),
                "contract_end_date": date.fromisoformat(each["period"]["end"]["value"]),
                "package": "Fibre 500",
            }
            for key, each in self.contracts.items()
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self.add(COUNT, at)
        changed = self.customers["C-00001"]
        changed["properties"][0]["value"]["value"] = True
        changed["modified"]["value"] = iso(at)
        self.contracts["K002"]["status"]["value"] = "ENDED"
        del self.contracts["K004"]


def _tagged(kind: str, value: Any) -> _Record:
    return {"type": kind, "value": value}


CASES = [
    Case(
        "json_api",
        InHouse,
        fields={"token": {"env": "JSON_API_TOKEN"}},
        # by mere offset first: by time of change, a page in another order is told, not taken
        records={"contracts": "data", "customers": "data"},
        secrets={"JSON_API_TOKEN": "erp_token"},
        # more records than the answer says there are
        told=frozenset({"overlapping page"}),
    )
]
