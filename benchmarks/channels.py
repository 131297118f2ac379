"""How many messages go out a second: mail to a local SMTP server, calls to a local endpoint.

    python benchmarks/channels.py                      # 100,000 messages each
    python benchmarks/channels.py --messages 5000 --ledger postgresql

Everything that sending does is in it: claiming, the last look at consent, rendering, each message
noted before it is handed over, sending, receipts. The other ends are processes of their own that
only count. Beside it a loop of `smtplib` alone, which sends as many mails to the same server and
notes nothing. Exits with 1 below 500 mails or 1,000 calls a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from data import Postgres
from journey_tick import START, SYNC, catalogue, people
from rich.console import Console
from rich.table import Table

WANTED = {"mail": 500, "hook": 1000}
SMTP = """
import asyncio
from aiosmtpd.smtp import SMTP
class Count:
    async def handle_DATA(self, server, session, envelope):
        return "250 OK"
async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Count()), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
HTTP = """
import asyncio
ANSWER = b"HTTP/1.1 204 No Content\\r\\nContent-Length: 0\\r\\n\\r\\n"
async def serve_one(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = next(int(l[15:]) for l in head.lower().split(b"\\r\\n")
                          if l.startswith(b"content-length:"))
            await reader.readexactly(length)
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def serve():
    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(serve())
"""
DISPATCH = """
import json, sys
from datetime import datetime
from pathlib import Path
from profile_pipelines import journey_steps
from profile_pipelines.workspace import Places, Workspace

folder, now, channel = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3]
space = Workspace(Places(folder / "catalog", folder / "lake", sys.argv[4]))
ids = space.lake.profiles(space.catalogue).pin().current(["profile_id"], "p")
found = space.lake.engine.query(ids.sql, ids.relations)["profile_id"].to_pylist()
outbox = space.ledger.outbox
with outbox._engine.begin() as connection:
    outbox.decide(connection, [
        {"journey": "bench", "version": 1, "enrolment": one, "step": "0", "channel": channel,
         "template": "hello", "consent": "email", "profile_id": one, "decided_at": now,
         "next_attempt_at": now, "expires_at": None} for one in found])
import resource, time
began, cpu = time.perf_counter(), time.process_time()
result = journey_steps.dispatch(space, clock=lambda: now)
print(json.dumps({"sent": result.total("sent"), "seconds": time.perf_counter() - began,
                  "cpu": time.process_time() - cpu,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "errors": result.errors}))
"""


BARE = """
import json, smtplib, sys, time
from email.mime.text import MIMEText
port, count = int(sys.argv[1]), int(sys.argv[2])
began, cpu = time.perf_counter(), time.process_time()
with smtplib.SMTP("127.0.0.1", port) as server:
    for number in range(count):
        mail = MIMEText("Hello\\n", "plain", "us-ascii")
        mail["From"], mail["To"] = "a@example.org", f"c{number}@example.com"
        mail["Subject"] = "Hello"
        server.send_message(mail)
print(json.dumps({"sent": count, "seconds": time.perf_counter() - began,
                  "cpu": time.process_time() - cpu}))
"""


def sink(code: str) -> tuple[subprocess.Popen[str], int]:
    """A running other end and its port."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@contextmanager
def ledger(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty ledger, whose commits wait for the disk."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/ledger.db"
        return
    server = Postgres(folder)
    try:
        with server.connect("postgres") as cursor:
            cursor.execute("alter system reset fsync")
            cursor.execute("select pg_reload_conf()")
            cursor.execute("create database ledger")
        yield server.url("ledger")
    finally:
        server.stop()


def told_by(code: str, *arguments: str) -> dict[str, Any]:
    """What a process of its own measured."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], action="append")
    arguments = parser.parse_args()
    os.environ["HOOK_SECRET"] = "hush"
    console = Console()
    rows = Table(title=f"{arguments.messages:,} messages", title_justify="left")
    for heading in ("ledger", "channel", "a second", "wanted", "of smtplib's", "CPU s", "peak MiB"):
        is_name = heading in ("ledger", "channel")
        rows.add_column(heading, justify="left" if is_name else "right")
    ok = True
    (mail, mail_port), (hook, hook_port) = sink(SMTP), sink(HTTP)
    try:
        for kind in arguments.ledger or ["sqlite", "postgresql"]:
            with tempfile.TemporaryDirectory() as name, ledger(kind, Path(name)) as url:
                folder = Path(name)
                declare(folder, mail_port, hook_port)
                people(folder, arguments.messages, 0)
                told_by(f"{SYNC}\nprint(0)", str(folder), START.isoformat(), "sync", url)
                for channel, wanted in WANTED.items():
                    with console.status(f"{kind}: {channel}"):
                        told = told_by(DISPATCH, str(folder), START.isoformat(), channel, url)
                        bare = told_by(BARE, str(mail_port), str(arguments.messages))
                    rate = told["sent"] / told["seconds"]
                    share = rate / (bare["sent"] / bare["seconds"])
                    ok &= rate >= wanted and told["sent"] == arguments.messages
                    rows.add_row(
                        kind, channel, f"{rate:,.0f}", f"{wanted:,}",
                        f"{share:.0%}" if channel == "mail" else "",
                        f"{told['cpu']:.1f}", f"{told['peak']:,.0f}",
                    )  # fmt: skip
    finally:
        mail.kill()
        hook.kill()
    console.print(rows)
    return int(not ok)


def declare(folder: Path, mail_port: int, hook_port: int) -> None:
    """The catalogue, with a channel to each of the other ends."""
    catalogue(folder)
    channels = {
        "mail": {"type": "smtp", "host": "127.0.0.1", "port": mail_port,
                 "security": "none", "from": "a@example.org", "to": "address"},
        "hook": {"type": "webhook", "url": f"http://127.0.0.1:{hook_port}/",
                 "secret": {"env": "HOOK_SECRET"}, "allow_private": True,
                 "attributes": ["tier"]},
        "drop": {"type": "file"},
    }  # fmt: skip
    (folder / "catalog" / "channels.yaml").write_text(yaml.safe_dump({"channels": channels}))
    with_addresses(folder)


def with_addresses(folder: Path) -> None:
    """Every customer's address is an attribute."""
    attributes = folder / "catalog" / "attributes.yaml"
    declared = yaml.safe_load(attributes.read_text())
    declared["address"] = {"type": "string", "sources": ["lake"], "fresh_within": "400 days"}
    attributes.write_text(yaml.safe_dump(declared))
    source = folder / "catalog" / "sources" / "lake.yaml"
    system = yaml.safe_load(source.read_text())
    system["syncs"]["people"]["attributes"]["address"] = "address"
    source.write_text(yaml.safe_dump(system))


if __name__ == "__main__":
    sys.exit(main())
