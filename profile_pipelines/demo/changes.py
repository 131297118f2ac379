"""Believable changes in the sample systems, for the next run to pick up."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import sqlalchemy as sa

from profile_pipelines.demo import billing, crm, shop, support, warehouse
from profile_pipelines.demo.population import PRICES, people
from profile_pipelines.demo.store import connect, insert, set_setting, setting
from profile_pipelines.demo.systems import crm_engine

_AT_ONCE = timedelta(0)


def change(
    folder: Path,
    now: datetime,
    share: float = 0.01,
    seed: int | None = None,
    crm_url: str | None = None,
) -> dict[str, int]:
    """Change about `share` of the customers in each way, all at `now` (aware); count each kind.

    Running servers show the changes at once. The same seed makes the same changes in equal
    systems. Raises NotFound when the folder holds no sample systems.
    """
    rng = np.random.default_rng(seed)
    root = folder / warehouse.WAREHOUSE
    with contextlib.closing(connect(folder)) as store, crm_engine(folder, crm_url) as engine:
        n = max(1, round(share * int(setting(store, "customers"))))
        with store, engine.begin() as connection:
            store.execute("BEGIN IMMEDIATE")
            deleted = _delete(store, connection, now, _few(n, 4), rng)
            counts = {
                "renewals_confirmed": _confirm(store, now, n, rng),
                "packages_changed": _upgrade(store, now, _few(n, 4), rng),
                "tickets_opened": _open_tickets(store, now, _few(n, 2), rng),
                "consents_withdrawn": _withdraw(connection, now, _few(n, 2), rng),
            }
            first = int(setting(store, "next_number"))
            newcomers = people(np.arange(first, first + _few(n, 2)), now, rng)
            _add(store, connection, newcomers, now, rng)
            set_setting(store, "next_number", str(first + newcomers.height))
    warehouse.remove(root, deleted)
    warehouse.add_scores(
        root, f"part-new-{first}", warehouse.score_rows(newcomers, now, _AT_ONCE, rng)
    )
    warehouse.add_members(root, warehouse.loyalty_rows(newcomers, now, _AT_ONCE, rng))
    return counts | {"customers_added": newcomers.height, "customers_deleted": len(deleted)}


def open_renewals(folder: Path, now: datetime) -> list[tuple[str, str]]:
    """(subscription, customer number) in billing whose contract ends 8 to 29 days after `now`."""
    today = now.date()
    with contextlib.closing(connect(folder)) as store:
        rows = store.execute(
            "SELECT id, customer_no FROM billing_subscriptions"
            " WHERE renewal_status IN ('open', 'reminded') AND status = 'active'"
            " AND customer_no IS NOT NULL AND contract_end_date BETWEEN ? AND ? ORDER BY id",
            [(today + timedelta(days=days)).isoformat() for days in (8, 29)],
        ).fetchall()
    return [(row[0], row[1]) for row in rows]


def confirm_renewal(folder: Path, subscription: str, now: datetime) -> None:
    """The customer of a subscription confirms in billing that they stay, at `now` (aware)."""
    with contextlib.closing(connect(folder)) as store, store:
        store.execute(
            "UPDATE billing_subscriptions SET renewal_status = 'confirmed', updated = ?"
            " WHERE id = ?",
            (int(now.timestamp()), subscription),
        )


def _few(n: int, part: int) -> int:
    return max(1, n // part)


def _pick(rows: list[sqlite3.Row], n: int, rng: np.random.Generator) -> list:
    """Up to n of the rows' first values."""
    return [rows[index][0] for index in rng.permutation(len(rows))[:n]]


def _confirm(store: sqlite3.Connection, now: datetime, n: int, rng: np.random.Generator) -> int:
    """Customers whose contract ends within two months confirm that they stay."""
    today = now.date()
    found = store.execute(
        "SELECT id FROM billing_subscriptions WHERE renewal_status IN ('open', 'reminded')"
        " AND status != 'canceled' AND contract_end_date BETWEEN ? AND ? ORDER BY id",
        (today.isoformat(), (today + timedelta(days=60)).isoformat()),
    ).fetchall()
    chosen = _pick(found, n, rng)
    store.executemany(
        "UPDATE billing_subscriptions SET renewal_status = 'confirmed', updated = ? WHERE id = ?",
        [(int(now.timestamp()), identity) for identity in chosen],
    )
    return len(chosen)


