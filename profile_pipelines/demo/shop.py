"""The shop: an HTTP API shaped like WooCommerce's REST API, with its customers.

Numbered pages (`page`, `per_page` at most 100) with the counts in `X-WP-Total` and
`X-WP-TotalPages`; basic authentication. `date_modified` is in the shop's own time zone and
`date_modified_gmt` in UTC, neither says so. `modified_after` is local time unless it has an
offset or `dates_are_gmt=true` stands beside it. `orders_count`, `total_spent`,
`last_order_date`, `products_owned`, `language` and `newsletter_opt_in` are fields such as
plugins add. Guests have no customer number. A deleted customer is simply gone.
"""

from __future__ import annotations

import json
import math
import sqlite3
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

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
from profile_pipelines.demo.store import connect

ZONE = ZoneInfo("Europe/Berlin")

SCHEMA = """
CREATE TABLE shop_customers (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, customer_no TEXT, email TEXT,
    first_name TEXT, last_name TEXT, country TEXT, language TEXT, newsletter INTEGER,
    orders_count INTEGER, total_spent REAL, last_order_date TEXT, products TEXT,
    created INTEGER NOT NULL, modified INTEGER NOT NULL
);
"""
INDEXES = """
CREATE INDEX shop_customers_modified ON shop_customers (modified);
CREATE INDEX shop_customers_number ON shop_customers (number);
"""


def rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """The shop's customers, a fifth of them guests; one percent registered twice."""
    people = people.filter("in_shop")
    n = people.height
    modified = moments(n, now, spread, rng)
    guest = pl.Series(rng.random(n) < 0.2)
    other_email = pl.Series(rng.random(n) < 0.02)
    frame = people.select(
        id=3 * pl.col("number"),
        number="number",
        customer_no=pl.when(~guest).then(
            spell_numbers(people["number"], (0.1, 0, 0.1, 0.8), rng),
        ),
        email=pl.when(other_email & ~guest)
        .then(pl.format("shop{}@example.com", "number"))
        .otherwise(spell_emails(people["email"], rng)),
        first_name="first_name",
        last_name="last_name",
        country="market",
        language="language",
        newsletter=(pl.col("email_opt_in") & pl.Series(rng.random(n) < 0.97)).cast(pl.Int64),
        orders_count="orders_count",
        total_spent=pl.col("orders_count") * pl.Series(np.round(rng.random(n) * 60 + 15, 2)),
        last_order_date=pl.when(pl.col("orders_count") > 0).then(
            pl.col("last_order").dt.to_string("%Y-%m-%d")
        ),
        products="products",
        created=earlier(modified, rng).dt.epoch("s"),
        modified=modified.dt.epoch("s"),
    )
    frame = spoil(frame, "orders_count", [-1, -20], rng)
    frame = spoil(frame, "last_order_date", ["2026-02-31", "0000-00-00"], rng)
    frame = spoil(frame, "email", [PLACEHOLDER_EMAIL, "N/A", ""], rng)
    frame = spoil(frame, "customer_no", ["N/A", "null"], rng)
    twice = frame.filter(pl.col("modified") <= int(now.timestamp()))
    twice = twice[np.sort(rng.permutation(twice.height)[: round(0.01 * twice.height)])]
    return pl.concat(
        [
            frame,
            twice.with_columns(
                id=pl.col("id") + 1,
                newsletter=pl.lit(0, pl.Int64),
                orders_count=pl.lit(0, pl.Int64),
                total_spent=pl.lit(0.0),
                modified=pl.col("created"),
            ),
        ]
    )


class ShopApi:
    """The API's list of customers over the demo's store."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self._store = connect(folder)
        self._gate = gate
        self.routes = [Route("/wp-json/wc/v3/customers", self.customers)]

    async def customers(self, request: Request) -> JSONResponse:
        """`GET /wp-json/wc/v3/customers`, by ascending id."""
        self._gate.check(request)
        query = request.query_params
        page = _number(query.get("page"), "page", 1, 2**31)
        size = _number(query.get("per_page"), "per_page", 10, 100)
        where, bind = "true", {}
        if text := query.get("modified_after"):
            gmt = query.get("dates_are_gmt", "").lower() in ("true", "1")
            where, bind = "modified > :after", {"after": _epoch(text, gmt)}
        counted = self._store.execute(f"SELECT count(*) FROM shop_customers WHERE {where}", bind)
        total = counted.fetchone()[0]
        found = self._store.execute(
            f"SELECT * FROM shop_customers WHERE {where} ORDER BY id LIMIT :size OFFSET :offset",
            {**bind, "size": size, "offset": (page - 1) * size},
        )
        pages = math.ceil(total / size)
        headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}
        if page < pages:
            headers["Link"] = f'<{request.url.include_query_params(page=page + 1)}>; rel="next"'
        return JSONResponse([_customer(row) for row in found], headers=headers)


def _number(text: str | None, name: str, default: int, high: int) -> int:
    if text is None:
        return default
    if not text.isdigit() or not 1 <= int(text) <= high:
        raise HTTPException(400, f"Invalid parameter(s): {name} must be between 1 and {high}")
    return int(text)


def _epoch(text: str, gmt: bool) -> float:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise HTTPException(400, "Invalid parameter(s): modified_after is no date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if gmt else ZONE)
    return moment.timestamp()


def _customer(row: sqlite3.Row) -> dict[str, object]:
    number = {"id": row["id"], "key": "customer_no", "value": row["customer_no"]}
    return {
        "id": row["id"],
        "date_created": _local(row["created"], ZONE),
        "date_created_gmt": _local(row["created"], UTC),
        "date_modified": _local(row["modified"], ZONE),
        "date_modified_gmt": _local(row["modified"], UTC),
        "email": row["email"],
        "first_name": row["first_name"],
        "last_name": row["last_name"],
        "role": "customer",
        "billing": {"country": row["country"]},
        "is_paying_customer": row["orders_count"] > 0,
        "orders_count": row["orders_count"],
        "total_spent": f"{row['total_spent']:.2f}",
        "last_order_date": row["last_order_date"],
        "products_owned": json.loads(row["products"]),
        "language": row["language"],
        "newsletter_opt_in": bool(row["newsletter"]),
        "meta_data": [] if row["customer_no"] is None else [number],
    }


def _local(seconds: int, zone: tzinfo) -> str:
    return datetime.fromtimestamp(seconds, zone).replace(tzinfo=None).isoformat()
