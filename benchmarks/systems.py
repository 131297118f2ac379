"""The five sample systems of the benchmark, as Polars frames: deterministic by size and seed.

Every timestamp is UTC. What is wrong in the data, and how often, is described in README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import polars as pl

NOW = datetime(2026, 6, 1, 12)
"""The present of the first run (UTC): no row is newer."""
TODAY = date(2026, 6, 1)

NULLS = 0.05
INVALID = 0.005
PLACEHOLDERS = 0.001
DUPLICATES = 0.005
EMAIL_NULLS = 0.03
EMAIL_ONLY = 0.002
SHARED_EMAILS = 0.0005

_FIRST = ["anna", "ben", "carla", "david", "elif", "femke", "george", "hanna", "ivo", "julia"]
_LAST = ["smith", "jansen", "mueller", "rossi", "garcia", "dubois", "novak", "silva", "berg"]
_STATUSES = ["active", "paused", "closed"]
_LANGUAGES = ["en", "de", "fr", "es", "it", "nl"]
_MARKETS = ["GB", "DE", "FR", "ES", "IT", "NL", "AT", "IE"]
_CHANNELS = ["email", "sms", "push", "phone"]
_TIERS = ["bronze", "silver", "gold", "platinum"]


@dataclass(frozen=True)
class Columns:
    """Draws the cells of one system's rows; each call advances the same random stream."""

    rng: np.random.Generator
    rows: int

    def chance(self, share: float) -> pl.Series:
        return pl.Series(self.rng.random(self.rows) < share)

    def pick(self, values: Sequence[object], weights: Sequence[float] | None = None) -> pl.Series:
        return pl.Series(values).gather(self.rng.choice(len(values), self.rows, p=weights))

    def whole(self, low: int, high: int) -> pl.Series:
        """Whole numbers from `low` up to and including `high`."""
        return pl.Series(self.rng.integers(low, high + 1, self.rows))

    def day(self, first: int, last: int) -> pl.Series:
        """Dates, as days counted from TODAY."""
        return pl.select(
            pl.lit(TODAY) + pl.duration(days=pl.lit(self.whole(first, last)))
        ).to_series()

    def cells(self, good: pl.Series, invalid: Sequence[object] = (), nulls: float = NULLS):
        """`good` with a few of its values replaced by an invalid one or by nothing."""
        cells = good
        if invalid:
            cells = _where(self.chance(INVALID), self.pick(invalid).cast(good.dtype), cells)
        return _where(self.chance(nulls), pl.Series([None], dtype=good.dtype), cells)


@dataclass(frozen=True)
class SampleSystem:
    """One table: its column types in SQL, its missing customers and how a row is drawn."""

    table: str
    missing: float
    columns: dict[str, str]
    draw: Callable[[Columns, pl.DataFrame], dict[str, pl.Series]]


def customers(count: int, seed: int) -> pl.DataFrame:
    """The customers 1…count with their e-mail addresses, a few shared by two of them."""
    rng = np.random.default_rng([seed, 99])
    number = pl.Series("number", np.arange(1, count + 1))
    email = pl.select(
        pl.format(
            "{}.{}.{}@example.com",
            pl.Series(_FIRST).gather(rng.integers(0, len(_FIRST), count)),
            pl.Series(_LAST).gather(rng.integers(0, len(_LAST), count)),
            number,
        )
    ).to_series()
    shared = pl.Series(rng.random(count) < SHARED_EMAILS) & (number % 2 == 0)
    return pl.DataFrame([number, _where(shared, email.shift(1), email).alias("email")])


