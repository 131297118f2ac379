"""The customers of the demo as they truly are, before any system spells them its own way."""

from __future__ import annotations

import json
from datetime import date, datetime

import numpy as np
import polars as pl

MARKETS = {"DE": 0.46, "AT": 0.12, "CH": 0.1, "NL": 0.1, "FR": 0.1, "GB": 0.07, "PL": 0.05}
LANGUAGES = {"DE": "de", "AT": "de", "CH": "fr", "NL": "nl", "FR": "fr", "GB": "en", "PL": "pl"}
PACKAGES = {"basic": 0.4, "plus": 0.3, "premium": 0.2, "family": 0.1}
PRICES = {"basic": 990, "plus": 1490, "premium": 2490, "family": 2990}
"""Monthly prices in euro cents."""
RENEWALS = {"open": 0.4, "reminded": 0.2, "confirmed": 0.33, "declined": 0.07}
INVOICES = {"paid": 0.92, "open": 0.06, "uncollectible": 0.02}
BANDS = ("bronze", "silver", "gold", "platinum")
TIERS = ("blue", "silver", "gold", "platinum")
CHANNELS = ("email", "sms", "phone", "post")
PRODUCTS = ("router", "tv_box", "phone", "tablet", "headset", "camera", "speaker", "watch")

_FIRST = (
    *("Anna", "Ben", "Clara", "David", "Elif", "Felix", "Greta", "Hanna", "Ivan", "Jana"),
    *("Karim", "Lena", "Marek", "Nora", "Oskar", "Paula", "Rosa", "Samir", "Tina", "Vera"),
)
_LAST = (
    *("Weber", "Mueller", "Schmidt", "Novak", "Jansen", "Dubois", "Martin", "Kowalski", "Smith"),
    *("Yilmaz", "Fischer", "Huber", "Gruber", "Keller", "Meier", "Bakker", "Petit", "Lang"),
)
_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com")


def people(numbers: np.ndarray, now: datetime, rng: np.random.Generator) -> pl.DataFrame:
    """One row of true facts for each customer number, and which systems know the customer.

    Contract ends are calendar dates around the day of `now` (UTC).
    """
    n = len(numbers)
    today = now.date()
    lifecycle = _pick(rng, n, {"active": 0.72, "churned": 0.16, "prospect": 0.12})
    buyer, active = lifecycle != "prospect", lifecycle == "active"
    first, last = rng.choice(_FIRST, n), rng.choice(_LAST, n)
    market = _pick(rng, n, MARKETS)
    worth = rng.beta(1.4, 3.2, n)
    band = np.digitize(worth, [0.22, 0.42, 0.62])
    tier = np.clip(band + rng.integers(-1, 2, n), 0, 3)
    frame = pl.DataFrame(
        {
            "number": numbers.astype(np.int64),
            "first_name": first,
            "last_name": last,
            "domain": rng.choice(_DOMAINS, n),
            "phone_digits": rng.integers(10_000_000, 99_999_999, n),
            "market": market,
            "language": np.where(rng.random(n) < 0.9, _translate(market, LANGUAGES), "en"),
            "lifecycle": lifecycle,
            "account_status": np.where(
                active, _pick(rng, n, {"active": 0.96, "suspended": 0.04}), "closed"
            ),
            "package": _pick(rng, n, PACKAGES),
            "contract_end": _contract_ends(rng, n, active, today),
            "renewal_status": np.where(active, _pick(rng, n, RENEWALS), "declined"),
            "invoice_status": _pick(rng, n, INVOICES),
            "value_band": np.array(BANDS)[band],
            "lifetime_value": np.round(worth * 4200 + 20, 2),
            "churn_risk": np.round(rng.beta(1.6, 4.5, n), 4),
            "tier": np.array(TIERS)[tier],
            "points": (tier * 1500 + rng.integers(0, 1500, n)).astype(np.int64),
            "email_opt_in": rng.random(n) < 0.68,
            "sms_opt_in": rng.random(n) < 0.35,
            "phone_opt_in": rng.random(n) < 0.22,
            "channel_preferences": _subsets(rng, n, CHANNELS, 0.45),
            "products": _subsets(rng, n, PRODUCTS, 0.2),
            "orders_count": np.where(buyer, rng.poisson(4, n) + 1, 0),
            "last_order": _days(today, -(rng.random(n) ** 2 * 700).astype(int) - 1),
            "open_tickets": np.where(rng.random(n) < 0.18, rng.integers(1, 5, n), 0),
            "satisfaction": np.round(np.clip(rng.normal(3.9, 0.8, n), 1, 5), 1),
            "in_crm": rng.random(n) < 0.97,
            "in_billing": buyer & (rng.random(n) < 0.98),
            "in_shop": rng.random(n) < 0.75,
            "in_support": rng.random(n) < 0.6,
            "in_value": buyer & (rng.random(n) < 0.95),
            "in_loyalty": buyer & (rng.random(n) < 0.8),
        }
    )
    known = pl.any_horizontal("in_billing", "in_shop", "in_support", "in_value", "in_loyalty")
    return frame.with_columns(
        email=pl.format(
            "{}.{}{}@{}",
            pl.col("first_name").str.to_lowercase(),
            pl.col("last_name").str.to_lowercase(),
            "number",
            "domain",
        ),
        escalated=(pl.col("open_tickets") >= 2) & pl.Series(rng.random(n) < 0.4),
        in_crm=pl.col("in_crm") | ~known,
    ).drop("domain")


def _contract_ends(rng: np.random.Generator, n: int, active: np.ndarray, today: date) -> np.ndarray:
    """Active contracts end from a month ago to a year ahead, a fifth of them soon."""
    ahead = np.where(rng.random(n) < 0.8, rng.integers(-30, 366, n), rng.integers(0, 41, n))
    return _days(today, np.where(active, ahead, rng.integers(-400, 0, n)))


def _pick(rng: np.random.Generator, n: int, weights: dict[str, float]) -> np.ndarray:
    return rng.choice(np.array(list(weights)), n, p=list(weights.values()))


def _translate(values: np.ndarray, words: dict[str, str]) -> np.ndarray:
    keys = np.array(sorted(words))
    return np.array([words[key] for key in keys])[np.searchsorted(keys, values)]


def _subsets(rng: np.random.Generator, n: int, words: tuple[str, ...], chance: float) -> np.ndarray:
    """A JSON array of some of the words for each customer."""
    texts = [
        json.dumps([word for bit, word in enumerate(words) if mask >> bit & 1])
        for mask in range(2 ** len(words))
    ]
    masks = ((rng.random((n, len(words))) < chance) << np.arange(len(words))).sum(axis=1)
    return np.array(texts)[masks]


def _days(today: date, offsets: np.ndarray) -> np.ndarray:
    return np.datetime64(today, "D") + offsets.astype("timedelta64[D]")
