"""How many posts a second the webhook receiver takes, each in the ledger for good when answered.

    python benchmarks/webhook_receiver.py [--clients 32] [--posts 2000] [--ledger URL]

Beside it an endpoint that reads the body and answers 200: what server and clients cost by
themselves. Both run in a process of their own, under uvicorn, over loopback; the clients, which
share the machine, keep their connections. The ledger is a new SQLite file unless a URL is given.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECRET = "whsec_benchmark"
CATALOGUE = {
    "identifiers.yaml": {"email": {"normalise": ["email"]}},
    "attributes.yaml": {
        "status": {"type": "string", "sources": ["billing"], "fresh_within": "24h"}
    },
    "sources/billing.yaml": {
        "system": "billing",
        "kind": "billing",
        "connection": {"type": "rest", "base_url": "https://billing.example.com"},
        "webhook": {
            "signature": "stripe",
            "secret": {"env": "BENCHMARK_SECRET"},
            "events": [{"types": ["*"], "sync": "subscriptions", "id": "data.object.id"}],
        },
        "syncs": {
            "subscriptions": {
                "path": "/subscriptions",
                "one": "/subscriptions/{id}",
                "key": "id",
                "identifiers": {"email": "email"},
                "attributes": {"status": "status"},
            }
        },
    },
}


async def answer(request: Request) -> Response:
    """The bare endpoint."""
    await request.body()
    return Response(status_code=200)


bare = Starlette(routes=[Route("/webhooks/billing", answer, methods=["POST"])])


def serve(which: str, port: int) -> None:
    """Run one of the two servers until it is ended."""
    from profile_pipelines import webhooks

    app = bare if which == "bare" else webhooks.app
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


@contextmanager
def running(which: str, environment: dict[str, str]) -> Iterator[str]:
    """A server in a process of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--serve", which, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/webhooks/billing"
    finally:
        process.terminate()
        process.wait()


def signed(number: int) -> tuple[bytes, dict[str, str]]:
    """An event as Stripe posts it, about 1.5 kB like theirs."""
    record = {"id": f"sub_{number}", "metadata": {"filler": "x" * 1300}}
    event = {"id": f"evt_{number}", "type": "customer.subscription.updated"}
    body = json.dumps({**event, "data": {"object": record}}).encode()
    at = str(int(time.time()))
    digest = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return body, {"Stripe-Signature": f"t={at},v1={digest}"}


async def post_all(url: str, posts: int, clients: int) -> tuple[float, list[float]]:
    """Seconds for all posts, and each one's latency in seconds, sorted."""
    waiting = [signed(number) for number in range(posts)]
    latencies: list[float] = []

    async def client() -> None:
        async with httpx.AsyncClient(timeout=60) as http:
            while waiting:
                body, headers = waiting.pop()
                started = time.perf_counter()
                (await http.post(url, content=body, headers=headers)).raise_for_status()
                latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - started, sorted(latencies)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--ledger", help="URL of the ledger's database")
    parser.add_argument("--serve", choices=["bare", "receiver"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.port)
        return
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Path(folder) / "catalog"
        for name, content in CATALOGUE.items():
            path = catalogue / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content))
        ledger = given.ledger or f"sqlite:///{folder}/ledger.db"
        environment = {
            "PROFILE_PIPELINES_CATALOG": str(catalogue),
            "PROFILE_PIPELINES_LEDGER": ledger,
            "BENCHMARK_SECRET": SECRET,
        }
        rates: dict[str, float] = {}
        for which in ("bare", "receiver"):
            with running(which, environment) as url:
                seconds, latencies = asyncio.run(post_all(url, given.posts, given.clients))
            rates[which] = given.posts / seconds
            median, late = (latencies[int(share * len(latencies))] for share in (0.5, 0.99))
            print(
                f"{which:9} {rates[which]:7,.0f} posts/s   "
                f"median {median * 1000:5.0f} ms   99 % {late * 1000:5.0f} ms"
            )
        print(f"the receiver takes {rates['receiver'] / rates['bare']:.0%} of the bare endpoint's")
        from profile_pipelines.ledger import Ledger

        kept = sum(Ledger(ledger).inbox.syncs_waiting().values())
        print(f"{kept:,} of {given.posts:,} are in the inbox")


if __name__ == "__main__":
    main()
