"""Billing: an HTTP API shaped like Stripe's, with customers and subscriptions.

Lists are read newest first with `limit` (at most 100) and `starting_after`; `expand` puts the
customer or the latest invoice in place of its id. Times are epoch seconds. The filter
`updated[gte]` and the field `updated` are an extension of this sample: Stripe has no such
filter and would have one read its events.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from profile_pipelines.demo.flaws import (
    PLACEHOLDER_EMAIL,
    earlier,
    moments,
    spell_emails,
    spell_numbers,
    spoil,
)
from profile_pipelines.demo.gate import Gate
from profile_pipelines.demo.population import PRICES
from profile_pipelines.demo.store import connect

SCHEMA = """
CREATE TABLE billing_customers (
    id TEXT NOT NULL, number INTEGER NOT NULL, customer_no TEXT, email TEXT, name TEXT,
    deleted INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE TABLE billing_subscriptions (
    id TEXT NOT NULL, number INTEGER NOT NULL, customer TEXT NOT NULL, customer_no TEXT,
    status TEXT NOT NULL, package TEXT, price INTEGER NOT NULL, invoice_status TEXT,
    contract_end_date TEXT, renewal_status TEXT, renewal_date TEXT,
    created INTEGER NOT NULL, updated INTEGER NOT NULL
);
"""
INDEXES = """
CREATE UNIQUE INDEX billing_customers_id ON billing_customers (id);
CREATE UNIQUE INDEX billing_subscriptions_id ON billing_subscriptions (id);
CREATE INDEX billing_customers_created ON billing_customers (created, id);
CREATE INDEX billing_customers_number ON billing_customers (number);
CREATE INDEX billing_subscriptions_created ON billing_subscriptions (created, id);
CREATE INDEX billing_subscriptions_updated ON billing_subscriptions (updated);
CREATE INDEX billing_subscriptions_number ON billing_subscriptions (number);
"""


def customer_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """Billing's customers."""
    people = people.filter("in_billing")
    updated = moments(people.height, now, spread, rng)
    rows = people.select(
        id=_ids("cus", people["number"], 0),
        number="number",
        customer_no=spell_numbers(people["number"], (0.2, 0, 0.3, 0.5), rng),
        email=spell_emails(people["email"], rng),
        name=pl.format("{} {}", "first_name", "last_name"),
        deleted=pl.lit(0),
        created=earlier(updated, rng).dt.epoch("s"),
        updated=updated.dt.epoch("s"),
    )
    return spoil(rows, "email", [PLACEHOLDER_EMAIL, None], rng)


def subscription_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """The subscriptions, and for three percent also the cancelled one they had before."""
    people = people.filter("in_billing")
    updated = moments(people.height, now, spread, rng)
    active = pl.col("lifecycle") == "active"
    rows = people.select(
        id=_ids("sub", people["number"], 0),
        number="number",
        customer=_ids("cus", people["number"], 0),
        customer_no=spell_numbers(people["number"], (0.2, 0, 0.3, 0.5), rng),
        status=pl.when(~active)
        .then(pl.lit("canceled"))
        .when(pl.col("invoice_status") == "paid")
        .then(pl.lit("active"))
        .otherwise(pl.lit("past_due")),
        package="package",
        price=pl.col("package").replace_strict(PRICES, return_dtype=pl.Int64),
        invoice_status="invoice_status",
        contract_end_date=pl.col("contract_end").dt.to_string("%Y-%m-%d"),
        renewal_status="renewal_status",
        renewal_date=pl.when(active).then(
            pl.col("contract_end").dt.offset_by("1d").dt.to_string("%Y-%m-%d")
        ),
        created=earlier(updated, rng).dt.epoch("s"),
        updated=updated.dt.epoch("s"),
    )
    rows = spoil(rows, "contract_end_date", ["31.02.2026", "2026-13-01", "n/a"], rng)
    rows = spoil(rows, "renewal_status", ["maybe", "CONFIRMED?"], rng)
    rows = spoil(rows, "package", ["test-plan", "tmp_copy"], rng)
    rows = spoil(rows, "customer_no", ["N/A", None, "0"], rng)
    return pl.concat([rows, _former(rows, now, rng)])


def _former(rows: pl.DataFrame, now: datetime, rng: np.random.Generator) -> pl.DataFrame:
    current = rows.filter(pl.col("updated") <= int(now.timestamp()))
    twice = current[np.sort(rng.permutation(current.height)[: round(0.03 * current.height)])]
    return twice.with_columns(
        id=_ids("sub", twice["number"], 1),
        status=pl.lit("canceled"),
        package=pl.lit("basic"),
        price=pl.lit(PRICES["basic"], pl.Int64),
        renewal_status=pl.lit("declined"),
        created=pl.col("created") - 86_400 * 400,
        updated=pl.col("created"),
    )


def _ids(prefix: str, numbers: pl.Series, nth: int) -> pl.Series:
    """Ids that look random and are always the same for the same number."""
    values = numbers.to_numpy().astype(np.uint64) * np.uint64(4) + np.uint64(nth)
    values = (values ^ (values >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    return pl.Series([f"{prefix}_{value:016x}" for value in values.tolist()], dtype=pl.String)


class BillingApi:
    """The API's two lists over the demo's store."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self._store = connect(folder)
        self._gate = gate
        self.routes = [
            Route("/v1/customers", self.customers),
            Route("/v1/subscriptions", self.subscriptions),
        ]

    async def customers(self, request: Request) -> JSONResponse:
        """`GET /v1/customers`."""
        self._gate.check(request)
        sql = "SELECT * FROM billing_customers AS t WHERE deleted = 0"
        return self._page(request, "billing_customers", sql, _customer)

    async def subscriptions(self, request: Request) -> JSONResponse:
        """`GET /v1/subscriptions`; without `status=all` the cancelled ones are left out."""
        self._gate.check(request)
        status = request.query_params.get("status")
        sql = (
            "SELECT t.*, c.customer_no AS c_customer_no, c.email AS c_email, c.name AS c_name,"
            " c.deleted AS c_deleted, c.created AS c_created, c.updated AS c_updated"
            " FROM billing_subscriptions AS t JOIN billing_customers AS c ON c.id = t.customer"
        )
        if status is None:
            sql += " WHERE t.status != 'canceled'"
        elif status == "all":
            sql += " WHERE true"
        else:
            sql += " WHERE t.status = :status"
        return self._page(request, "billing_subscriptions", sql, _subscription)

    def _page(self, request: Request, table: str, sql: str, shape) -> JSONResponse:
        values = dict(request.query_params)
        expand = {
            value.removeprefix("data.")
            for name, value in request.query_params.multi_items()
            if re.fullmatch(r"expand\[\d*\]", name)
        }
        limit = _number(values, "limit", 10, 1, 100)
        bind: dict[str, object] = {"limit": limit + 1, "status": values.get("status")}
        for bound, operator in (("gte", ">="), ("gt", ">"), ("lte", "<="), ("lt", "<")):
            name = f"updated[{bound}]"
            if name in values:
                bind[bound] = _number(values, name, 0, 0, 2**53)
                sql += f" AND t.updated {operator} :{bound}"
        if after := values.get("starting_after"):
            found = self._store.execute(f"SELECT created FROM {table} WHERE id = ?", (after,))
            row = found.fetchone()
            if row is None:
                raise HTTPException(400, f"No such object: '{after}' (starting_after)")
            bind |= {"created": row["created"], "after": after}
            sql += " AND (t.created, t.id) < (:created, :after)"
        sql += " ORDER BY t.created DESC, t.id DESC LIMIT :limit"
        rows = self._store.execute(sql, bind).fetchall()
        return JSONResponse(
            {
                "object": "list",
                "url": request.url.path,
                "has_more": len(rows) > limit,
                "data": [shape(row, expand) for row in rows[:limit]],
            }
        )


def _number(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name, str(default))
    if not text.isdigit() or not low <= int(text) <= high:
        raise HTTPException(400, f"Invalid integer for {name}: expected {low} to {high}")
    return int(text)


def _customer(row: sqlite3.Row, expand: set[str], prefix: str = "") -> dict[str, object]:
    return {
        "id": row["customer" if prefix else "id"],
        "object": "customer",
        "email": row[f"{prefix}email"],
        "name": row[f"{prefix}name"],
        "metadata": _present(customer_no=row[f"{prefix}customer_no"]),
        "created": row[f"{prefix}created"],
        "updated": row[f"{prefix}updated"],
    }


def _subscription(row: sqlite3.Row, expand: set[str]) -> dict[str, object]:
    customer: object = row["customer"]
    if "customer" in expand:
        gone = {"id": row["customer"], "object": "customer", "deleted": True}
        customer = gone if row["c_deleted"] else _customer(row, expand, "c_")
    invoice: object = f"in_{row['id'][4:]}"
    if "latest_invoice" in expand:
        invoice = {"id": invoice, "object": "invoice", "status": row["invoice_status"]}
    price = {
        "id": f"price_{row['package']}",
        "object": "price",
        "nickname": row["package"],
        "currency": "eur",
        "unit_amount": row["price"],
        "recurring": {"interval": "month", "interval_count": 1},
    }
    return {
        "id": row["id"],
        "object": "subscription",
        "customer": customer,
        "status": row["status"],
        "currency": "eur",
        "latest_invoice": invoice,
        "items": {
            "object": "list",
            "has_more": False,
            "data": [
                {
                    "id": f"si_{row['id'][4:]}",
                    "object": "subscription_item",
                    "price": price,
                    "quantity": 1,
                }
            ],
        },
        "metadata": _present(
            customer_no=row["customer_no"],
            contract_end_date=row["contract_end_date"],
            renewal_status=row["renewal_status"],
            renewal_date=row["renewal_date"],
        ),
        "created": row["created"],
        "updated": row["updated"],
    }


def _present(**values: object) -> dict[str, object]:
    """Stripe keeps no empty metadata."""
    return {name: value for name, value in values.items() if value is not None}
