"""Servers that follow the documented behaviour of Zendesk, Freshdesk and Intercom.

Pages are capped at `PAGE` records, whatever is asked for, so that a dozen records make several.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, basic, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]


class Zendesk(Vendor):
    """https://developer.zendesk.com/api-reference/ticketing/ticket-management/incremental_exports/"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"users": {}, "tickets": {}}
        for number in range(1, COUNT + 1):
            self._add(number, later(number))
        for stream in self.found:
            path = f"/api/v2/incremental/{stream}/cursor.json"
            api.answers[path] = lambda request, s=stream: self._export(request, s)

    def _add(self, number: int, at: datetime) -> None:
        self.found["users"][str(number)] = {
            "id": number, "email": f"user{number}@example.com", "active": True, "locale": "en-US",
            "suspended": number == 3, "last_login_at": None, "tags": ["vip"] if number == 2 else [],
            "updated_at": iso(at),
        }  # fmt: skip
        self.found["tickets"][str(100 + number)] = {
            "id": 100 + number, "requester_id": number, "status": "open", "priority": "high",
            "satisfaction_rating": {"score": "good" if number == 1 else "unoffered"},
            "updated_at": iso(at),
        }  # fmt: skip

    def _export(self, request: Request, stream: str) -> Response:
        """Cursor-based: `start_time` first, then the `after_url`; the last page says
        `end_of_stream` and has an `after_url` all the same. Deleted records are exported too."""
        if not basic(request, "reader@example.com/token", "zd_token"):
            return JSONResponse({"error": "Couldn't authenticate you"}, 401)
        query = request.query_params
        if "cursor" not in query and "start_time" not in query:
            return JSONResponse({"error": "StartTimeMissing"}, 400)
        since, _, start = query.get("cursor", f"{query.get('start_time')}-0").partition("-")
        records = [r for r in self.found[stream].values() if _epoch(r["updated_at"]) >= int(since)]
        records.sort(key=lambda record: record["updated_at"])
        end = int(start) + PAGE
        page = records[int(start) : end]
        url = request.url.remove_query_params("start_time")
        cursor = f"{since}-{int(start) + len(page)}"
        answer = {
            stream: page,
            "after_cursor": cursor,
            "after_url": str(url.include_query_params(cursor=cursor)),
            "end_of_stream": end >= len(records),
        }
        return JSONResponse(answer)

    def expected(self, stream: str) -> Rows:
        if stream == "users":
            return {
                key: {
                    "support_language": "en-US",
                    "support_suspended": each["suspended"],
                    "support_last_login": None,
                    "support_tags": each["tags"],
                }
                for key, each in self.found[stream].items()
                if each["active"]
            }
        return {
            key: {
                "ticket_status": each["status"],
                "ticket_priority": each["priority"],
                "satisfaction": "good" if key == "101" else None,
            }
            for key, each in self.found[stream].items()
            if each["status"] != "deleted"
        }

    def change(self) -> None:
        at = later(COUNT + 2)
        self._add(COUNT + 1, at)
        self.found["users"]["1"] |= {"suspended": True, "updated_at": iso(at)}
        self.found["users"]["2"] |= {"active": False, "updated_at": iso(at)}
        self.found["tickets"]["103"] |= {"status": "solved", "updated_at": iso(at)}
        self.found["tickets"]["104"] |= {"status": "deleted", "updated_at": iso(at)}


