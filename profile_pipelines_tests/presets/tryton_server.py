"""A server that answers as Tryton's JSON-RPC does: recorded from trytond 8.2 with trytond-party."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, basic, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]
_CLOCK = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_FIELDS = ["code", "write_date", "create_date", "lang.code", "contact_mechanisms.value"]


class Tryton(Vendor):
    """https://docs.tryton.org/latest/server/topics/backend_types.html and …/ref/models.html"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.parties: dict[int, _Record] = {}
        for number in range(1, COUNT + 1):
            self.add(number, later(number))
        api.answers["/crm/rpc/"] = self._call

    def add(self, number: int, at: datetime) -> None:
        """A party; references are objects, or null, under a name that ends with a dot."""
        self.parties[number] = {
            "id": number, "code": f"C-{number}", "write_date": at, "create_date": later(number),
            "lang.": {"code": "de", "id": 5} if number != 2 else None,
            "contact_mechanisms.": [
                {"type": "phone", "value": "+43 660 1", "id": 100 + number},
                {"type": "email", "value": f"user{number}@example.com", "id": 200 + number},
            ],
        }  # fmt: skip

    def _call(self, request: Request) -> Response:
        """Errors come with the status 200; times bear no offset and are UTC."""
        if not basic(request, "reader", "tr_pw"):
            return Response(status_code=401)
        body = request.state.body
        assert body["method"] == "model.party.party.search_read"
        [[field, operator, since]], offset, limit, order, fields, _ = body["params"]
        assert (field, operator, since.pop("__class__")) == ("write_date", ">=", "datetime")
        assert set(_FIELDS) <= set(fields)
        assert order == [["write_date", "ASC"], ["id", "ASC"]]
        bound = datetime(**since, tzinfo=later(0).tzinfo)
        found = [each for each in self.parties.values() if each["write_date"] >= bound]
        found.sort(key=lambda each: (each["write_date"], each["id"]))
        page = found[offset : offset + min(limit, PAGE)]
        return JSONResponse({"id": body["id"], "result": [_sent(each) for each in page]})

    def expected(self, stream: str) -> Rows:
        return {
            str(key): {
                "crm_language": (each["lang."] or {}).get("code"),
                "tier": str(date(2026, 1, 1)),
            }
            for key, each in self.parties.items()
        }

    def change(self) -> None:
        at = later(COUNT + 2)
        self.add(COUNT + 1, at)
        self.parties[1] |= {"lang.": {"code": "fr", "id": 7}, "write_date": at}


def _sent(record: _Record) -> _Record:
    times = {name: _tagged(record[name]) for name in ("write_date", "create_date")}
    since = {"__class__": "date", "year": 2026, "month": 1, "day": 1}
    return {**record, **times, "since": since}


def _tagged(at: datetime) -> _Record:
    return {"__class__": "datetime", **{name: getattr(at, name) for name in _CLOCK}}


_SINCE = {"__class__": "datetime", "year": 2000, "month": 1, "day": 1}
_SINCE |= dict.fromkeys(("hour", "minute", "second", "microsecond"), 0)
CASES = [
    Case(
        "json_api",
        Tryton,
        fields={},
        records={"customers": "result"},
        secrets={"TRYTON_PASSWORD": "tr_pw"},
        connection={
            "auth": {
                "type": "basic",
                "username": "reader",
                "password": {"env": "TRYTON_PASSWORD"},
            },
            "paging": {"location": "body", "param": "params.1", "limit_param": "params.2"}
            | {"total": None},
        },
        syncs={
            "path": "/crm/rpc/",
            "params": None,
            "body": {
                "id": 1,
                "method": "model.party.party.search_read",
                "params": [
                    [["write_date", ">=", _SINCE]],
                    *(0, 1000),
                    [["write_date", "ASC"], ["id", "ASC"]],
                    [*_FIELDS, "contact_mechanisms.type", "since"],
                    {},
                ],
            },
            "records": "result",
            "cursor": {"param": "params.0.0.2", "location": "body", "format": "parts"},
            "key": "id",
            "identifiers": {
                "customer_no": "code",
                "email": '["contact_mechanisms."][type=email].value',
            },
            "updated_at": "write_date",
            "attributes": {"crm_language": '["lang."].code', "tier": "since"},
        },
        told=frozenset({"overlapping page", "reordered page"}),
        name="tryton",
    )
]