def _upgrade(store: sqlite3.Connection, now: datetime, n: int, rng: np.random.Generator) -> int:
    found = store.execute(
        "SELECT id FROM billing_subscriptions"
        " WHERE package IN ('basic', 'plus') AND status = 'active' ORDER BY id"
    ).fetchall()
    chosen = _pick(found, n, rng)
    store.executemany(
        "UPDATE billing_subscriptions SET package = 'premium', price = ?, updated = ? WHERE id = ?",
        [(PRICES["premium"], int(now.timestamp()), identity) for identity in chosen],
    )
    return len(chosen)


def _open_tickets(
    store: sqlite3.Connection, now: datetime, n: int, rng: np.random.Generator
) -> int:
    """New tickets, every fourth of them escalated."""
    found = store.execute(
        "SELECT id FROM support_users WHERE deleted = 0 AND open_tickets BETWEEN 0 AND 50"
        " ORDER BY id"
    ).fetchall()
    chosen = _pick(found, n, rng)
    store.executemany(
        "UPDATE support_users SET open_tickets = open_tickets + 1,"
        " escalated = max(escalated, ?), updated = ? WHERE id = ?",
        [(index % 4 == 0, int(now.timestamp()), identity) for index, identity in enumerate(chosen)],
    )
    return len(chosen)


def _withdraw(connection: sa.Connection, now: datetime, n: int, rng: np.random.Generator) -> int:
    """Customers withdraw their consent to e-mail and text messages."""
    contacts = crm.contacts
    found = connection.scalars(
        sa.select(contacts.c.contact_id)
        .where(contacts.c.email_opt_in, ~contacts.c.is_deleted, contacts.c.modified_at <= now)
        .order_by(contacts.c.contact_id)
    ).all()
    chosen = [found[index] for index in rng.permutation(len(found))[:n]]
    _update_contacts(connection, chosen, email_opt_in=False, sms_opt_in=False, modified_at=now)
    return len(chosen)


def _update_contacts(connection: sa.Connection, ids: list[int], **values: object) -> None:
    statement = crm.contacts.update().where(crm.contacts.c.contact_id == sa.bindparam("id_"))
    if ids:
        connection.execute(statement.values(**values), [{"id_": value} for value in ids])


def _add(
    store: sqlite3.Connection,
    connection: sa.Connection,
    newcomers: pl.DataFrame,
    now: datetime,
    rng: np.random.Generator,
) -> None:
    customers = billing.customer_rows(newcomers, now, _AT_ONCE, rng)
    subscriptions = billing.subscription_rows(newcomers, now, _AT_ONCE, rng)
    insert(store, "billing_customers", customers)
    insert(store, "billing_subscriptions", subscriptions)
    insert(store, "shop_customers", shop.rows(newcomers, now, _AT_ONCE, rng))
    insert(store, "support_users", support.rows(newcomers, now, _AT_ONCE, rng))
    crm.insert(connection, crm.accounts, crm.account_rows(newcomers, now, _AT_ONCE, rng))
    crm.insert(connection, crm.contacts, crm.contact_rows(newcomers, now, _AT_ONCE, rng))


def _delete(
    store: sqlite3.Connection,
    connection: sa.Connection,
    now: datetime,
    n: int,
    rng: np.random.Generator,
) -> list[int]:
    """Customers leave every system, in each system's own way; their numbers."""
    found = store.execute(
        "SELECT number FROM billing_customers WHERE deleted = 0 ORDER BY number"
    ).fetchall()
    numbers = _pick(found, n, rng)
    seconds = int(now.timestamp())
    timed = [(seconds, number) for number in numbers]
    store.executemany(
        "UPDATE billing_customers SET deleted = 1, email = NULL, name = NULL, updated = ?"
        " WHERE number = ?",
        timed,
    )
    store.executemany(
        "UPDATE billing_subscriptions SET status = 'canceled', updated = ? WHERE number = ?",
        timed,
    )
    store.executemany(
        "DELETE FROM shop_customers WHERE number = ?", [(number,) for number in numbers]
    )
    store.executemany("UPDATE support_users SET deleted = 1, updated = ? WHERE number = ?", timed)
    ids = [identity for number in numbers for identity in crm.contact_ids(number)]
    _update_contacts(connection, ids, is_deleted=True, modified_at=now)
    statement = crm.accounts.update().where(crm.accounts.c.account_no == sa.bindparam("id_"))
    connection.execute(
        statement.values(is_deleted=True, modified_at=now),
        [{"id_": crm.account_no(number)} for number in numbers],
    )
    return numbers
