"""A straightforward script of pandas, pandera and SQLAlchemy.

    python peer_pandas.py URL FOLDER NOW

No receipts, no history, no quarantine, no state: every run reads and computes everything.
"""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pandera.pandas as pa
import sqlalchemy

LONG_AGO, FAR_AHEAD = pd.Timestamp(2000, 1, 1), pd.Timestamp(2100, 1, 1)
NO_CUSTOMER = ["", "-", "-1", "N/A", "UNKNOWN"]
NO_EMAIL = ["", "null@null.com", "n/a"]


def one_of(*values: str) -> pa.Column:
    return pa.Column(None, pa.Check.isin(values), nullable=True)


def within(kind: object, least: object, greatest: object) -> pa.Column:
    return pa.Column(kind, pa.Check.in_range(least, greatest), nullable=True)


FLAG = pa.Column("boolean", nullable=True)
DAY = within(None, LONG_AGO, FAR_AHEAD)
STATUS = one_of("active", "paused", "closed")
LANGUAGE = one_of("en", "de", "fr", "es", "it", "nl")
MARKET = one_of("GB", "DE", "FR", "ES", "IT", "NL", "AT", "IE")
CHANNEL = one_of("email", "sms", "push", "phone")
TIER = one_of("bronze", "silver", "gold", "platinum")
POINTS = within("Int64", 0, 10_000_000)

SCHEMAS = {
    "crm_contacts": {
        "account_status": STATUS,
        "lifecycle_status": one_of("prospect", "active", "churned"),
        "language": LANGUAGE,
        "home_market": MARKET,
        "email_opt_in": FLAG,
        "preferred_channel": CHANNEL,
    },
    "billing_subscriptions": {
        "package": one_of("basic", "plus", "family", "pro"),
        "contract_end_date": DAY,
        "renewal_status": one_of("open", "offered", "confirmed", "declined"),
        "payment_status": one_of("paid", "due", "overdue"),
        "account_status": STATUS,
        "email_opt_in": FLAG,
    },
    "ecommerce_customers": {
        "last_order_date": DAY,
        "orders_count": within("Int64", 0, 10_000),
        "favourite_category": one_of("sport", "home", "music", "books", "games"),
        "loyalty_points": POINTS,
        "language": LANGUAGE,
    },
    "support_users": {
        "open_tickets": within("Int64", 0, 500),
        "satisfaction": within("Int64", 1, 5),
        "escalated": FLAG,
        "preferred_channel": CHANNEL,
        "last_contact_at": within(
            pd.DatetimeTZDtype("us", "UTC"),
            LONG_AGO.tz_localize("UTC"),
            FAR_AHEAD.tz_localize("UTC"),
        ),
    },
    "warehouse_scores": {
        "value_band": TIER,
        "churn_risk": within(float, 0, 1),
        "lifetime_value": within(float, 0, 1_000_000),
        "loyalty_tier": TIER,
        "loyalty_points": POINTS,
        "home_market": MARKET,
    },
}
NUMBER_COLUMN = {"ecommerce_customers": "customer_ref"}
HAS_EMAIL = ["crm_contacts", "billing_subscriptions", "support_users"]


def read(connection: sqlalchemy.Connection, table: str) -> pd.DataFrame:
    """The table's rows in the schema's types with normalised identifiers."""
    number = NUMBER_COLUMN.get(table, "customer_no")
    schema = SCHEMAS[table]
    columns = [f"{number} as customer_id", *(["email"] if table in HAS_EMAIL else []), *schema]
    query = f"select {', '.join(columns)}, updated_at from {table}"
    dates = [name for name, column in schema.items() if column is DAY]
    frame = pd.read_sql_query(sqlalchemy.text(query), connection, parse_dates=dates)
    types = {name: str(column.dtype) for name, column in schema.items() if column.dtype}
    frame = frame.astype(types)
    customer = frame["customer_id"]
    if customer.dtype != "str":
        customer = customer.astype("Int64").astype("str")
    customer = (
        customer.str.normalize("NFKC")
        .str.strip()
        .str.upper()
        .str.removeprefix("C-")
        .str.lstrip("0")
    )
    frame["customer_id"] = customer.mask(customer.isin(NO_CUSTOMER))
    if table in HAS_EMAIL:
        email = frame["email"].str.normalize("NFKC").str.strip().str.lower()
        frame["email"] = email.mask(email.isin(NO_EMAIL))
    else:
        frame["email"] = pd.Series(index=frame.index, dtype="str")
    return frame


def validate(frame: pd.DataFrame, table: str) -> tuple[pd.DataFrame, int]:
    """The frame without invalid cells and without rows that name nobody; how many cells failed."""
    invalid = 0
    try:
        pa.DataFrameSchema(SCHEMAS[table]).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        failures = errors.failure_cases
        for column, cases in failures.groupby("column"):
            frame.loc[cases["index"].astype(int), column] = None
        invalid = len(failures)
    return frame.dropna(subset=["customer_id", "email"], how="all"), invalid


def identify(tables: dict[str, pd.DataFrame]) -> tuple[pd.Series, pd.Series, pd.Series]:
    """The profile of every customer id, the one of every e-mail that isn't shared by several
    customer ids, and each profile's e-mails."""
    pairs = pd.concat([frame[["customer_id", "email"]] for frame in tables.values()])
    pairs = pairs.drop_duplicates()
    known = pairs["customer_id"].dropna().unique()
    numbers = pd.Series(np.arange(len(known)), index=known)
    bearers = pairs.dropna(subset=["email"])
    bearers = bearers.assign(
        profile_id=bearers["customer_id"].map(numbers)  # pyright: ignore[reportArgumentType]
    )
    spread = bearers.groupby("email")["profile_id"].agg(["min", "max"])
    alone = spread.index[spread["min"].isna()]
    one = spread["min"][spread["min"] == spread["max"]].astype("int64")
    new = pd.Series(len(numbers) + np.arange(len(alone)), index=alone)
    theirs = bearers.dropna(subset=["profile_id"]).drop_duplicates(["profile_id", "email"])
    addresses = pd.Series(theirs["profile_id"].astype("int64").to_numpy(), index=theirs["email"])
    return numbers, pd.concat([one, new]), pd.concat([addresses, new])


