"""CPU and memory of reading an HTTP API through the `rest` source, beside a bare HTTP client.

    python benchmarks/rest_read.py [--records 100000] [--rounds 3] [--at-most 2]

The bare client follows the pages and parses their JSON, without making anything of it. Each side
is a process of its own, from start to end, imports included; the server's work counts for nobody.
Of all rounds each side's cheapest counts. Ours is also measured with a tenth of the records, to
see that memory is bounded. Exits with 1 when ours costs more than `--at-most` times the bare
reading, or takes half as much memory again as with a tenth of the records.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from data import FOLDER
from processes import compile_bytecode, measured

_MEMORY = 1.5


def record(number: int) -> dict[str, object]:
    """About 700 bytes, nested as billing systems' records are."""
    price = {"id": f"price_{number % 7}", "nickname": ("basic", "plus", "pro")[number % 3]}
    return {
        "id": f"sub_{number:08}",
        "object": "subscription",
        "email": f"customer.{number}@example.com",
        "status": ("active", "past_due", "canceled")[number % 3],
        "balance": number % 10_000 / 100,
        "created": 1_700_000_000 + number,
        "updated": 1_750_000_000 + number,
        "livemode": True,
        "description": "Müller & Söhne, since the beginning" if number % 2 else None,
        "metadata": {
            "customer_no": f"C-{number:08}",
            "contract_end_date": f"2027-{number % 12 + 1:02}-28",
        },
        "items": {"object": "list", "data": [{"id": f"si_{number}", "price": price, "tax": 0.19}]},
        "address": {"line1": "Long Street 12", "city": "Berlin", "postal_code": "10115"},
        "tags": ["newsletter", "early bird", "b2b"],
    }


class Pages(BaseHTTPRequestHandler):
    """`limit` records after the cursor, out of as many as `records` in the path says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        parameters = parse_qs(asked.query)
        total = int(asked.path.split("/")[1])
        start = int(parameters.get("after", ["0"])[0])
        end = min(total, start + int(parameters["limit"][0]))
        records = [record(number) for number in range(start, end)]
        answer = {"data": records, "next": None if end == total else str(end)}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """The API in a process of its own; its address."""
    command = [sys.executable, __file__, "--serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-most", type=float, default=2.0)
    parser.add_argument("--folder", type=Path, default=FOLDER / "rest_read")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        print(server.server_port, flush=True)
        server.serve_forever()
    compile_bytecode()

    def cost(side: str, records: int, rounds: int):
        arguments = ("readers.py", side, f"{address}/{records}", str(records))
        costs = [measured(given.folder / side, *arguments) for _ in range(rounds)]
        cheapest = min(costs, key=lambda one: one.cpu)
        print(
            f"{side:9} {records:9,} records {cheapest.cpu:6.2f} CPU s  {cheapest.wall:6.2f} s"
            f"  peak {cheapest.peak:5,.0f} MiB"
        )
        return cheapest

    with serving() as address:
        few = cost("rest-ours", given.records // 10, 1)
        bare = cost("rest-bare", given.records, given.rounds)
        ours = cost("rest-ours", given.records, given.rounds)
    ratio, memory = ours.cpu / bare.cpu, ours.peak / few.peak
    print(f"{given.records:,} records: {ratio:.2f} × the CPU (at most {given.at_most:g} ×)")
    print(f"memory: {memory:.2f} × that of a tenth of the records (at most {_MEMORY:g} ×)")
    return int(ratio > given.at_most or memory > _MEMORY)


if __name__ == "__main__":
    sys.exit(main())
