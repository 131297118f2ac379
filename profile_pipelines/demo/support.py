"""Support: an HTTP API shaped like Zendesk's incremental export of users, by cursor.

The first request names a `start_time` (epoch seconds), the later ones the `cursor` of the
page before, also found in `after_url`; `end_of_stream` says that nothing more has changed.
Deleted users stay in the export with `active: false` and, for this sample, `deleted: true`.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from datetime import UTC, datetime, timedelta
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
from profile_pipelines.demo.store import connect

SCHEMA = """
CREATE TABLE support_users (
    id INTEGER PRIMARY KEY, number INTEGER NOT NULL, external_id TEXT, email TEXT, name TEXT,
    locale TEXT, phone_opt_in INTEGER, open_tickets INTEGER, satisfaction REAL,
    escalated INTEGER, deleted INTEGER NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL
);
"""
INDEXES = """
CREATE INDEX support_users_updated ON support_users (updated, id);
CREATE INDEX support_users_number ON support_users (number);
"""


def rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """The help desk's users, some known by e-mail alone and some deleted."""
    people = people.filter("in_support")
    n = people.height
    updated = moments(n, now, spread, rng)
    by_email = pl.Series(rng.random(n) < 0.1)
    frame = people.select(
        id=900_000_000_000 + 7 * pl.col("number"),
        number="number",
        external_id=pl.when(~by_email).then(
            spell_numbers(people["number"], (0.6, 0.3, 0.1, 0), rng)
        ),
        email=spell_emails(people["email"], rng),
        name=pl.format("{} {}", "first_name", "last_name"),
        locale="language",
        phone_opt_in=(pl.col("phone_opt_in") & pl.Series(rng.random(n) < 0.97)).cast(pl.Int64),
        open_tickets="open_tickets",
        satisfaction="satisfaction",
        escalated=pl.col("escalated").cast(pl.Int64),
        deleted=pl.Series((rng.random(n) < 0.01).astype(np.int64)),
        created=earlier(updated, rng).dt.epoch("s"),
        updated=updated.dt.epoch("s"),
    )
    frame = spoil(frame, "satisfaction", [7.0, -1.0, 99.0], rng)
    frame = spoil(frame, "open_tickets", [-1, 100_000], rng)
    frame = spoil(frame, "external_id", ["N/A", "unknown"], rng)
    return spoil(frame, "email", [PLACEHOLDER_EMAIL, None], rng)


class SupportApi:
    """The API's export of users over the demo's store."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self._store = connect(folder)
        self._gate = gate
        self.routes = [Route("/api/v2/incremental/users/cursor.json", self.users)]

    async def users(self, request: Request) -> JSONResponse:
        """`GET /api/v2/incremental/users/cursor.json`, by time of change and id."""
        self._gate.check(request)
        query = request.query_params
        size = _number(query.get("per_page", "1000"), "per_page")
        if not 1 <= size <= 1000:
            raise HTTPException(400, "per_page must be between 1 and 1000")
        if cursor := query.get("cursor"):
            updated, last = _decode(cursor)
        elif start := query.get("start_time"):
            updated, last = _number(start, "start_time"), -1
        else:
            raise HTTPException(400, "Either start_time or cursor must be given")
        found = self._store.execute(
            "SELECT * FROM support_users WHERE (updated, id) > (?, ?) ORDER BY updated, id LIMIT ?",
            (updated, last, size + 1),
        ).fetchall()
        page = found[:size]
        if page:
            updated, last = page[-1]["updated"], page[-1]["id"]
        after = base64.urlsafe_b64encode(f"{updated}|{last}".encode()).decode()
        url = request.url.replace(query="").include_query_params(cursor=after, per_page=size)
        return JSONResponse(
            {
                "users": [_user(row) for row in page],
                "after_cursor": after,
                "after_url": str(url),
                "before_cursor": None,
                "before_url": None,
                "end_of_stream": len(found) <= size,
            }
        )


def _number(text: str, name: str) -> int:
    if not text.isdigit():
        raise HTTPException(400, f"{name} must be a whole number")
    return int(text)


def _decode(cursor: str) -> tuple[int, int]:
    try:
        updated, last = base64.urlsafe_b64decode(cursor).decode().split("|")
        return int(updated), int(last)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, "cursor is invalid") from error


def _user(row: sqlite3.Row) -> dict[str, object]:
    return {
        "id": row["id"],
        "external_id": row["external_id"],
        "email": row["email"],
        "name": row["name"],
        "role": "end-user",
        "locale": row["locale"],
        "active": not row["deleted"],
        "deleted": bool(row["deleted"]),
        "user_fields": {
            "open_tickets": row["open_tickets"],
            "satisfaction_score": row["satisfaction"],
            "escalated": bool(row["escalated"]),
            "phone_opt_in": bool(row["phone_opt_in"]),
        },
        "created_at": _iso(row["created"]),
        "updated_at": _iso(row["updated"]),
    }


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