def newest(frame: pd.DataFrame, numbers: pd.Series, emails: pd.Series) -> pd.DataFrame:
    """One row per profile: of each attribute the newest value that isn't null, of consents the
    most restrictive one."""
    profile = frame["customer_id"].map(numbers)  # pyright: ignore[reportArgumentType]
    profile = profile.fillna(frame["email"].map(emails))  # pyright: ignore[reportArgumentType]
    frame = frame.assign(profile_id=profile).dropna(subset=["profile_id"])
    frame["profile_id"] = frame["profile_id"].astype("int64")
    if "preferred_channel" in frame:
        frame["channel_at"] = frame["updated_at"].where(frame["preferred_channel"].notna())
    frame = frame.drop(columns=["customer_id", "email"]).sort_values("updated_at")
    grouped = frame.groupby("profile_id")
    merged = grouped.last()
    if "email_opt_in" in frame:
        merged["email_opt_in"] = grouped["email_opt_in"].min()
    return merged


def collect(identifiers: pd.Series) -> dict[int, list[str]]:
    """The identifiers of each profile; a loop, since `groupby().agg(list)` is far slower."""
    lists: dict[int, list[str]] = {}
    for identifier, profile in zip(identifiers.index, identifiers, strict=True):
        lists.setdefault(profile, []).append(identifier)
    return lists


def merge(systems: dict[str, pd.DataFrame]) -> pd.DataFrame:
    crm, billing, ecommerce, support, warehouse = systems.values()
    index = crm.index
    for frame in (billing, ecommerce, support, warehouse):
        index = index.union(frame.index)
    crm, billing, ecommerce, support, warehouse = (
        frame.reindex(index) for frame in (crm, billing, ecommerce, support, warehouse)
    )
    by_support = crm["channel_at"].isna() | (support["channel_at"] > crm["channel_at"])
    return pd.DataFrame(
        {
            "account_status": billing["account_status"].fillna(crm["account_status"]),
            "lifecycle_status": crm["lifecycle_status"],
            "language": crm["language"].fillna(ecommerce["language"]),
            "home_market": crm["home_market"].fillna(warehouse["home_market"]),
            "email_opt_in": pd.concat([crm["email_opt_in"], billing["email_opt_in"]])
            .groupby(level=0)
            .min(),
            "preferred_channel": crm["preferred_channel"].mask(
                by_support, support["preferred_channel"]
            ),
            **{name: billing[name] for name in list(SCHEMAS["billing_subscriptions"])[:4]},
            **{name: ecommerce[name] for name in list(SCHEMAS["ecommerce_customers"])[:3]},
            "loyalty_points": warehouse["loyalty_points"].fillna(ecommerce["loyalty_points"]),
            **{
                name: support[name]
                for name in ("open_tickets", "satisfaction", "escalated", "last_contact_at")
            },
            **{name: warehouse[name] for name in list(SCHEMAS["warehouse_scores"])[:4]},
        }
    )


def audiences(profiles: pd.DataFrame, today: date) -> dict[str, Any]:
    """For each audience a mask of who is in it."""
    start = pd.Timestamp(today)
    ends, ordered = profiles["contract_end_date"], profiles["last_order_date"]
    return {
        "contract_ends_in_30_days": ends.between(start, start + pd.Timedelta(days=30))
        & (profiles["renewal_status"] != "confirmed"),
        "high_value_at_risk": profiles["value_band"].isin(["gold", "platinum"])
        & (
            (profiles["churn_risk"] >= 0.7)
            | (profiles["satisfaction"] <= 2).fillna(False)
            | (profiles["payment_status"] == "overdue")
        ),
        "email_reachable_gold": profiles["email_opt_in"].fillna(False)
        & profiles["loyalty_tier"].isin(["gold", "platinum"])
        & (profiles["account_status"] != "closed")
        & ordered.between(start - pd.Timedelta(days=365), start),
    }


def main(url: str, folder: Path, now: datetime) -> None:
    tables, invalid = {}, 0
    with sqlalchemy.create_engine(url).connect() as connection:
        for table in SCHEMAS:
            tables[table], failed = validate(read(connection, table), table)
            invalid += failed
    numbers, emails, addresses = identify(tables)
    profiles = merge({t: newest(frame, numbers, emails) for t, frame in tables.items()})
    for position, (name, keys) in enumerate({"customer_id": numbers, "email": addresses}.items()):
        profiles.insert(position, name, profiles.index.map(collect(keys)))
    (folder / "audiences").mkdir(parents=True, exist_ok=True)
    profiles = profiles.rename_axis("profile_id").reset_index()
    profiles.to_parquet(folder / "profiles.parquet", compression="zstd", index=False)
    today = now.astimezone(ZoneInfo("Europe/Berlin")).date()
    for name, condition in audiences(profiles, today).items():
        members = profiles.loc[condition, ["profile_id"]]
        members.to_parquet(folder / "audiences" / f"{name}.parquet", index=False)
    print(json.dumps({"profiles": len(profiles), "invalid cells read": invalid}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
