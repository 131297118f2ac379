"""What is measured by `sql_read.py` and `rest_read.py`: each reads it all, and keeps nothing.

    python readers.py sql-bare|sql-ours|rest-bare|rest-ours URL RECORDS

Imports are part of the cost, so each side has its own, the fewest that it can do with.
"""

from __future__ import annotations

import sys

TABLE = "customers"
COLUMNS = (
    "row_id", "customer_no", "email", "status", "value", "contract_end", "opt_in", "updated_at",
)  # fmt: skip
PATHS = (
    "id", "metadata.customer_no", "email", "status", "balance", "metadata.contract_end_date",
    "items.data.0.price.nickname", "updated",
)  # fmt: skip


def sql_bare(url: str) -> int:
    """ADBC's own interface; `adbc_driver_postgresql.dbapi` would import pandas and Polars."""
    import adbc_driver_postgresql
    import pyarrow as pa
    from adbc_driver_manager import AdbcConnection, AdbcStatement

    rows = 0
    database = adbc_driver_postgresql.connect(url)
    with database, AdbcConnection(database) as connection, AdbcStatement(connection) as statement:
        statement.set_sql_query(f"select {', '.join(COLUMNS)} from {TABLE}")
        stream, _ = statement.execute_query()
        for batch in pa.RecordBatchReader.from_stream(stream):
            rows += batch.num_rows
    return rows


def rest_bare(url: str) -> int:
    """A session of `requests`, which is also what ours sends by."""
    import requests

    rows, cursor = 0, None
    with requests.Session() as session:
        while True:
            parameters = {"limit": 100} | ({"after": cursor} if cursor else {})
            answer = session.get(f"{url}/customers", params=parameters, timeout=30)
            answer.raise_for_status()
            page = answer.json()
            rows += len(page["data"])
            cursor = page["next"]
            if cursor is None:
                return rows


def ours(declared: dict[str, object], sync: dict[str, object], fields: tuple[str, ...]) -> int:
    """A source as a sync reads it: the batches that the landing gets."""
    from profile_pipelines.catalog.systems import System
    from profile_pipelines.sources import ReadRequest, open_limited

    system = System.model_validate(
        {"system": "billing", "kind": "billing", "connection": declared, "syncs": {"all": sync}}
    )
    source = open_limited(system, system.syncs["all"])
    return sum(batch.num_rows for batch in source.read(ReadRequest(fields)))


def main(side: str, url: str, records: str) -> int:
    both = {"identifiers": {"email": "email"}, "attributes": {"status": "status"}}
    match side:
        case "sql-bare":
            rows = sql_bare(url)
        case "sql-ours":
            connection = {"type": "sql", "url": url}
            rows = ours(connection, {"table": TABLE, "updated_at": "updated_at", **both}, COLUMNS)
        case "rest-bare":
            rows = rest_bare(url)
        case _:
            paging = {"type": "cursor", "param": "after", "next": "next"}
            connection = {"type": "rest", "base_url": url, "paging": paging, "allow_private": True}
            sync = {"path": "/customers", "params": {"limit": 100}, "records": "data", **both}
            rows = ours(connection, sync, PATHS)
    if rows != int(records):
        print(f"{rows:,} records came, not {int(records):,}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
