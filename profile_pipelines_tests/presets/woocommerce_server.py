"""A server that follows the documented behaviour of WooCommerce's REST API."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, basic, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]


class WooCommerce(Vendor):
    """https://woocommerce.github.io/woocommerce-rest-api-docs/"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"customers": {}, "orders": {}}
        for number in range(1, COUNT + 1):
            self._add(number, later(number))
        for stream in self.found:
            path = f"/wp-json/wc/v3/{stream}"
            api.answers[path] = lambda request, s=stream: self._list(request, s)

    def _add(self, number: int, at: datetime) -> None:
        self.found["customers"][str(number)] = {
            "id": number, "email": f"user{number}@example.com", "is_paying_customer": number > 2,
            "shipping": {"country": "AT"}, "role": "subscriber" if number == 2 else "customer",
        }  # fmt: skip
        # times without offset, in UTC
        self.found["orders"][str(500 + number)] = {
            "id": 500 + number, "customer_id": 0 if number == 3 else number, "status": "processing",
            "total": "12.50", "date_modified_gmt": at.strftime("%Y-%m-%dT%H:%M:%S"),
            "billing": {"email": f"user{number}@example.com", "country": "AT"},
        }  # fmt: skip

    def _list(self, request: Request, stream: str) -> Response:
        """Pages by number; #pagination: the totals stand in X-WP-Total and X-WP-TotalPages."""
        if not basic(request, "ck_1", "cs_1"):
            return JSONResponse({"code": "woocommerce_rest_cannot_view"}, 401)
        query = request.query_params
        if int(query.get("per_page", 10)) > 100:
            return JSONResponse({"code": "rest_invalid_param"}, 400)
        records = list(self.found[stream].values())
        if stream == "orders":
            # without dates_are_gmt the time is taken as the site's own
            since = query.get("modified_after", "").removesuffix("Z")
            assert query.get("dates_are_gmt") == "true"
            records = [each for each in records if each["date_modified_gmt"] > since]
            records.sort(key=lambda each: each["date_modified_gmt"])
        elif query.get("role", "customer") != "all":
            records = [each for each in records if each["role"] == "customer"]
        number = int(query.get("page", 1))
        total = -(-len(records) // PAGE)
        headers = {"X-WP-Total": str(len(records)), "X-WP-TotalPages": str(total)}
        return JSONResponse(records[(number - 1) * PAGE : number * PAGE], headers=headers)

    def expected(self, stream: str) -> Rows:
        if stream == "customers":
            return {
                key: {"paying_customer": each["is_paying_customer"], "shipping_country": "AT"}
                for key, each in self.found[stream].items()
            }
        return {
            key: {
                "last_order_status": each["status"],
                "last_order_total": Decimal("12.5"),
                "billing_country": "AT",
            }
            for key, each in self.found[stream].items()
        }

    def change(self) -> None:
        at = later(COUNT + 2)
        self._add(COUNT + 1, at)
        self.found["customers"]["1"] |= {"is_paying_customer": True}
        del self.found["customers"]["4"]
        stamp = at.strftime("%Y-%m-%dT%H:%M:%S")
        self.found["orders"]["503"] |= {"status": "completed", "date_modified_gmt": stamp}


CASES = [
    Case(
        "woocommerce",
        WooCommerce,
        fields={
            "consumer_key": {"env": "WOOCOMMERCE_CONSUMER_KEY"},
            "consumer_secret": {"env": "WOOCOMMERCE_CONSUMER_SECRET"},
        },
        records={"customers": None, "orders": None},
        secrets={"WOOCOMMERCE_CONSUMER_KEY": "ck_1", "WOOCOMMERCE_CONSUMER_SECRET": "cs_1"},
    )
]
