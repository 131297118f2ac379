"""Servers that follow the documented behaviour of Stripe, Chargebee and Recurly.

Pages are capped at `PAGE` records, whatever `limit` says, so that a dozen records make several.
"""

from __future__ import annotations

import base64
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.preset_case import NOW, Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

PAGE = 4
COUNT = 10
_Record = dict[str, Any]


def basic(request: Request, username: str, password: str = "") -> bool:
    """Whether the request bears these basic credentials."""
    expected = base64.b64encode(f"{username}:{password}".encode()).decode()
    return request.headers.get("authorization") == f"Basic {expected}"


def later(hours: float) -> datetime:
    """A moment before the first sync, this many hours after the oldest record."""
    return NOW - timedelta(days=60) + timedelta(hours=hours)


class Stripe(Vendor):
    """https://docs.stripe.com/api: lists newest first, no filter by time of change, but events."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.events: list[_Record] = []
        self.customers: dict[str, _Record] = {}
        self.subscriptions: dict[str, _Record] = {}
        for number in range(COUNT):
            self._add(number)
        api.answers = {
            "/v1/customers": lambda request: self._list(request, self._customers()),
            "/v1/subscriptions": lambda request: self._list(
                request, self._subscriptions(request, "data.customer")
            ),
            "/v1/events": self._events,
        }
        for number in range(COUNT + 1):
            api.answers[f"/v1/customers/cus_{number}"] = self._customer
            api.answers[f"/v1/subscriptions/sub_{number}"] = self._subscription

    def _customer(self, request: Request) -> Response:
        """https://docs.stripe.com/api/customers/retrieve: of a deleted one, that it is deleted."""
        key = request.url.path.rpartition("/")[2]
        gone = {"id": key, "object": "customer", "deleted": True}
        return JSONResponse(self.customers.get(key, gone))

    def _subscription(self, request: Request) -> Response:
        found = self._subscriptions(request, "customer")
        [record] = [each for each in found if request.url.path.endswith(f"/{each['id']}")]
        return JSONResponse(record)

    def _happens(self, kind: str, record: _Record) -> None:
        """All in one second, after the first syncs."""
        created = int((NOW + timedelta(hours=2, minutes=5)).timestamp())
        self.events.append(
            {
                "id": f"evt_{len(self.events)}", "object": "event", "type": kind,
                "created": created, "data": {"object": record},
            }
        )  # fmt: skip

    def _events(self, request: Request) -> Response:
        """https://docs.stripe.com/api/events/list: `types`, and `created` as bounds."""
        query = request.query_params
        types = {value for name, value in query.multi_items() if name.startswith("types[")}
        since = int(query["created[gte]"])
        found = [e for e in self.events if e["type"] in types and e["created"] >= since]
        return self._list(request, found[::-1])

    def _add(self, number: int) -> None:
        created = int(later(number).timestamp())
        self.customers[f"cus_{number}"] = {
            "id": f"cus_{number}", "object": "customer", "created": created,
            "email": f"customer{number}@example.com", "delinquent": number % 3 == 0,
            "balance": -1050 * number, "preferred_locales": ["de-DE", "en"] if number % 2 else [],
            "address": {"country": "DE"} if number != 5 else None,
            "metadata": {"customer_no": f"C-{number:04}"},
        }  # fmt: skip
        self.subscriptions[f"sub_{number}"] = {
            "id": f"sub_{number}", "object": "subscription", "created": created,
            "customer": f"cus_{number}", "status": "canceled" if number == 4 else "active",
            "cancel_at": None, "cancel_at_period_end": False,
            "current_period_end": int(datetime(2026, 4, 1 + number, 12).timestamp()),
            "items": {"object": "list", "data": [
                {"id": f"si_{number}", "price": {"id": "price_gold", "unit_amount": 1999}}
            ]},
        }  # fmt: skip

    def _customers(self) -> list[_Record]:
        return list(self.customers.values())

    def _subscriptions(self, request: Request, expandable: str) -> list[_Record]:
        """Two quirks of the documentation.

        https://docs.stripe.com/api/subscriptions/list: "If no value is supplied, all
        subscriptions that have not been canceled are returned."
        https://docs.stripe.com/changelog/basil/2025-03-31/deprecate-subscription-current-period-start-and-end:
        the period moved to the items.
        """
        moved = request.headers.get("stripe-version", "") >= "2025-03-31"
        found: list[_Record] = []
        for subscription in self.subscriptions.values():
            listed = request.url.path == "/v1/subscriptions"
            every = not listed or request.query_params.get("status") == "all"
            if subscription["status"] == "canceled" and not every:
                continue
            record = {**subscription, "items": {"data": [*subscription["items"]["data"]]}}
            if moved:
                end = record.pop("current_period_end")
                record["items"]["data"][0] = {
                    **record["items"]["data"][0],
                    "current_period_end": end,
                }
            # https://docs.stripe.com/api/expanding_objects
            if expandable in request.query_params.getlist("expand[]"):
                record["customer"] = self.customers.get(
                    record["customer"], {"id": record["customer"], "deleted": True}
                )
            found.append(record)
        return found

    def _list(self, request: Request, records: list[_Record]) -> Response:
        """https://docs.stripe.com/api/pagination: newest first; `starting_after` an object's id."""
        if request.headers.get("authorization") != "Bearer rk_test":
            return JSONResponse({"error": {"type": "invalid_request_error"}}, 401)
        limit = int(request.query_params.get("limit", 10))
        if not 1 <= limit <= 100:
            return JSONResponse({"error": {"type": "invalid_request_error"}}, 400)
        records = sorted(records, key=lambda record: record["created"], reverse=True)
        after = request.query_params.get("starting_after")
        if after is not None:
            ids = [record["id"] for record in records]
            if after not in ids:
                return JSONResponse({"error": {"code": "resource_missing"}}, 400)
            records = records[ids.index(after) + 1 :]
        page = records[: min(limit, PAGE)]
        answer = {"object": "list", "has_more": len(records) > len(page), "data": page}
        return JSONResponse(answer)

    def expected(self, stream: str) -> Rows:
        if stream == "customers":
            return {
                key: {
                    "billing_language": next(iter(each["preferred_locales"]), None),
                    "payment_overdue": each["delinquent"],
                    "billing_balance": Decimal(each["balance"]) / 100,
                    "billing_country": (each["address"] or {}).get("country"),
                }
                for key, each in self.customers.items()
            }
        return {
            key: {
                "subscription_status": each["status"],
                "subscription_plan": "price_gold",
                "subscription_amount": Decimal("19.99"),
                "subscription_period_end": _day(each["current_period_end"]),
                "subscription_ends_on": _day(each["cancel_at"]),
                "cancels_at_period_end": each["cancel_at_period_end"],
            }
            for key, each in self.subscriptions.items()
        }

    def change(self) -> None:
        self._add(COUNT)
        self.customers["cus_1"]["delinquent"] = True
        self.subscriptions["sub_2"]["status"] = "past_due"
        self.subscriptions["sub_3"]["cancel_at"] = int(datetime(2026, 5, 1).timestamp())
        # with its customer a subscription ends, but stays
        self.subscriptions["sub_0"]["status"] = "canceled"
        gone = self.customers.pop("cus_0")
        self._happens("customer.created", self.customers[f"cus_{COUNT}"])
        self._happens("customer.updated", self.customers["cus_1"])
        self._happens("customer.deleted", gone)
        self._happens("customer.subscription.created", self.subscriptions[f"sub_{COUNT}"])
        for key in ("sub_2", "sub_3"):
            self._happens("customer.subscription.updated", self.subscriptions[key])
        self._happens("customer.subscription.deleted", self.subscriptions["sub_0"])


