"""Real business systems, started once, and a workspace whose command line reads them.

Optional: `make test-live`. Nothing here is told to the package but the files in `catalog`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines_tests.live import billing, crm, shop, support
from profile_pipelines_tests.live.installs import NotInstallableError
from profile_pipelines_tests.live.running import System

CATALOG = Path(__file__).parent / "catalog"


class Workspace:
    """A catalogue of some of the systems, with its own lake, read by the command line only."""

    def __init__(self, folder: Path, systems: dict[str, System]) -> None:
        self.folder = folder
        for kind in ("sources", "attributes"):
            (folder / "catalog" / kind).mkdir(parents=True)
            for name in systems:
                shutil.copy(CATALOG / kind / f"{name}.yaml", folder / "catalog" / kind)
        shutil.copy(CATALOG / "identifiers.yaml", folder / "catalog")
        self.environment = {
            "PROFILE_PIPELINES_CATALOG": str(folder / "catalog"),
            "PROFILE_PIPELINES_LAKE": str(folder / "lake"),
            "PROFILE_PIPELINES_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        }
        for name, system in systems.items():
            self.environment[f"LIVE_{name.upper()}_URL"] = system.url
            self.environment[f"LIVE_{name.upper()}_SECRET"] = system.secret

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints; it must end with this code."""
        done = subprocess.run(
            [sys.executable, "-m", "profile_pipelines.cli", *words],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr or done.stdout
        return done.stdout

    def values(self, identifier: str) -> dict[str, Any]:
        """The attributes of the one profile with this identifier."""
        [profile] = json.loads(self.run("profile", "show", identifier, "--json"))
        return {name: each["value"] for name, each in profile["attributes"].items()}


@pytest.fixture
def workspace(tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a workspace over the systems that are given by name."""
    return lambda **systems: Workspace(tmp_path, systems)


@contextmanager
def _installed() -> Iterator[None]:
    """What can't be installed here is left out, and says why."""
    try:
        yield
    except NotInstallableError as error:
        pytest.skip(f"can't be installed here: {error}")


@pytest.fixture(scope="session")
def billing_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """localstripe."""
    with _installed():
        environment = billing.install()
    with billing.serving(environment, tmp_path_factory.mktemp("billing")) as system:
        yield system


@pytest.fixture(scope="session")
def support_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """django-helpdesk."""
    with _installed():
        environment = support.install()
    with support.serving(environment, tmp_path_factory.mktemp("support")) as system:
        yield system


@pytest.fixture(scope="session")
def shop_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Vendure."""
    with _installed():
        environment = shop.install()
    with shop.serving(environment, tmp_path_factory.mktemp("shop")) as system:
        yield system


@pytest.fixture(scope="session")
def crm_system(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: sa.URL
) -> Iterator[System]:
    """BottleCRM (django-crm)."""
    with _installed():
        environment = crm.install()
    folder = tmp_path_factory.mktemp("crm")
    with crm.serving(environment, folder, postgres_server) as system:
        yield system
