"""Dagster's storage in PostgreSQL, by the very file that deploy/ holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from profile_pipelines_tests.orchestration.conftest import Business, materialise

_DEPLOY = Path(__file__).parents[2] / "deploy" / "dagster.yaml"


@pytest.fixture
def home(business: Business, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the file of deploy/, and the variables that it names."""
    folder = business.folder / "dagster"
    folder.mkdir()
    shutil.copy(_DEPLOY, folder / "dagster.yaml")
    url = sa.make_url(postgres_url)
    host = url.host or url.query.get("host", "")
    # libpq itself takes a socket's folder, which can't stand as the host of a URL
    monkeypatch.setenv("PGHOST", str(host))
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "" if str(host).startswith("/") else str(host))
    monkeypatch.setenv("DAGSTER_POSTGRES_PORT", str(url.port or 5432))
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", url.username or "postgres")
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", url.password or "")
    monkeypatch.setenv("DAGSTER_POSTGRES_DB", url.database or "")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


def test_a_job_runs_on_postgresql_storage(
    business: Business, home: Path, postgres_url: str
) -> None:
    """A run of everything is stored in PostgreSQL: its materialisations, checks and status."""
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        result = materialise(business, instance)
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.is_success
        event = instance.get_latest_materialization_event(dg.AssetKey(["audiences", "gold"]))
        assert event is not None
    engine = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg2"))
    with engine.connect() as connection:
        stored = connection.execute(sa.text("select count(*) from event_logs")).scalar_one()
    engine.dispose()
    assert stored > 0
    assert not list(home.glob("**/*.db"))


def test_production_settings_are_taken(business: Business, home: Path) -> None:
    """Run monitoring, retries, the queue's and the pools' limits are as the file says."""
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 4


def test_no_secret_stands_in_the_file() -> None:
    """Host, user, password and database come from the environment."""
    declared = yaml.safe_load(_DEPLOY.read_text())["storage"]["postgres"]["postgres_db"]
    assert declared.pop("scheme") == "postgresql+psycopg2"
    assert all(set(value) == {"env"} for value in declared.values())
