"""A server that follows the documented behaviour of Shopify's Admin GraphQL API.

Queries are validated and run against the part of the documented schema that is asked for. Pages
are capped at `PAGE` records, whatever `first` says, so that a dozen records make several.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from graphql import build_schema, graphql_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

PATH = "/admin/api/2026-10/graphql.json"
_Record = dict[str, Any]

_SCHEMA = build_schema('''
  scalar DateTime
  scalar Decimal
  scalar UnsignedInt64
  scalar URL

  "https://shopify.dev/docs/api/admin-graphql/latest/objects/QueryRoot"
  type Query {
    customers(
      first: Int, after: String, query: String, sortKey: CustomerSortKeys = ID
    ): CustomerConnection!
    customer(id: ID!): Customer
    orders(
      first: Int, after: String, query: String, sortKey: OrderSortKeys = PROCESSED_AT
    ): OrderConnection!
    order(id: ID!): Order
    node(id: ID!): Node
  }
  type Mutation {
    bulkOperationRunQuery(
      query: String!, groupObjects: Boolean! = false
    ): BulkOperationRunQueryPayload
  }
  interface Node { id: ID! }
  enum CustomerSortKeys { CREATED_AT ID LOCATION NAME RELEVANCE UPDATED_AT }
  enum OrderSortKeys { CREATED_AT ID PROCESSED_AT UPDATED_AT }
  type PageInfo { hasNextPage: Boolean! endCursor: String }

  "https://shopify.dev/docs/api/admin-graphql/latest/objects/Customer"
  type Customer implements Node {
    id: ID!
    legacyResourceId: UnsignedInt64!
    updatedAt: DateTime!
    state: CustomerState!
    locale: String!
    tags: [String!]!
    numberOfOrders: UnsignedInt64!
    defaultEmailAddress: CustomerEmailAddress
    defaultPhoneNumber: CustomerPhoneNumber
    defaultAddress: MailingAddress
    amountSpent: MoneyV2!
    lastOrder: Order
  }
  enum CustomerState { DECLINED DISABLED ENABLED INVITED }
  type CustomerEmailAddress {
    emailAddress: String!
    marketingState: CustomerEmailAddressMarketingState!
  }
  enum CustomerEmailAddressMarketingState { INVALID NOT_SUBSCRIBED PENDING SUBSCRIBED UNSUBSCRIBED }
  type CustomerPhoneNumber { phoneNumber: String! marketingState: CustomerSmsMarketingState! }
  enum CustomerSmsMarketingState { NOT_SUBSCRIBED PENDING REDACTED SUBSCRIBED UNSUBSCRIBED }
  type MailingAddress { countryCodeV2: CountryCode }
  enum CountryCode { CA DE }
  type MoneyV2 { amount: Decimal! currencyCode: String! }
  type MoneyBag { shopMoney: MoneyV2! }
  type CustomerConnection { nodes: [Customer!]! edges: [CustomerEdge!]! pageInfo: PageInfo! }
  type CustomerEdge { node: Customer! cursor: String! }

  "https://shopify.dev/docs/api/admin-graphql/latest/objects/Order"
  type Order implements Node {
    id: ID!
    legacyResourceId: UnsignedInt64!
    updatedAt: DateTime!
    createdAt: DateTime!
    cancelledAt: DateTime
    email: String
    displayFinancialStatus: OrderDisplayFinancialStatus
    displayFulfillmentStatus: OrderDisplayFulfillmentStatus!
    currentTotalPriceSet: MoneyBag!
    customer: Customer
  }
  enum OrderDisplayFinancialStatus { AUTHORIZED PAID PENDING REFUNDED }
  enum OrderDisplayFulfillmentStatus { FULFILLED UNFULFILLED }
  type OrderConnection { nodes: [Order!]! edges: [OrderEdge!]! pageInfo: PageInfo! }
  type OrderEdge { node: Order! cursor: String! }

  "https://shopify.dev/docs/api/admin-graphql/latest/objects/BulkOperation"
  type BulkOperation implements Node { id: ID! status: BulkOperationStatus! url: URL }
  enum BulkOperationStatus { CANCELED CANCELING COMPLETED CREATED EXPIRED FAILED RUNNING }
  type BulkOperationRunQueryPayload { bulkOperation: BulkOperation userErrors: [UserError!]! }
  type UserError { field: [String!] message: String! }
''')  # fmt: skip


class Shopify(Vendor):
    """https://shopify.dev/docs/api/admin-graphql"""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.found: dict[str, dict[str, _Record]] = {"customers": {}, "orders": {}}
        self.running: dict[str, list[str]] = {}
        self.throttles = 0
        """How many of the next requests are throttled."""
        self.refuses: list[_Record] = []
        """The reasons for which no bulk operation is started."""
        for number in range(1, COUNT + 1):
            self._add(number, later(number))
        api.answers[PATH] = self._answer
        for number in range(20):
            api.answers[f"/bulk/{number}.jsonl"] = self._download

    def _add(self, number: int, at: datetime) -> None:
        spent = {"amount": f"{number}.50", "currencyCode": "CAD"}
        customer = {
            "__typename": "Customer", "id": f"gid://shopify/Customer/{number}",
            "legacyResourceId": str(number), "updatedAt": _iso(at), "state": "ENABLED",
            "locale": "fr", "tags": ["vip"] if number == 2 else [], "numberOfOrders": str(number),
            "defaultEmailAddress": {
                "emailAddress": f"user{number}@example.com",
                "marketingState": "SUBSCRIBED" if number % 2 else "PENDING",
            },
            "defaultPhoneNumber": None, "defaultAddress": {"countryCodeV2": "CA"},
            "amountSpent": spent,
        }  # fmt: skip
        self.found["customers"][str(number)] = customer
        self.found["orders"][str(500 + number)] = order = {
            "__typename": "Order", "id": f"gid://shopify/Order/{500 + number}",
            "legacyResourceId": str(500 + number), "updatedAt": _iso(at), "createdAt": _iso(at),
            "cancelledAt": None, "email": f"user{number}@example.com",
            "displayFinancialStatus": "PAID", "displayFulfillmentStatus": "UNFULFILLED",
            "currentTotalPriceSet": {"shopMoney": spent},
            # an order without an account
            "customer": None if number == 3 else customer,
        }  # fmt: skip
        customer["lastOrder"] = None if number == 3 else order

    def _answer(self, request: Request) -> Response:
        """https://shopify.dev/docs/api/admin-graphql#status_and_error_codes: errors of a query
        come with 200, those of authentication with 401."""
        if request.headers.get("x-shopify-access-token") != "shpat_1":
            return JSONResponse({"errors": "[API] Invalid API key or access token"}, 401)
        if self.throttles:
            self.throttles -= 1
            return JSONResponse(_THROTTLED)
        sent = request.state.body
        host = str(request.base_url)
        result = graphql_sync(
            _SCHEMA, sent["query"], self._root(host), variable_values=sent["variables"]
        )
        answer: _Record = {"data": result.data}
        if result.errors:
            answer["errors"] = [{"message": error.message} for error in result.errors]
        return JSONResponse(answer)

    def _root(self, host: str) -> _Record:
        def one(stream: str) -> Any:
            return lambda _, **asked: self.found[stream].get(asked["id"].rpartition("/")[2])

        return {
            "customers": lambda _, **asked: self._connection("customers", **asked),
            "orders": lambda _, **asked: self._connection("orders", **asked),
            "customer": one("customers"),
            "order": one("orders"),
            "node": lambda _, **asked: self._operation(asked["id"], host),
            "bulkOperationRunQuery": lambda _, **asked: self._start(**asked),
        }

    def _connection(
        self,
        stream: str,
        sortKey: str = "ID",  # noqa: N803
        first: int | None = None,
        after: str | None = None,
        query: str | None = None,
    ) -> _Record:
        """https://shopify.dev/docs/api/usage/pagination-graphql: `first` is at most 250;
        https://shopify.dev/docs/api/usage/search-syntax: dates stand in quotes."""
        records = list(self.found[stream].values())
        if query:
            name, _, since = query.partition(":>=")
            assert name == "updated_at"
            assert since == f"'{since.strip(chr(39))}'"
            records = [each for each in records if each["updatedAt"] >= since.strip("'")]
        key = "updatedAt" if sortKey == "UPDATED_AT" else "id"
        records.sort(key=lambda each: (each[key], int(each["legacyResourceId"])))
        if first is None:
            # only within bulk operations
            return {"edges": [{"node": each} for each in records]}
        assert first <= 250
        if after is not None:
            moment, number = json.loads(after)
            records = [
                r for r in records if (r[key], int(r["legacyResourceId"])) > (moment, number)
            ]
        page = records[: min(first, PAGE)]
        end = json.dumps([page[-1][key], int(page[-1]["legacyResourceId"])]) if page else None
        return {
            "nodes": page,
            "pageInfo": {"hasNextPage": len(records) > len(page), "endCursor": end},
        }

    def _start(self, query: str, groupObjects: bool) -> _Record:  # noqa: N803
        """https://shopify.dev/docs/api/usage/bulk-operations/queries: the result has a line for
        each node, without the connection around it."""
        if self.refuses:
            return {"bulkOperation": None, "userErrors": self.refuses}
        result = graphql_sync(_SCHEMA, query, self._root(""))
        assert result.errors is None
        assert result.data is not None
        [connection] = result.data.values()
        lines = [json.dumps(edge["node"]) for edge in connection["edges"]]
        job = f"gid://shopify/BulkOperation/{len(self.running)}"
        self.running[job] = lines
        self.waits = 1
        created = {"__typename": "BulkOperation", "id": job, "status": "CREATED", "url": None}
        return {"bulkOperation": created, "userErrors": []}

    def _operation(self, job: str, host: str) -> _Record:
        """`url` is there once it's COMPLETED, and null when there are no records."""
        found: _Record = {"__typename": "BulkOperation", "id": job, "status": "RUNNING"}
        if self.waits:
            self.waits -= 1
            return found
        url = f"{host}bulk/{job.rpartition('/')[2]}.jsonl" if self.running[job] else None
        return {**found, "status": "COMPLETED", "url": url}

    def _download(self, request: Request) -> Response:
        """A signed address, on which no token is sent."""
        assert "x-shopify-access-token" not in request.headers
        number = request.url.path.rpartition("/")[2].removesuffix(".jsonl")
        lines = self.running[f"gid://shopify/BulkOperation/{number}"]
        return Response("\n".join(lines) + "\n", media_type="application/jsonl")

    def expected(self, stream: str) -> Rows:
        if stream == "customers":
            return {
                key: {
                    "email_opt_in": each["defaultEmailAddress"]["marketingState"] == "SUBSCRIBED",
                    "sms_opt_in": None,
                    "shop_account": each["state"].lower(),
                    "shop_language": "fr",
                    "shop_tags": each["tags"],
                    "shop_country": "CA",
                    "orders_placed": int(key),
                    "total_spent": Decimal(each["amountSpent"]["amount"]),
                    "last_order_at": each["lastOrder"]
                    and datetime.fromisoformat(each["lastOrder"]["createdAt"]),
                }
                for key, each in self.found[stream].items()
            }
        return {
            key: {
                "last_order_status": each["displayFulfillmentStatus"].lower(),
                "last_order_payment": "paid",
                "last_order_total": Decimal(each["currentTotalPriceSet"]["shopMoney"]["amount"]),
            }
            for key, each in self.found[stream].items()
        }

    def change(self) -> None:
        at = later(COUNT + 2)
        self._add(COUNT + 1, at)
        self.found["customers"]["1"] |= {
            "defaultEmailAddress": {
                "emailAddress": "user1@example.com", "marketingState": "UNSUBSCRIBED"
            },
            "state": "DISABLED", "updatedAt": _iso(at),
        }  # fmt: skip
        self.found["orders"]["502"] |= {
            "displayFulfillmentStatus": "FULFILLED", "updatedAt": _iso(at)
        }  # fmt: skip


_THROTTLED = {
    # https://shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits
    "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
    "extensions": {
        "cost": {
            "requestedQueryCost": 752,
            "actualQueryCost": None,
            "throttleStatus": {
                "maximumAvailable": 2000.0,
                "currentlyAvailable": 702,
                "restoreRate": 100.0,
            },
        }
    },
}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


BULK = Case(
    "shopify",
    Shopify,
    fields={"access_token": {"env": "SHOPIFY_ACCESS_TOKEN"}},
    records={"customers": "data.customers.nodes", "orders": "data.orders.nodes"},
    secrets={"SHOPIFY_ACCESS_TOKEN": "shpat_1"},
)
"""Everything by bulk operations, as the preset has it."""
CASES = [Case(**{**vars(BULK), "syncs": {"full_read": None}})]
"""Everything page by page."""
