"""CPU of reading a PostgreSQL table through the `sql` source, beside bare ADBC to Arrow.

    python benchmarks/sql_read.py [--rows 1000000] [--rounds 3] [--at-most 1.5]

Each side is a process of its own, from start to end, imports included; PostgreSQL's own work
counts for nobody. Of all rounds each side's cheapest counts. Exits with 1 when ours costs more
than `--at-most` times the bare reading.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data import FOLDER, Postgres
from processes import compile_bytecode, measured
from readers import TABLE

_FILL = """
create unlogged table {table} as select
    n::bigint as row_id,
    'C-' || lpad(n::text, 6, '0') as customer_no,
    'customer.' || n || '@example.com' as email,
    (array['active', 'paused', 'ended'])[n % 3 + 1] as status,
    (n::bigint * 7919 % 10000000 / 100.0)::numeric(12, 2) as value,
    date '2026-01-01' + n % 730 as contract_end,
    n % 4 > 0 as opt_in,
    timestamptz '2026-06-01 00:00:00+00' - n * interval '1 second' as updated_at
from generate_series(1, {rows}) as n
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-most", type=float, default=1.5)
    parser.add_argument("--folder", type=Path, default=FOLDER / "sql_read")
    given = parser.parse_args()
    compile_bytecode()
    server = Postgres(given.folder)
    try:
        with server.connect("postgres") as cursor:
            cursor.execute(f"drop table if exists {TABLE}")
            cursor.execute(_FILL.format(table=TABLE, rows=given.rows))
            cursor.execute(f"vacuum (freeze, analyze) {TABLE}")
        url = server.url("postgres").replace("+psycopg2", "")
        costs = {
            side: [
                measured(given.folder / side, "readers.py", side, url, str(given.rows))
                for _ in range(given.rounds)
            ]
            for side in ("sql-bare", "sql-ours")
        }
    finally:
        server.stop()
    cheapest = {side: min(rounds, key=lambda one: one.cpu) for side, rounds in costs.items()}
    for side, one in cheapest.items():
        print(f"{side:9} {one.cpu:6.2f} CPU s  {one.wall:6.2f} s  peak {one.peak:5,.0f} MiB")
    ratio = cheapest["sql-ours"].cpu / cheapest["sql-bare"].cpu
    print(f"{given.rows:,} rows × 8 columns: {ratio:.2f} × the CPU (at most {given.at_most:g} ×)")
    return int(ratio > given.at_most)


if __name__ == "__main__":
    sys.exit(main())
