"""A hand-written Polars script: ADBC reads, expressions validate, joins merge.

    python peer_polars.py URL FOLDER NOW [--landed]

No receipts, no history, no quarantine, no state: every run reads and computes everything. With
`--landed` it keeps its valid rows as Parquet, so that the next run reads and validates only rows
that changed; what comes after is still computed from all rows.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs

LONG_AGO, FAR_AHEAD = date(2000, 1, 1), date(2100, 1, 1)
NO_CUSTOMER = ["", "-", "-1", "N/A", "UNKNOWN"]
NO_EMAIL = ["", "null@null.com", "n/a"]
STATUSES = ["active", "paused", "closed"]
LANGUAGES = ["en", "de", "fr", "es", "it", "nl"]
MARKETS = ["GB", "DE", "FR", "ES", "IT", "NL", "AT", "IE"]
CHANNELS = ["email", "sms", "push", "phone"]
TIERS = ["bronze", "silver", "gold", "platinum"]

# table: (customer number's column, has e-mail, {attribute: valid values, or least and greatest})
TABLES = {
    "crm_contacts": (
        "customer_no",
        True,
        {
            "account_status": STATUSES,
            "lifecycle_status": ["prospect", "active", "churned"],
            "language": LANGUAGES,
            "home_market": MARKETS,
            "email_opt_in": None,
            "preferred_channel": CHANNELS,
        },
    ),
    "billing_subscriptions": (
        "customer_no",
        True,
        {
            "package": ["basic", "plus", "family", "pro"],
            "contract_end_date": (LONG_AGO, FAR_AHEAD),
            "renewal_status": ["open", "offered", "confirmed", "declined"],
            "payment_status": ["paid", "due", "overdue"],
            "account_status": STATUSES,
            "email_opt_in": None,
        },
    ),
    "ecommerce_customers": (
        "customer_ref",
        False,
        {
            "last_order_date": (LONG_AGO, FAR_AHEAD),
            "orders_count": (0, 10_000),
            "favourite_category": ["sport", "home", "music", "books", "games"],
            "loyalty_points": (0, 10_000_000),
            "language": LANGUAGES,
        },
    ),
    "support_users": (
        "customer_no",
        True,
        {
            "open_tickets": (0, 500),
            "satisfaction": (1, 5),
            "escalated": None,
            "preferred_channel": CHANNELS,
            "last_contact_at": (
                datetime(2000, 1, 1, tzinfo=UTC),
                datetime(2100, 1, 1, tzinfo=UTC),
            ),
        },
    ),
    "warehouse_scores": (
        "customer_no",
        False,
        {
            "value_band": TIERS,
            "churn_risk": (0, 1),
            "lifetime_value": (0, 1_000_000),
            "loyalty_tier": TIERS,
            "loyalty_points": (0, 10_000_000),
            "home_market": MARKETS,
        },
    ),
}
DECIMALS = ["churn_risk", "lifetime_value"]


def read(url: str, table: str, since: datetime | None = None) -> tuple[pl.DataFrame, int]:
    """The table's valid rows with normalised identifiers, and the number of invalid cells."""
    number, has_email, attributes = TABLES[table]
    columns = ["row_id", number, *(["email"] if has_email else []), *attributes, "updated_at"]
    columns = [f"{name}::double precision" if name in DECIMALS else name for name in columns]
    query = f"select {', '.join(columns)} from {table}"
    if since:
        query += f" where updated_at > '{since}'"
    frame = pl.read_database_uri(query, url.replace("+psycopg2", ""), engine="adbc")
    customer = (
        pl.col(number)
        .cast(pl.String)
        .map_batches(nfkc)
        .str.strip_chars()
        .str.to_uppercase()
        .str.strip_prefix("C-")
        .str.strip_chars_start("0")
    )
    email = (
        pl.col("email").map_batches(nfkc).str.strip_chars().str.to_lowercase()
        if has_email
        else pl.lit(None, pl.String)
    )
    typed = frame.with_columns(
        pl.col(name).cast(pl.Decimal(18, 4)) for name in DECIMALS if name in attributes
    )
    failed = [
        (pl.col(name).is_not_null() & ~valid(name, rule)).sum()
        for name, rule in attributes.items()
        if rule
    ]
    invalid = typed.select(pl.sum_horizontal(failed)).item()
    rows = typed.select(
        "row_id",
        pl.when(~customer.is_in(NO_CUSTOMER)).then(customer).alias("customer_id"),
        pl.when(~email.is_in(NO_EMAIL)).then(email).alias("email"),
        *(
            pl.when(valid(name, rule)).then(pl.col(name)).alias(name) if rule else pl.col(name)
            for name, rule in attributes.items()
        ),
        "updated_at",
    )
    return rows.filter(pl.any_horizontal(pl.col("customer_id", "email").is_not_null())), invalid


