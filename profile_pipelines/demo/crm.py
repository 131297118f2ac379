"""The CRM: an SQL database with contacts and accounts, kept by people in many offices.

`modified_at` is UTC. Contracts and renewals are copied from billing by hand, so they lag.
"""

from __future__ import annotations

import io
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from profile_pipelines.demo.flaws import (
    PLACEHOLDER_EMAIL,
    earlier,
    moments,
    spell_emails,
    spell_numbers,
    spoil,
)
from profile_pipelines.demo.store import INSERT_ROWS
from profile_pipelines.errors import SourceError

metadata = sa.MetaData()

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_no", sa.String(20), primary_key=True),
    sa.Column("primary_customer_no", sa.String(20)),
    sa.Column("status", sa.String(20)),
    sa.Column("is_deleted", sa.Boolean, nullable=False),
    sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False, index=True),
)
contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("contact_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("account_no", sa.String(20)),
    sa.Column("customer_no", sa.String(20)),
    sa.Column("first_name", sa.String(50)),
    sa.Column("last_name", sa.String(50)),
    sa.Column("email", sa.String(200)),
    sa.Column("phone", sa.String(30)),
    sa.Column("language", sa.String(10)),
    sa.Column("home_market", sa.String(10)),
    sa.Column("lifecycle_status", sa.String(20)),
    sa.Column("email_opt_in", sa.Boolean),
    sa.Column("sms_opt_in", sa.Boolean),
    sa.Column("phone_opt_in", sa.Boolean),
    sa.Column("channel_preferences", sa.Text),
    sa.Column("contract_end_date", sa.String(20)),
    sa.Column("renewal_status", sa.String(20)),
    sa.Column("escalated", sa.Boolean),
    sa.Column("is_deleted", sa.Boolean, nullable=False),
    sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False, index=True),
)


def account_no(number: int) -> str:
    """The account of a customer number."""
    return f"A-{number:06d}"


def contact_ids(number: int) -> tuple[int, int]:
    """The contact of a customer number, and the id that its duplicate would have."""
    return 2 * number, 2 * number + 1


def account_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """The accounts of those people who have bought something."""
    people = people.filter(pl.col("in_crm") & (pl.col("lifecycle") != "prospect"))
    rows = people.select(
        account_no=pl.format("A-{}", pl.col("number").cast(pl.String).str.zfill(6)),
        primary_customer_no=spell_numbers(people["number"], (1, 0, 0, 0), rng),
        status="account_status",
        is_deleted=pl.lit(False),
        modified_at=moments(people.height, now, spread, rng),
    )
    return spoil(rows, "status", ["actve", "?"], rng)


def contact_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """The contacts, two percent of them twice: a second row that nobody keeps up to date."""
    people = people.filter("in_crm")
    n = people.height
    buyer = pl.col("lifecycle") != "prospect"
    lagging = pl.Series(rng.random(n) < 0.05)
    rows = people.select(
        contact_id=2 * pl.col("number"),
        account_no=pl.when(buyer).then(
            pl.format("A-{}", pl.col("number").cast(pl.String).str.zfill(6))
        ),
        customer_no=spell_numbers(people["number"], (0.9, 0.06, 0.04, 0), rng),
        first_name="first_name",
        last_name="last_name",
        email=spell_emails(people["email"], rng),
        phone=pl.format("+49 170 {}", "phone_digits"),
        language="language",
        home_market="market",
        lifecycle_status="lifecycle",
        email_opt_in="email_opt_in",
        sms_opt_in="sms_opt_in",
        phone_opt_in="phone_opt_in",
        channel_preferences="channel_preferences",
        contract_end_date=pl.when(buyer).then(
            pl.when(lagging)
            .then(pl.col("contract_end").dt.offset_by("-1y"))
            .otherwise("contract_end")
            .dt.to_string("%Y-%m-%d")
        ),
        renewal_status=pl.when(buyer).then(
            pl.when(lagging).then(pl.lit("open")).otherwise("renewal_status")
        ),
        escalated=pl.col("escalated") & pl.Series(rng.random(n) < 0.8),
        is_deleted=pl.Series(rng.random(n) < 0.01),
        modified_at=moments(n, now, spread, rng),
    )
    rows = spoil(rows, "contract_end_date", ["2026-02-30", "0000-00-00", "31.11.2025"], rng)
    rows = spoil(rows, "lifecycle_status", ["actve", "lead?", "N/A"], rng)
    rows = spoil(rows, "home_market", ["Germany", "XX"], rng)
    rows = spoil(rows, "language", ["deutsch", "zz"], rng)
    rows = spoil(rows, "customer_no", ["N/A", "", "unknown"], rng)
    rows = spoil(rows, "email", [PLACEHOLDER_EMAIL, "N/A", None], rng)
    return pl.concat([rows, _duplicates(rows, now, rng)])


def _duplicates(rows: pl.DataFrame, now: datetime, rng: np.random.Generator) -> pl.DataFrame:
    current = rows.filter(pl.col("modified_at") <= now)
    twice = current[np.sort(rng.permutation(current.height)[: round(0.02 * current.height)])]
    return twice.with_columns(
        contact_id=pl.col("contact_id") + 1,
        customer_no=pl.col("customer_no").str.to_lowercase(),
        lifecycle_status=pl.lit("prospect"),
        is_deleted=pl.lit(False),
        modified_at=earlier(twice["modified_at"], rng),
    )


def create(engine: sa.Engine, account: pl.DataFrame, contact: pl.DataFrame) -> None:
    """Create and fill the CRM's tables at once. Raises SourceError when they are there already."""
    if taken := {table.name for table in metadata.sorted_tables} & set(
        sa.inspect(engine).get_table_names()
    ):
        raise SourceError(
            f"the CRM's database has a table {sorted(taken)[0]} already; name an empty database"
        )
    with engine.begin() as connection:
        for table, frame in ((accounts, account), (contacts, contact)):
            connection.execute(CreateTable(table))
            insert(connection, table, frame)
            for index in table.indexes:
                connection.execute(CreateIndex(index))


def insert(connection: sa.Connection, table: sa.Table, frame: pl.DataFrame) -> None:
    """Append the frame's rows by the database's fastest way: COPY, or else one bulk insert."""
    if frame.is_empty():
        return
    columns = ", ".join(frame.columns)
    if connection.dialect.name == "postgresql":
        text = io.BytesIO()
        frame.write_csv(text, datetime_format="%Y-%m-%d %H:%M:%S%.6f+00", quote_style="necessary")
        text.seek(0)
        cursor = connection.connection.cursor()
        cursor.copy_expert(  # pyright: ignore[reportAttributeAccessIssue]
            f"COPY {table.name} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER)", text
        )
        return
    plain = frame.with_columns(pl.col("modified_at").dt.to_string("%Y-%m-%d %H:%M:%S%.6f"))
    marks = ", ".join("?" for _ in frame.columns)
    statement = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"
    for part in plain.iter_slices(INSERT_ROWS):
        connection.exec_driver_sql(statement, part.rows())
