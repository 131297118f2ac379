"""How many messages go out a second: mail to a local SMTP server, calls to a local endpoint.

    python benchmarks/channels.py                      # 100,000 messages each
    python benchmarks/channels.py --messages 5000

Everything that sending does is in it: claiming, the last look at consent, rendering, sending,
receipts. The other ends are processes of their own that only count. Exits with 1 below 500 mails
or 1,000 calls a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
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
space = Workspace(Places(folder / "catalog", folder / "lake", f"sqlite:///{folder}/ledger.db"))
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


def sink(code: str) -> tuple[subprocess.Popen[str], int]:
    """A running other end and its port."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    arguments = parser.parse_args()
    os.environ["HOOK_SECRET"] = "hush"
    console = Console()
    rows = Table(title=f"{arguments.messages:,} messages, SQLite", title_justify="left")
    for heading in ("channel", "a second", "wanted", "CPU s", "peak MiB"):
        rows.add_column(heading, justify="left" if heading == "channel" else "right")
    ok = True
    (mail, mail_port), (hook, hook_port) = sink(SMTP), sink(HTTP)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            catalogue(folder)
            channels = {
                "mail": {"type": "smtp", "host": "127.0.0.1", "port": mail_port,
                         "security": "none", "from": "a@example.org", "to": "address"},
                "hook": {"type": "webhook", "url": f"http://127.0.0.1:{hook_port}/",
                         "secret": {"env": "HOOK_SECRET"}, "allow_private": True,
                         "attributes": ["tier"]},
                "drop": {"type": "file"},
            }  # fmt: skip
            (folder / "catalog" / "channels.yaml").write_text(
                yaml.safe_dump({"channels": channels})
            )
            with_addresses(folder)
            people(folder, arguments.messages, 0)
            command = [sys.executable, "-c"]
            subprocess.run([*command, SYNC, str(folder), START.isoformat(), "sync"], check=True)
            for channel, wanted in WANTED.items():
                with console.status(channel):
                    done = subprocess.run(
                        [*command, DISPATCH, str(folder), START.isoformat(), channel],
                        stdout=subprocess.PIPE, text=True, check=True,
                    )  # fmt: skip
                told = json.loads(done.stdout)
                rate = told["sent"] / told["seconds"]
                ok &= rate >= wanted and told["sent"] == arguments.messages
                rows.add_row(
                    channel,
                    f"{rate:,.0f}",
                    f"{wanted:,}",
                    f"{told['cpu']:.1f}",
                    f"{told['peak']:,.0f}",
                )
    finally:
        mail.kill()
        hook.kill()
    console.print(rows)
    return int(not ok)


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
