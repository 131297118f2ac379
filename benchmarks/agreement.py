"""Whether two sides of the benchmark agree on every profile cell and every audience member.

Each side's folder holds `profiles.parquet` (profile_id, customer_id list, email list, then the
attributes) and `audiences/NAME.parquet` (profile_id). Profiles are matched by their sets of
identifiers, since each side numbers them as it likes.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

TEXT, WHOLE, DECIMAL = pl.String(), pl.Int64(), pl.Decimal(18, 4)
ATTRIBUTES: dict[str, pl.DataType] = {
    "account_status": TEXT,
    "lifecycle_status": TEXT,
    "language": TEXT,
    "home_market": TEXT,
    "email_opt_in": pl.Boolean(),
    "preferred_channel": TEXT,
    "package": TEXT,
    "contract_end_date": pl.Date(),
    "renewal_status": TEXT,
    "payment_status": TEXT,
    "last_order_date": pl.Date(),
    "orders_count": WHOLE,
    "favourite_category": TEXT,
    "loyalty_points": WHOLE,
    "open_tickets": WHOLE,
    "satisfaction": WHOLE,
    "escalated": pl.Boolean(),
    "last_contact_at": pl.Datetime("us", "UTC"),
    "value_band": TEXT,
    "churn_risk": DECIMAL,
    "lifetime_value": DECIMAL,
    "loyalty_tier": TEXT,
}
AUDIENCES = ("contract_ends_in_30_days", "high_value_at_risk", "email_reachable_gold")


class Result:
    """What one side has computed, in the form in which sides are compared."""

    def __init__(self, folder: Path) -> None:
        profiles = pl.read_parquet(folder / "profiles.parquet")
        key = pl.concat_str(_joined(pl.col("customer_id")), pl.lit(" / "), _joined(pl.col("email")))
        profiles = profiles.select(
            "profile_id",
            key.alias("key"),
            *(pl.col(name).cast(kind) for name, kind in ATTRIBUTES.items()),
        )
        keys = profiles.select("profile_id", "key")
        self.profiles = profiles.drop("profile_id")
        self.members = {
            name: pl.read_parquet(folder / "audiences" / f"{name}.parquet").join(
                keys, on="profile_id", how="left"
            )["key"]
            for name in AUDIENCES
        }


def differences(one: Result, other: Result) -> list[str]:
    """What the two disagree on, one line for each kind; empty when they agree."""
    found: list[str] = []
    for name, result in (("one", one), ("other", other)):
        if result.profiles["key"].is_duplicated().any():
            found.append(f"the {name} side has several profiles with the same identifiers")
    for name, here, there in (("one", one, other), ("other", other, one)):
        alone = here.profiles.join(there.profiles, on="key", how="anti")["key"]
        found += _line(f"profiles only on the {name} side", alone)
    both = one.profiles.join(other.profiles, on="key", suffix="_other")
    for name in ATTRIBUTES:
        differ = pl.col(name).ne_missing(pl.col(f"{name}_other"))
        found += _line(f"profiles differ in {name}", both.filter(differ)["key"])
    for name in AUDIENCES:
        here, there = one.members[name].unique(), other.members[name].unique()
        if here.len() != one.members[name].len() or there.len() != other.members[name].len():
            found.append(f"audience {name} holds a member twice")
        found += _line(f"members of {name} only on the one side", _minus(here, there))
        found += _line(f"members of {name} only on the other side", _minus(there, here))
    return found


def _joined(identifiers: pl.Expr) -> pl.Expr:
    return identifiers.fill_null([]).list.sort().list.join(",")


def _minus(here: pl.Series, there: pl.Series) -> pl.Series:
    return here.to_frame("key").join(there.to_frame("key"), on="key", how="anti")["key"]


def _line(what: str, keys: pl.Series) -> list[str]:
    examples = "; ".join(str(key) for key in keys.sort().head(3))
    return [f"{keys.len():,} {what}, such as {examples}"] if keys.len() else []
