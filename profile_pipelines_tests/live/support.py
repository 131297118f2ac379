"""django-helpdesk: a ticket system in Django. https://django-helpdesk.readthedocs.io"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from profile_pipelines_tests.live.installs import python_environment
from profile_pipelines_tests.live.running import System, free_port, running

SECRET = "reader-pass-1"
_SYSTEMS = Path(__file__).parent / "systems"

_QUEUE = "from helpdesk.models import Queue; Queue.objects.create(title='Help', slug='help')"


def install() -> Path:
    return python_environment("django-helpdesk", "django-helpdesk==2.6.1")


@contextmanager
def serving(environment: Path, folder: Path) -> Iterator[System]:
    """The server with a queue, an agent named reader, and a ticket of each of three customers."""
    python = environment / "bin" / "python"
    settings = {
        "DJANGO_SETTINGS_MODULE": "helpdesk_site",
        "PYTHONPATH": str(_SYSTEMS),
        "DJANGO_SUPERUSER_PASSWORD": SECRET,
    }
    for words in (
        ["migrate", "--verbosity", "0"],
        ["createsuperuser", "--noinput", "--username", "reader", "--email", "r@example.com"],
        ["shell", "-c", _QUEUE],
    ):  # fmt: skip
        done = subprocess.run(
            [python, "-m", "django", *words], cwd=folder, env={**os.environ, **settings},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    port = free_port()
    command = [python, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, url, folder / "log", environment=settings, cwd=folder):
        system = System(url, SECRET)
        for name, priority in (("anna", 1), ("bo", 3), ("cem", 5)):
            create(system, f"{name}@example.com", priority)
        yield system


def create(system: System, email: str, priority: int) -> int:
    """A new ticket by the system's API."""
    ticket = {
        "queue": 1, "title": "Help", "description": "It is broken", "submitter_email": email,
        "priority": priority, "status": 1,
    }  # fmt: skip
    with system.client(auth=("reader", SECRET)) as client:
        return client.post("/api/tickets/", json=ticket).raise_for_status().json()["id"]


def change(system: System, ticket: int, **fields: object) -> None:
    with system.client(auth=("reader", SECRET)) as client:
        client.patch(f"/api/tickets/{ticket}/", json=fields).raise_for_status()


def tickets(system: System) -> list[dict[str, object]]:
    """The tickets of the first page."""
    with system.client(auth=("reader", SECRET)) as client:
        return client.get("/api/tickets/").raise_for_status().json()["results"]
