"""The floor: reads the rows and columns that everyone reads, by ADBC, and writes them as Parquet.

    python floor.py URL FOLDER NOW

A later run into the same folder reads only the rows that changed after the newest it has seen.
It uses ADBC's own interface: `dbapi` imports pandas and Polars, which costs 0.7 CPU seconds.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import adbc_driver_postgresql
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from adbc_driver_manager import AdbcConnection, AdbcStatement

COLUMNS = {
    "crm_contacts": "row_id, customer_no, email, account_status, lifecycle_status, language, "
    "home_market, email_opt_in, preferred_channel, updated_at",
    "billing_subscriptions": "row_id, customer_no, email, package, contract_end_date, "
    "renewal_status, payment_status, account_status, email_opt_in, updated_at",
    "ecommerce_customers": "row_id, customer_ref, last_order_date, orders_count, "
    "favourite_category, loyalty_points, language, updated_at",
    "support_users": "row_id, customer_no, email, open_tickets, satisfaction, escalated, "
    "preferred_channel, last_contact_at, updated_at",
    "warehouse_scores": "row_id, customer_no, value_band, churn_risk, lifetime_value, "
    "loyalty_tier, loyalty_points, home_market, updated_at",
}


def main(url: str, folder: Path) -> None:
    state = folder / "newest.json"
    run, newest = json.loads(state.read_text()) if state.exists() else (0, {})
    folder.mkdir(parents=True, exist_ok=True)
    total = 0
    database = adbc_driver_postgresql.connect(url.replace("+psycopg2", ""))
    with database, AdbcConnection(database) as connection:
        for table, columns in COLUMNS.items():
            query = f"select {columns} from {table}"
            if table in newest:
                query += f" where updated_at > '{newest[table]}'"
            with AdbcStatement(connection) as statement:
                statement.set_sql_query(query)
                stream, _ = statement.execute_query()
                batches = pa.RecordBatchReader.from_stream(stream)
                rows, last = write(batches, folder / f"{table}-{run}.parquet")
            total += rows
            if rows:
                newest[table] = str(last)
    state.write_text(json.dumps([run + 1, newest]))
    print(json.dumps({"rows": total}))


def write(batches: pa.RecordBatchReader, target: Path) -> tuple[int, datetime | None]:
    """The number of rows written and their newest `updated_at`; no file when there are none."""
    rows, last, writer = 0, None, None
    for batch in batches:
        if batch.num_rows:
            writer = writer or pq.ParquetWriter(target, batch.schema, compression="zstd")
            writer.write_batch(batch)
            rows += batch.num_rows
            highest = pc.max(batch.column("updated_at")).as_py()  # pyright: ignore
            last = highest if last is None else max(last, highest)
    if writer:
        writer.close()
    return rows, last


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