def rows(system: SampleSystem, index: int, base: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The rows of a system in random order; no two rows of a customer share an `updated_at`."""
    rng = np.random.default_rng([seed, index])
    present = np.flatnonzero(rng.random(base.height) >= system.missing)
    twice = present[rng.random(present.size) < DUPLICATES]
    order = rng.permutation(np.concatenate([present, twice]))
    year = 365 * 86_400 * 1_000_000
    # Microseconds are congruent to the system's number modulo 5: no ties between systems.
    age = rng.integers(1, year // 5, order.size) * 5 + index
    drawn = system.draw(Columns(rng, order.size), base[order])
    updated_at = pl.lit(NOW) - pl.duration(microseconds=pl.lit(pl.Series(age)), time_unit="us")
    return pl.DataFrame({"row_id": np.arange(1, order.size + 1), **drawn}).with_columns(
        updated_at=updated_at.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )[list(system.columns)]


def _where(mask: pl.Series, replacement: pl.Series, otherwise: pl.Series) -> pl.Series:
    return pl.select(pl.when(mask).then(replacement).otherwise(otherwise)).to_series()


def _padded(base: pl.DataFrame) -> pl.Series:
    return base["number"].cast(pl.String).str.zfill(6)


def _customer_no(draw: Columns, spelled: pl.Series) -> pl.Series:
    placeholders = ["N/A", "n/a", "unknown", " - ", "", None]
    return _where(draw.chance(PLACEHOLDERS), draw.pick(placeholders), spelled)


def _email(draw: Columns, base: pl.DataFrame) -> pl.Series:
    email = _where(draw.chance(0.1), base["email"].str.to_titlecase(), base["email"])
    email = _where(draw.chance(0.02), email + " ", email)
    placeholders = ["null@null.com", "N/A", "NULL@null.com "]
    email = _where(draw.chance(PLACEHOLDERS), draw.pick(placeholders), email)
    return draw.cells(email, nulls=EMAIL_NULLS)


def _crm(draw: Columns, base: pl.DataFrame) -> dict[str, pl.Series]:
    return {
        "customer_no": _customer_no(draw, "C-" + _padded(base)),
        "email": _email(draw, base),
        "account_status": draw.cells(draw.pick(_STATUSES, [0.8, 0.1, 0.1]), ["actve", "TEST"]),
        "lifecycle_status": draw.cells(
            draw.pick(["prospect", "active", "churned"], [0.1, 0.75, 0.15]), ["??", "lead"]
        ),
        "language": draw.cells(draw.pick(_LANGUAGES), ["xx", "english"]),
        "home_market": draw.cells(draw.pick(_MARKETS), ["ZZ", "Germany"]),
        "email_opt_in": draw.cells(draw.pick([True, False], [0.7, 0.3])),
        "preferred_channel": draw.cells(draw.pick(_CHANNELS), ["fax"]),
    }


def _billing(draw: Columns, base: pl.DataFrame) -> dict[str, pl.Series]:
    own = base.select(pl.format("accounts.payable.{}@firm.example", "number")).to_series()
    billed = base.with_columns(email=_where(draw.chance(0.03), own, base["email"]))
    return {
        "customer_no": _customer_no(draw, base["number"].cast(pl.String)),
        "email": _email(draw, billed),
        "package": draw.cells(draw.pick(["basic", "plus", "family", "pro"]), ["PKG-TEST"]),
        "contract_end_date": draw.cells(
            draw.day(-60, 700), [date(1899, 12, 30), date(2999, 12, 31)]
        ),
        "renewal_status": draw.cells(
            draw.pick(["open", "offered", "confirmed", "declined"], [0.5, 0.2, 0.2, 0.1]),
            ["conf", "n.a."],
        ),
        "payment_status": draw.cells(
            draw.pick(["paid", "due", "overdue"], [0.85, 0.1, 0.05]), ["1"]
        ),
        "account_status": draw.cells(draw.pick(_STATUSES, [0.85, 0.1, 0.05]), ["cancelling"]),
        "email_opt_in": draw.cells(draw.pick([True, False], [0.85, 0.15]), nulls=0.2),
    }


def _ecommerce(draw: Columns, base: pl.DataFrame) -> dict[str, pl.Series]:
    plain = _where(draw.chance(0.5), " c-" + _padded(base) + " ", "c-" + _padded(base))
    wide = plain.str.strip_chars().str.replace_many(
        [*"0123456789c-"], [*"０１２３４５６７８９ｃ－"]
    )
    return {
        "customer_ref": _customer_no(draw, _where(draw.chance(0.0005), wide, plain)),
        "last_order_date": draw.cells(draw.day(-900, 0), [date(1970, 1, 1)]),
        "orders_count": draw.cells(draw.whole(0, 80), [-1]),
        "favourite_category": draw.cells(
            draw.pick(["sport", "home", "music", "books", "games"]), ["misc/old"]
        ),
        "loyalty_points": draw.cells(draw.whole(0, 50_000), [-500]),
        "language": draw.cells(draw.pick(_LANGUAGES), ["EN-US"], nulls=0.2),
    }


def _support(draw: Columns, base: pl.DataFrame) -> dict[str, pl.Series]:
    nobody = pl.Series([None], dtype=pl.String)
    padded = _padded(base)
    number = _customer_no(draw, _where(draw.chance(0.5), "C-" + padded, padded))
    email_only = draw.chance(EMAIL_ONLY)
    seconds = pl.duration(seconds=pl.lit(draw.whole(60, 3 * 365 * 86_400)), time_unit="us")
    contact = pl.select((pl.lit(NOW) - seconds).cast(pl.Datetime("us", "UTC"))).to_series()
    return {
        "customer_no": _where(email_only, nobody, number),
        "email": _where(email_only, base["email"], _email(draw, base)),
        "open_tickets": draw.cells(
            draw.pick([0, 1, 2, 3, 7], [0.7, 0.15, 0.1, 0.04, 0.01]), [-1, 99_999]
        ),
        "satisfaction": draw.cells(draw.whole(1, 5), [0, 11], nulls=0.4),
        "escalated": draw.cells(draw.pick([True, False], [0.05, 0.95])),
        "preferred_channel": draw.cells(draw.pick(_CHANNELS), ["pigeon"], nulls=0.3),
        "last_contact_at": draw.cells(contact, [datetime(1970, 1, 1)]),
    }


def _warehouse(draw: Columns, base: pl.DataFrame) -> dict[str, pl.Series]:
    value = (draw.whole(0, 2_000_000) / 100).cast(pl.Decimal(12, 2))
    return {
        "customer_no": _where(draw.chance(PLACEHOLDERS), draw.pick([-1, None]), base["number"]),
        "value_band": draw.cells(draw.pick(_TIERS, [0.4, 0.3, 0.2, 0.1]), ["tin"]),
        "churn_risk": draw.cells(draw.whole(0, 10_000) / 10_000, [1.5, -0.2]),
        "lifetime_value": draw.cells(value, [-1]),
        "loyalty_tier": draw.cells(draw.pick(_TIERS, [0.4, 0.3, 0.2, 0.1]), ["GOLD*"]),
        "loyalty_points": draw.cells(draw.whole(0, 50_000), [-1]),
        "home_market": draw.cells(draw.pick(_MARKETS), ["EU"]),
    }


SYSTEMS = (
    SampleSystem(
        "crm_contacts",
        0.02,
        {
            "row_id": "bigint",
            "customer_no": "text",
            "email": "text",
            "account_status": "text",
            "lifecycle_status": "text",
            "language": "text",
            "home_market": "text",
            "email_opt_in": "boolean",
            "preferred_channel": "text",
            "updated_at": "timestamptz",
        },
        _crm,
    ),
    SampleSystem(
        "billing_subscriptions",
        0.04,
        {
            "row_id": "bigint",
            "customer_no": "text",
            "email": "text",
            "package": "text",
            "contract_end_date": "date",
            "renewal_status": "text",
            "payment_status": "text",
            "account_status": "text",
            "email_opt_in": "boolean",
            "updated_at": "timestamptz",
        },
        _billing,
    ),
    SampleSystem(
        "ecommerce_customers",
        0.10,
        {
            "row_id": "bigint",
            "customer_ref": "text",
            "last_order_date": "date",
            "orders_count": "bigint",
            "favourite_category": "text",
            "loyalty_points": "bigint",
            "language": "text",
            "updated_at": "timestamptz",
        },
        _ecommerce,
    ),
    SampleSystem(
        "support_users",
        0.08,
        {
            "row_id": "bigint",
            "customer_no": "text",
            "email": "text",
            "open_tickets": "bigint",
            "satisfaction": "bigint",
            "escalated": "boolean",
            "preferred_channel": "text",
            "last_contact_at": "timestamptz",
            "updated_at": "timestamptz",
        },
        _support,
    ),
    SampleSystem(
        "warehouse_scores",
        0.03,
        {
            "row_id": "bigint",
            "customer_no": "bigint",
            "value_band": "text",
            "churn_risk": "double precision",
            "lifetime_value": "numeric(12,2)",
            "loyalty_tier": "text",
            "loyalty_points": "bigint",
            "home_market": "text",
            "updated_at": "timestamptz",
        },
        _warehouse,
    ),
)
