"""A shop with a GraphQL API as the generic preset takes it: a login, a connection, a paged list."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from graphql import GraphQLError, build_schema, graphql_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines_tests.presets.billing_servers import COUNT, PAGE, later
from profile_pipelines_tests.presets.preset_case import Case, Rows, Vendor
from profile_pipelines_tests.sources.api_server import Api

_Record = dict[str, Any]

_SCHEMA = build_schema("""
  scalar DateTime
  type Query {
    customers(
      first: Int, after: String, filter: CustomerFilter, options: ListOptions
    ): CustomerConnection!
  }
  type Mutation { login(username: String!, password: String!): Login! }
  type Login { token: String! }
  input CustomerFilter { updatedAt: DateRange }
  input DateRange { gte: DateTime }
  input ListOptions { skip: Int, take: Int }
  type CustomerConnection {
    edges: [CustomerEdge!]!
    pageInfo: PageInfo!
    items: [Customer!]!
    totalItems: Int!
  }
  type CustomerEdge { cursor: String! node: Customer! }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type Customer {
    id: ID!
    email: String!
    updatedAt: DateTime!
    isActive: Boolean!
    languageCode: String
  }
""")


class GraphQLShop(Vendor):
    """https://relay.dev/graphql/connections.htm, and lists by offset beside them."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.customers: dict[str, _Record] = {}
        for number in range(COUNT):
            self._add(number, later(number))
        api.answers["/graphql"] = self._answer

    def _add(self, number: int, at: datetime) -> None:
        self.customers[f"g{number}"] = {
            "id": f"g{number}", "email": f"user{number}@example.com", "updatedAt": _iso(at),
            "isActive": number != 3, "languageCode": "pl" if number % 2 else None,
        }  # fmt: skip

    def _answer(self, request: Request) -> Response:
        """Errors come with 200, beside `data`: https://spec.graphql.org/October2021/#sec-Errors."""
        sent = request.state.body
        if "login(" not in sent["query"] and request.headers.get("authorization") != "Bearer gq_1":
            return JSONResponse({"errors": [{"message": "unauthenticated"}]}, 401)
        root = {"login": self._login, "customers": self._customers}
        result = graphql_sync(
            _SCHEMA, sent["query"], root, variable_values=sent.get("variables") or {}
        )
        return JSONResponse(result.formatted)

    def _login(self, _: Any, username: str, password: str) -> _Record:
        if (username, password) != ("reader@example.com", "pass-1"):
            raise GraphQLError(
                f"no user {username}", extensions={"code": "UNAUTHENTICATED"}
            )  # which must not be shown
        return {"token": "gq_1"}

    def _customers(
        self,
        _: Any,
        first: int | None = None,
        after: str | None = None,
        filter: _Record | None = None,  # noqa: A002
        options: _Record | None = None,
    ) -> _Record:
        records = list(self.customers.values())
        if options is not None:
            start = options["skip"]
            page = records[start : start + min(options["take"], PAGE)]
            return {"items": page, "totalItems": len(records)}
        since = ((filter or {}).get("updatedAt") or {}).get("gte")
        records = [each for each in records if since is None or each["updatedAt"] >= since]
        records.sort(key=lambda each: (each["updatedAt"], each["id"]))
        start = int(after or 0)
        page = records[start : start + min(first or PAGE, PAGE)]
        end = start + len(page)
        return {
            "edges": [{"cursor": str(start + at), "node": each} for at, each in enumerate(page, 1)],
            "pageInfo": {"hasNextPage": end < len(records), "endCursor": str(end)},
        }

    def expected(self, stream: str) -> Rows:
        name, field = ("shop_language", "languageCode") if stream == "customers" else (
            "shop_active", "isActive"
        )  # fmt: skip
        return {key: {name: each[field]} for key, each in self.customers.items()}

    def change(self) -> None:
        at = later(COUNT + 1)
        self._add(COUNT, at)
        self.customers["g1"] |= {"isActive": False, "languageCode": "cs", "updatedAt": _iso(at)}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


CASES = [
    Case(
        "graphql_shop",
        GraphQLShop,
        fields={"username": "reader@example.com", "password": {"env": "GRAPHQL_SHOP_PASSWORD"}},
        records={
            "customers": "data.customers.edges",
            "customers_by_offset": "data.customers.items",
        },
        secrets={"GRAPHQL_SHOP_PASSWORD": "pass-1"},
    )
]