def read_changed(url: str, table: str, landed: Path) -> tuple[pl.DataFrame, int]:
    """The same, from the rows of the last run and those that changed since."""
    if not landed.exists():
        rows, invalid = read(url, table)
        rows.write_parquet(landed, compression="zstd")
        return rows, invalid
    before = pl.read_parquet(landed)
    last = before.select(pl.col("updated_at").max()).item()
    changed, invalid = read(url, table, last)
    if changed.is_empty():
        return before, invalid
    rows = pl.concat([before.join(changed, on="row_id", how="anti"), changed])
    rows.write_parquet(landed, compression="zstd")
    return rows, invalid


def nfkc(text: pl.Series) -> pl.Series:
    """Unicode's NFKC; ASCII, which nearly all of it is, is in that form already."""
    return (
        text.str.normalize("NFKC") if (text.str.len_bytes() > text.str.len_chars()).any() else text
    )


def valid(name: str, rule: list[str] | tuple) -> pl.Expr:
    return pl.col(name).is_between(*rule) if isinstance(rule, tuple) else pl.col(name).is_in(rule)


def identify(
    tables: dict[str, pl.DataFrame],
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The profile of every customer id, the one of every e-mail (null: shared by several customer
    ids), and all e-mails of each profile."""
    pairs = pl.concat([frame.select("customer_id", "email") for frame in tables.values()]).unique()
    numbers = pairs.select("customer_id").drop_nulls().unique().with_row_index("profile_id")
    numbers = numbers.with_columns(pl.col("profile_id").cast(pl.Int64))
    bearers = pairs.drop_nulls("email").join(numbers, on="customer_id", how="left")
    spread = bearers.group_by("email").agg(
        profile_id=pl.col("profile_id").min(), last=pl.col("profile_id").max()
    )
    alone = spread.filter(pl.col("last").is_null()).with_columns(
        profile_id=numbers.height + pl.int_range(pl.len(), dtype=pl.Int64)
    )
    one = spread.filter(pl.col("profile_id") == pl.col("last"))
    emails = pl.concat([one, alone]).select("profile_id", "email")
    theirs = bearers.select("profile_id", "email").drop_nulls().unique()
    return numbers, emails, pl.concat([theirs, alone.select("profile_id", "email")])


def newest(frame: pl.DataFrame, numbers: pl.DataFrame, emails: pl.DataFrame) -> pl.DataFrame:
    """One row per profile: of each attribute the newest value that isn't null, of consents the
    most restrictive one."""
    frame = (
        frame.join(numbers, on="customer_id", how="left")
        .join(emails, on="email", how="left", suffix="_email")
        .with_columns(pl.coalesce("profile_id", "profile_id_email"))
        .drop("row_id", "customer_id", "email", "profile_id_email")
        .drop_nulls("profile_id")
    )
    if "preferred_channel" in frame.columns:
        has_one = pl.col("preferred_channel").is_not_null()
        frame = frame.with_columns(channel_at=pl.when(has_one).then("updated_at"))
    several = frame.select(pl.col("profile_id").is_duplicated()).to_series()
    merged = (
        frame.filter(several)
        .sort("updated_at")
        .group_by("profile_id")
        .agg(
            pl.all().exclude("email_opt_in").drop_nulls().last(),
            cs.by_name("email_opt_in", require_all=False).min(),
        )
    )
    return pl.concat([frame.filter(~several), merged.select(frame.columns)]).drop("updated_at")


def merge(systems: dict[str, pl.DataFrame], profiles: pl.DataFrame) -> pl.DataFrame:
    crm, billing, ecommerce, support, warehouse = systems.values()
    for frame, suffix in (
        (crm, "_crm"),
        (billing, "_billing"),
        (ecommerce, "_ecommerce"),
        (support, "_support"),
        (warehouse, "_warehouse"),
    ):
        renamed = frame.rename(lambda name, s=suffix: name if name == "profile_id" else name + s)
        profiles = profiles.join(renamed, on="profile_id", how="left")
    by_support = pl.col("channel_at_crm").is_null() | (
        pl.col("channel_at_support") > pl.col("channel_at_crm")
    )
    return profiles.select(
        "profile_id",
        "customer_id",
        "email",
        account_status=pl.coalesce("account_status_billing", "account_status_crm"),
        lifecycle_status="lifecycle_status_crm",
        language=pl.coalesce("language_crm", "language_ecommerce"),
        home_market=pl.coalesce("home_market_crm", "home_market_warehouse"),
        email_opt_in=pl.min_horizontal("email_opt_in_crm", "email_opt_in_billing"),
        preferred_channel=pl.when(by_support)
        .then("preferred_channel_support")
        .otherwise("preferred_channel_crm"),
        package="package_billing",
        contract_end_date="contract_end_date_billing",
        renewal_status="renewal_status_billing",
        payment_status="payment_status_billing",
        last_order_date="last_order_date_ecommerce",
        orders_count="orders_count_ecommerce",
        favourite_category="favourite_category_ecommerce",
        loyalty_points=pl.coalesce("loyalty_points_warehouse", "loyalty_points_ecommerce"),
        open_tickets="open_tickets_support",
        satisfaction="satisfaction_support",
        escalated="escalated_support",
        last_contact_at="last_contact_at_support",
        value_band="value_band_warehouse",
        churn_risk="churn_risk_warehouse",
        lifetime_value="lifetime_value_warehouse",
        loyalty_tier="loyalty_tier_warehouse",
    )


def audiences(today: date) -> dict[str, pl.Expr]:
    ends, ordered = pl.col("contract_end_date"), pl.col("last_order_date")
    return {
        "contract_ends_in_30_days": ends.is_between(today, today + timedelta(days=30))
        & pl.col("renewal_status").ne_missing("confirmed"),
        "high_value_at_risk": pl.col("value_band").is_in(["gold", "platinum"])
        & (
            (pl.col("churn_risk") >= 0.7)
            | (pl.col("satisfaction") <= 2)
            | (pl.col("payment_status") == "overdue")
        ),
        "email_reachable_gold": pl.col("email_opt_in")
        & pl.col("loyalty_tier").is_in(["gold", "platinum"])
        & pl.col("account_status").ne_missing("closed")
        & ordered.is_between(today - timedelta(days=365), today),
    }


def main(url: str, folder: Path, now: datetime, *, landed: bool) -> None:
    (folder / "audiences").mkdir(parents=True, exist_ok=True)
    tables, invalid = {}, 0
    for table in TABLES:
        tables[table], failed = (
            read_changed(url, table, folder / f"{table}.parquet") if landed else read(url, table)
        )
        invalid += failed
    numbers, emails, addresses = identify(tables)
    systems = {table: newest(frame, numbers, emails) for table, frame in tables.items()}
    keys = (
        numbers.group_by("profile_id")
        .agg("customer_id")
        .join(
            addresses.group_by("profile_id").agg("email"),
            on="profile_id",
            how="full",
            coalesce=True,
        )
    )
    profiles = merge(systems, keys)
    profiles.write_parquet(folder / "profiles.parquet", compression="zstd")
    for name, condition in audiences(now.astimezone(ZoneInfo("Europe/Berlin")).date()).items():
        members = profiles.filter(condition).select("profile_id")
        members.write_parquet(folder / "audiences" / f"{name}.parquet")
    print(json.dumps({"profiles": profiles.height, "invalid cells read": invalid}))


if __name__ == "__main__":
    main(
        sys.argv[1],
        Path(sys.argv[2]),
        datetime.fromisoformat(sys.argv[3]),
        landed="--landed" in sys.argv,
    )