class Chargebee(Vendor):
    """https://apidocs.chargebee.com: entries that hold several objects, epoch seconds, offsets."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"customers": {}, "subscriptions": {}}
        for number in range(COUNT):
            self._add(number, later(number))
        for stream in self.found:
            api.answers[f"/api/v2/{stream}"] = lambda request, s=stream: self._list(request, s)

    def _add(self, number: int, at: datetime) -> None:
        customer = {
            "id": f"c{number}", "email": f"customer{number}@example.com", "deleted": False,
            "auto_collection": "on" if number % 2 else "off", "locale": "fr-FR",
            "billing_address": {"country": "FR"}, "updated_at": int(at.timestamp()),
        }  # fmt: skip
        subscription = {
            "id": f"s{number}", "customer_id": f"c{number}", "status": "active", "mrr": 2500,
            "current_term_end": int(datetime(2026, 4, 1 + number, 12).timestamp()),
            "subscription_items": [{"item_price_id": "gold-EUR-Monthly"}], "deleted": False,
            "updated_at": int(at.timestamp()),
        }  # fmt: skip
        self.found["customers"][customer["id"]] = customer
        self.found["subscriptions"][subscription["id"]] = subscription

    def _list(self, request: Request, stream: str) -> Response:
        """https://apidocs.chargebee.com/docs/api/list-ops: `limit` 1 to 100, `next_offset` while
        there is more, filters `updated_at[after]`; `include_deleted` is false unless asked."""
        # https://apidocs.chargebee.com/docs/api/auth: the key is the username, no password
        if not basic(request, "cb_key"):
            return JSONResponse({"api_error_code": "api_authentication_failed"}, 401)
        query = request.query_params
        records = [
            each
            for each in self.found[stream].values()
            if each["updated_at"] > int(query.get("updated_at[after]", 0))
            and (query.get("include_deleted") == "true" or not each["deleted"])
        ]
        records.sort(key=lambda each: each["updated_at"])
        if int(query.get("limit", 10)) > 100:
            return JSONResponse({"api_error_code": "param_wrong_value"}, 400)
        start = int(query.get("offset", "0").strip("[]"))
        page = records[start : start + PAGE]
        answer: _Record = {"list": [self._entry(stream, each) for each in page]}
        if start + PAGE < len(records):
            answer["next_offset"] = f"[{start + PAGE}]"
        return JSONResponse(answer)

    def _entry(self, stream: str, record: _Record) -> _Record:
        if stream == "customers":
            return {"customer": record}
        return {"subscription": record, "customer": self.found["customers"][record["customer_id"]]}

    def expected(self, stream: str) -> Rows:
        return {
            key: {
                "billing_language": "fr-FR",
                "auto_collection": each["auto_collection"] == "on",
                "billing_country": "FR",
            }
            if stream == "customers"
            else {
                "subscription_status": each["status"],
                "subscription_plan": "gold-EUR-Monthly",
                "subscription_revenue": Decimal(each["mrr"]) / 100,
                "subscription_period_end": _day(each["current_term_end"]),
                "subscription_ends_on": _day(each.get("cancelled_at")),
            }
            for key, each in self.found[stream].items()
            if not each["deleted"]
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        stamp = int(at.timestamp())
        self.found["customers"]["c1"] |= {"auto_collection": "off", "updated_at": stamp}
        self.found["customers"]["c2"] |= {"deleted": True, "updated_at": stamp}
        self.found["subscriptions"]["s3"] |= {
            "status": "non_renewing", "cancelled_at": stamp, "updated_at": stamp
        }  # fmt: skip
        self.found["subscriptions"]["s4"] |= {"deleted": True, "updated_at": stamp}


class Recurly(Vendor):
    """https://recurly.com/developers/api: a version in Accept, relative links to the next page."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"accounts": {}, "subscriptions": {}}
        for number in range(COUNT):
            self._add(number, later(number))
        for stream in self.found:
            api.answers[f"/{stream}"] = lambda request, s=stream: self._list(request, s)

    def _add(self, number: int, at: datetime) -> None:
        account = {
            "id": f"a{number}", "object": "account", "code": f"C-{number:04}", "state": "active",
            "email": f"customer{number}@example.com", "preferred_locale": "es-ES",
            "has_past_due_invoice": number == 1, "updated_at": _iso(at),
        }  # fmt: skip
        self.found["accounts"][account["id"]] = account
        self.found["subscriptions"][f"s{number}"] = {
            "id": f"s{number}", "object": "subscription", "state": "active", "unit_amount": 9.5,
            "account": {k: account[k] for k in ("id", "code", "email")}, "auto_renew": True,
            "plan": {"code": "gold"}, "expires_at": None, "updated_at": _iso(at),
            "current_period_ends_at": f"2026-04-{1 + number:02}T12:00:00Z",
        }  # fmt: skip

    def _list(self, request: Request, stream: str) -> Response:
        """https://docs.recurly.com/recurly-subscriptions/docs/pagination-guide: `has_more` and a
        relative `next`; `begin_time` holds for the field that is sorted by, and includes itself."""
        if not basic(request, "rc_key"):
            return JSONResponse({"error": {"type": "unauthorized"}}, 401)
        # getting started: "Specifying a version is required to get a successful response."
        if not request.headers.get("accept", "").startswith("application/vnd.recurly.v20"):
            return JSONResponse({"error": {"type": "invalid_api_version"}}, 406)
        query = request.query_params
        if not 1 <= int(query.get("limit", 20)) <= 200:
            return JSONResponse({"error": {"type": "bad_request"}}, 400)
        since = query.get("begin_time", "") if query.get("sort") == "updated_at" else ""
        records = [each for each in self.found[stream].values() if each["updated_at"] >= since]
        records.sort(key=lambda each: each["updated_at"], reverse=query.get("order") != "asc")
        start = int(query.get("cursor", "0"))
        page = records[start : start + PAGE]
        more = start + PAGE < len(records)
        url = request.url.include_query_params(cursor=start + PAGE)
        link = f"{url.path}?{url.query}" if more else None
        return JSONResponse({"object": "list", "has_more": more, "next": link, "data": page})

    def expected(self, stream: str) -> Rows:
        return {
            key: {
                "billing_language": "es-ES",
                "payment_overdue": each["has_past_due_invoice"],
                "billing_state": each["state"],
            }
            if stream == "accounts"
            else {
                "subscription_status": each["state"],
                "subscription_plan": "gold",
                "subscription_amount": Decimal(str(each["unit_amount"])),
                "subscription_period_end": _iso_day(each["current_period_ends_at"]),
                "subscription_ends_on": _iso_day(each["expires_at"]),
                "renews_by_itself": each["auto_renew"],
            }
            for key, each in self.found[stream].items()
        }

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        self.found["accounts"]["a1"] |= {"has_past_due_invoice": False, "updated_at": _iso(at)}
        self.found["accounts"]["a2"] |= {"state": "inactive", "updated_at": _iso(at)}
        self.found["subscriptions"]["s3"] |= {
            "state": "canceled", "expires_at": "2026-05-01T00:00:00Z", "updated_at": _iso(at)
        }  # fmt: skip


def _day(epoch: int | None) -> date | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, NOW.tzinfo).date()


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_day(text: str | None) -> date | None:
    return None if text is None else datetime.fromisoformat(text).date()


CASES = [
    Case(
        "stripe",
        Stripe,
        fields={"api_key": {"env": "STRIPE_API_KEY"}},
        records={"customers": "data", "subscriptions": "data"},
        secrets={"STRIPE_API_KEY": "rk_test"},
    ),
    Case(
        "chargebee",
        Chargebee,
        fields={"site": "acme", "api_key": {"env": "CHARGEBEE_API_KEY"}},
        records={"customers": "list", "subscriptions": "list"},
        secrets={"CHARGEBEE_API_KEY": "cb_key"},
    ),
    Case(
        "recurly",
        Recurly,
        fields={"api_key": {"env": "RECURLY_API_KEY"}},
        records={"accounts": "data", "subscriptions": "data"},
        secrets={"RECURLY_API_KEY": "rc_key"},
    ),
]
