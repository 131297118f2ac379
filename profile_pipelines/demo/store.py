"""`sample.db`: the SQLite file from which the HTTP systems answer, and their settings."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl

from profile_pipelines.errors import NotFound

STORE = "sample.db"
INSERT_ROWS = 50_000
"""Rows of one bulk insert; bounds the memory that a million customers take."""
CREDENTIALS = ("BILLING_API_KEY", "ECOMMERCE_KEY", "ECOMMERCE_SECRET", "SUPPORT_TOKEN")


def connect(folder: Path) -> sqlite3.Connection:
    """Open the demo's store; several processes may read while one writes.

    Raises NotFound when the folder holds no demo.
    """
    path = folder / STORE
    if not path.exists():
        raise NotFound(f"{folder} holds no sample systems; run `profile-pipelines demo` first")
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def insert(connection: sqlite3.Connection, table: str, frame: pl.DataFrame) -> None:
    """Append the frame's rows to the table; the columns go by name."""
    columns = ", ".join(frame.columns)
    marks = ", ".join("?" for _ in frame.columns)
    for part in frame.iter_slices(INSERT_ROWS):
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", part.rows())


def setting(connection: sqlite3.Connection, name: str) -> str:
    """A setting of the sample systems, such as a credential or the next customer's number."""
    return connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0]


def set_setting(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Write a setting."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
