"""BottleCRM: a CRM in Django over PostgreSQL. https://django-crm.readthedocs.io"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from profile_pipelines_tests.live.installs import python_environment
from profile_pipelines_tests.live.running import System, free_port, running

_SETUP = """
from django.contrib.auth import get_user_model
from common.models import Org, PersonalAccessToken, Profile
user = get_user_model().objects.create_superuser(email="agent@example.com", password="agent-pass-1")
org = Org.objects.create(name="Acme")
profile = Profile.objects.create(user=user, org=org, role="ADMIN")
print("TOKEN", PersonalAccessToken.generate(profile, "sync")[0])
"""


def install() -> Path:
    return python_environment("django-crm", "django-crm==1.35.0", at_least=(3, 12))


@contextmanager
def serving(environment: Path, folder: Path, postgres: sa.URL) -> Iterator[System]:
    """The server with an organisation, and three contacts of it."""
    with sa.create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text("drop database if exists live_crm"))
        connection.execute(sa.text("create database live_crm"))
    python = environment / "bin" / "python"
    settings = {
        "DJANGO_SETTINGS_MODULE": "crm.settings",
        "SECRET_KEY": "only-for-a-test-on-loopback-0123456789abcdef",
        "ALLOWED_HOSTS": "127.0.0.1",
        "CELERY_BROKER_URL": "memory://",
        "CELERY_RESULT_BACKEND": "cache+memory://",
        "DBNAME": "live_crm",
        "DBUSER": postgres.username or "postgres",
        "DBPASSWORD": postgres.password or "",
        "DBHOST": str(postgres.query.get("host", postgres.host or "")),
        "DBPORT": str(postgres.port or 5432),
    }
    _django(python, folder, settings, "migrate", "--verbosity", "0")
    told = _django(python, folder, settings, "shell", "-c", _SETUP)
    token = told.partition("TOKEN ")[2].split()[0]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [python, "-m", "gunicorn", "crm.wsgi", "--bind", f"127.0.0.1:{port}"]
    with running(command, url, folder / "log", environment=settings, cwd=folder):
        system = System(url, token)
        for name, country in (("anna", "DE"), ("bo", "SE"), ("cem", "TR")):
            contact = {"first_name": name, "last_name": "Ek", "email": f"{name}@example.com"}
            create(system, {**contact, "country": country, "organization": "Acme"})
        yield system


def create(system: System, contact: dict[str, Any]) -> None:
    """A new contact by the system's API."""
    with system.client(headers={"authorization": f"Bearer {system.secret}"}) as client:
        answer = client.post("/api/contacts/", json=contact)
        assert answer.status_code in (200, 201), answer.text


def change(system: System, email: str, **fields: object) -> None:
    """A contact changed, or with no fields deleted."""
    with system.client(headers={"authorization": f"Bearer {system.secret}"}) as client:
        found = client.get("/api/contacts/", params={"email": email}).json()["results"]
        path = f"/api/contacts/{found[0]['id']}/"
        answer = client.patch(path, json=fields) if fields else client.delete(path)
        assert answer.status_code in (200, 204), answer.text


def _django(python: Path, folder: Path, settings: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [python, "-m", "django", *words], cwd=folder, env={**os.environ, **settings},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
