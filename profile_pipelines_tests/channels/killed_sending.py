"""Messages sent by processes that are killed everywhere, and by another one afterwards.

A program of its own: it forks, so nothing in it may have started threads. For every point it
prints which messages are in doubt in the end, and to whom each one came that did; a mail server
tells which have come.

    python -m profile_pipelines_tests.channels.killed_sending FOLDER PORT LEDGER EVERY KIND
"""

from __future__ import annotations

import json
import os
import re
import signal
import smtplib
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# What sending imports late is imported here: the forked processes only run it.
import duckdb as _duckdb
import sqlglot.dialects.duckdb as _dialect
import urllib3
from sqlalchemy.engine.default import DefaultDialect

from profile_pipelines import journey_steps
from profile_pipelines.channels import smtp
from profile_pipelines.ledger.outbox import Outbox
from profile_pipelines_tests.company import START, Company, catalogue, stamp

_IMPORTED = (_duckdb, _dialect)
CUSTOMERS = ("1", "2")


def main(folder: Path, port: int, ledger: str, every: int, kind: str) -> None:
    """Kill the sender at its first point, then `every` so many later, until it gets through."""
    os.environ["CHANNEL_SECRET"] = "hush"
    company = Company(folder, _declared(kind, port, folder), ledger=ledger)
    _forked(folder, lambda: _begin(company))
    before: set[Path] = set()
    point, killed = 1 - every, True
    while killed:
        point += every
        killed = _forked(folder, partial(_send, company, point, kind)) is None
        mails = _forked(folder, partial(_known, company, point))
        told = {"mails": mails, "in_doubt": _forked(folder, partial(_go_on, company))}
        there = {*folder.glob("sink/*.taken"), *folder.glob("drop/*.eml")}
        told["came"] = sorted(_customer(path) for path in there - before)
        before = there
        sys.stdout.write(json.dumps(told) + "\n")


def _forked(folder: Path, step: Callable[[], Any]) -> Any:
    """What a step gives in a process of its own; None when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            (folder / "found.json").write_text(json.dumps(step()))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert os.WEXITSTATUS(status) == 0
    return json.loads((folder / "found.json").read_text())


def _customer(path: Path) -> str:
    """To whom a message went, by its subject."""
    found = re.search(r"Hello (\d+)", path.read_text())
    assert found is not None
    return found[1]


def _declared(kind: str, port: int, folder: Path) -> dict[str, Any]:
    declared = catalogue(("crm",), ("status", "opt_in"))
    declared["attributes"]["opt_in"] |= {"consent": "email"}
    kinds: dict[str, dict[str, Any]] = {
        "smtp": {
            "host": "127.0.0.1", "port": port, "security": "none", "from": "hello@example.org",
        },
        "webhook": {
            "url": f"http://127.0.0.1:{port}/in", "secret": {"env": "CHANNEL_SECRET"},
            "allow_private": ["127.0.0.1"], "concurrency": 2,
        },
        "apprise": {"url": f"json://127.0.0.1:{port}/{{to}}"},
        "file": {"folder": str(folder / "drop")},
    }  # fmt: skip
    mail = {"type": kind, "to": "email", **kinds[kind]}
    declared["channels"] = {"channels": {"mail": mail}}
    text = "Subject: Hello {{ customer_no }}\n\nYour status is {{ status }}.\n"
    declared["templates"] = {"hello.txt": text}
    return declared


def _begin(company: Company) -> None:
    for key in CUSTOMERS:
        company.put(
            "crm", key, no=key, email=f"c{key}@example.com", changed=stamp(-5),
            status="active", opt_in="yes",
        )  # fmt: skip
    company.run()
    company.now = START


def _send(company: Company, point: int, kind: str) -> bool:
    """Decide a mail for each customer, and send them until the process is killed."""
    outbox = company.workspace.ledger.outbox
    rows = [
        {
            "journey": "renewal", "version": 1, "enrolment": each, "step": str(point),
            "channel": "mail", "template": "hello", "consent": "email", "profile_id": each,
            "decided_at": company.now, "next_attempt_at": company.now, "expires_at": None,
        }
        for each in range(1, len(CUSTOMERS) + 1)
    ]  # fmt: skip
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, rows)
    _kill_at(point, kind)
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    return True


def _known(company: Company, point: int) -> list[str]:
    """The Message-IDs of the mails that were decided there."""
    rows = company.workspace.ledger.outbox.messages(limit=None)
    ids = [each["message_id"] for each in rows if each["step"] == str(point)]
    code = company.workspace.ledger.suppressions.code
    return [smtp.known_as(code(each), "example.org") for each in ids]


def _go_on(company: Company) -> list[str]:
    """Send what is left; which mails are in doubt then, by their Message-IDs. They are settled."""
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    outbox = company.workspace.ledger.outbox
    found = [each.message_id for each in outbox.in_doubt()]
    outbox.arrived(found, now=company.now)
    code = company.workspace.ledger.suppressions.code
    return [smtp.known_as(code(each), "example.org") for each in found]


def _kill_at(point: int, kind: str) -> None:
    """Let this process die at its n-th point: before or after a commit to the ledger or a statement
    that is one, or before or after a message is handed over."""
    passed = 0

    def passes() -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def killing(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            passes()
            found = step(*args, **kwargs)
            passes()
            return found

        return stepped

    DefaultDialect.do_commit = killing(DefaultDialect.do_commit)
    Outbox.begin = killing(Outbox.begin)
    if kind == "apprise":
        import apprise

        apprise.Apprise.notify = killing(apprise.Apprise.notify)
    elif kind == "file":
        os.replace = killing(os.replace)
    elif kind == "webhook":
        urllib3.PoolManager.urlopen = killing(urllib3.PoolManager.urlopen)
    else:
        smtplib.SMTP.data = killing(smtplib.SMTP.data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