class Freshdesk(Vendor):
    """https://developers.freshdesk.com/api/: lists as they are, next pages by the Link header."""

    days = 30

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"contacts": {}, "tickets": {}}
        for number in range(COUNT):
            self._add(number, later(number))
        api.answers = {
            "/api/v2/contacts": lambda r: self._list(r, "contacts", "_updated_since", None),
            # #list_all_tickets: "only tickets that have been created within the past 30 days will
            # be returned by default. For older tickets, use the updated_since filter."
            "/api/v2/tickets": lambda r: self._list(r, "tickets", "updated_since", later(24 * 30)),
        }

    def _add(self, number: int, at: datetime) -> None:
        self.found["contacts"][str(number)] = {
            "id": number, "email": f"user{number}@example.com", "active": number != 3,
            "language": "de", "tags": ["vip"], "updated_at": iso(at),
        }  # fmt: skip
        self.found["tickets"][str(100 + number)] = {
            "id": 100 + number, "requester_id": number, "status": 2 if number else 7,
            "priority": 4, "updated_at": iso(at),
        }  # fmt: skip

    def _list(
        self, request: Request, stream: str, param: str, default: datetime | None
    ) -> Response:
        # #authentication: the API key as user name, any password
        if not basic(request, "fd_key"):
            return JSONResponse({"code": "invalid_credentials"}, 401)
        query = request.query_params
        # #pagination: "The maximum number of objects that can be retrieved per page is 100."
        if int(query.get("per_page", 30)) > 100:
            return JSONResponse({"errors": [{"field": "per_page"}]}, 400)
        since = query.get(param) or (iso(default) if default else "")
        records = [each for each in self.found[stream].values() if each["updated_at"] >= since]
        if query.get("order_by") == "updated_at":
            reverse = query.get("order_type", "desc") == "desc"
            records.sort(key=lambda each: each["updated_at"], reverse=reverse)
        if query.get("include") == "requester":
            contacts = self.found["contacts"]
            records = [
                {**each, "requester": {"email": contacts[str(each["requester_id"])]["email"]}}
                for each in records
            ]
        number = int(query.get("page", 1))
        page = records[(number - 1) * PAGE : number * PAGE]
        headers: dict[str, str] = {}
        if number * PAGE < len(records):
            url = request.url.include_query_params(page=number + 1)
            headers["link"] = f'<{url}>; rel="next"'
        return JSONResponse(page, headers=headers)

    def expected(self, stream: str) -> Rows:
        if stream == "contacts":
            return {
                key: {
                    "support_language": "de",
                    "support_active": each["active"],
                    "support_tags": each["tags"],
                }
                for key, each in self.found[stream].items()
            }
        words = {2: "open", 4: "resolved", 7: "other"}
        return {
            key: {"ticket_status": words[each["status"]], "ticket_priority": "urgent"}
            for key, each in self.found[stream].items()
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        self.found["contacts"]["1"] |= {"active": False, "updated_at": iso(at)}
        self.found["tickets"]["103"] |= {"status": 4, "updated_at": iso(at)}


class Intercom(Vendor):
    """https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts/searchcontacts"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.contacts: dict[str, _Record] = {}
        for number in range(COUNT):
            self._add(number, later(number))
        api.answers["/contacts/search"] = self._search

    def _add(self, number: int, at: datetime) -> None:
        self.contacts[f"i{number}"] = {
            "id": f"i{number}", "external_id": f"C-{number}", "email": f"user{number}@example.com",
            "language_override": "en", "unsubscribed_from_emails": number == 4,
            "last_seen_at": int(later(number).timestamp()), "location": {"country": "Ireland"},
            "updated_at": int(at.timestamp()),
        }  # fmt: skip

    def _search(self, request: Request) -> Response:
        """The cursor goes into the body, `pages.next` is missing on the last page."""
        if request.headers.get("authorization") != "Bearer ic_token":
            return JSONResponse({"type": "error.list"}, 401)
        body: Any = request.state.body
        # "The default is 50 results per page, with a maximum of 150"
        if request.method != "POST" or body["pagination"].get("per_page", 50) > 150:
            return JSONResponse({"type": "error.list"}, 400)
        after, same = body["query"]["value"]
        assert body["query"]["operator"] == "OR"
        records = [
            each
            for each in self.contacts.values()
            if each["updated_at"] > int(after["value"]) or each["updated_at"] == int(same["value"])
        ]
        start = int(body["pagination"].get("starting_after", "0"))
        page = records[start : start + PAGE]
        pages: _Record = {"type": "pages", "per_page": PAGE}
        if start + PAGE < len(records):
            pages["next"] = {"starting_after": str(start + PAGE)}
        return JSONResponse(
            {"type": "list", "data": page, "total_count": len(records), "pages": pages}
        )

    def expected(self, stream: str) -> Rows:
        return {
            key: {
                "support_language": "en",
                "unsubscribed_from_emails": each["unsubscribed_from_emails"],
                "last_seen_at": datetime.fromtimestamp(each["last_seen_at"], later(0).tzinfo),
                "support_country": "Ireland",
            }
            for key, each in self.contacts.items()
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        self.contacts["i1"] |= {"unsubscribed_from_emails": True, "updated_at": int(at.timestamp())}


class HelpDesk(Vendor):
    """Links to the next page in the answer; a search by query and cursor."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.tickets: dict[str, _Record] = {}
        for number in range(COUNT):
            self._add(number, later(number))
        api.answers = {"/tickets": self._list, "/tickets/search": self._search}

    def _add(self, number: int, at: datetime) -> None:
        self.tickets[f"t{number}"] = {
            "id": f"t{number}", "requester": {"email": f"user{number}@example.com"},
            "status": "open", "priority": "high" if number % 2 else "low", "updated_at": iso(at),
        }  # fmt: skip

    def _list(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer hd_token":
            return JSONResponse({}, 401)
        start = int(request.query_params.get("offset", 0))
        records = list(self.tickets.values())
        more = start + PAGE < len(records)
        link = str(request.url.include_query_params(offset=start + PAGE)) if more else None
        return JSONResponse({"data": records[start : start + PAGE], "links": {"next": link}})

    def _search(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer hd_token":
            return JSONResponse({}, 401)
        since = request.query_params["query"].removeprefix("type:ticket").strip()
        since = since.removeprefix("updated_at>=")
        start = int(request.query_params.get("cursor", 0))
        records = [each for each in self.tickets.values() if each["updated_at"] >= since]
        cursor = str(start + PAGE) if start + PAGE < len(records) else None
        page = records[start : start + PAGE]
        return JSONResponse({"data": page, "meta": {"next_cursor": cursor}})

    def expected(self, stream: str) -> Rows:
        name = "ticket_status" if stream == "tickets" else "ticket_priority"
        return {
            key: {name: each[name.removeprefix("ticket_")]} for key, each in self.tickets.items()
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        self.tickets["t1"] |= {"status": "closed", "priority": "low", "updated_at": iso(at)}


def iso(at: datetime) -> str:
    """A time as most APIs write it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


CASES = [
    Case(
        "zendesk",
        Zendesk,
        fields={
            "subdomain": "acme",
            "email": "reader@example.com",
            "api_token": {"env": "ZENDESK_API_TOKEN"},
        },
        records={"users": "users", "tickets": "tickets"},
        secrets={"ZENDESK_API_TOKEN": "zd_token"},
        connection={"rate_limit": "1000 per 1 second"},
    ),
    Case(
        "freshdesk",
        Freshdesk,
        fields={"domain": "acme", "api_key": {"env": "FRESHDESK_API_KEY"}},
        records={"contacts": None, "tickets": None},
        secrets={"FRESHDESK_API_KEY": "fd_key"},
    ),
    Case(
        "intercom",
        Intercom,
        fields={"access_token": {"env": "INTERCOM_ACCESS_TOKEN"}},
        records={"contacts": "data"},
        secrets={"INTERCOM_ACCESS_TOKEN": "ic_token"},
    ),
    Case(
        "help_desk",
        HelpDesk,
        fields={"token": {"env": "HELP_DESK_TOKEN"}},
        records={"tickets": "data", "changed_tickets": "data"},
        secrets={"HELP_DESK_TOKEN": "hd_token"},
    ),
]
