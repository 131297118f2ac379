from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from profile_pipelines.demo import DemoSystems
from profile_pipelines_tests.demo.clients import Clients

NOW = datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of all 5,000 customers, to be read only."""
    folder = tmp_path_factory.mktemp("full")
    DemoSystems(folder, now=NOW).create()
    return folder


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Running systems of 350 customers, to be read only."""
    folder = tmp_path_factory.mktemp("running")
    with DemoSystems(folder, customers=350, now=NOW) as systems:
        yield Clients(folder, systems.environment)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., DemoSystems]]:
    """Makes systems of 350 customers in a folder of the test's own; stops their servers."""
    made: list[DemoSystems] = []

    def make(name: str = "systems", **options: object) -> DemoSystems:
        given: dict = {"customers": 350, "now": NOW} | options
        systems = DemoSystems(tmp_path / name, **given)
        made.append(systems)
        return systems

    yield make
    for systems in made:
        systems.stop()
