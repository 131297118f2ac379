"""Runs of one system at the same time: one place in its pool, one allowance of requests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

import profile_pipelines
from profile_pipelines_tests.orchestration.conftest import Business
from profile_pipelines_tests.orchestration.test_sensors import ORIGIN
from profile_pipelines_tests.sources.api_server import answer, serving

_LOCAL = Path(profile_pipelines.__file__).parent / "orchestration" / "local.yaml"
_PAGES = 8


def test_a_systems_runs_take_turns(business: Business) -> None:
    """A second run of the CRM waits until the first has ended, and lets the shop's go before."""
    home = business.folder / "dagster"
    home.mkdir()
    settings = _LOCAL.read_text() + (
        "run_launcher: {module: dagster._core.test_utils, class: MockedRunLauncher}\n"
    )
    (home / "dagster.yaml").write_text(settings)
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        create_test_daemon_workspace_context(EmptyWorkspaceTarget(), instance) as context,
        QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon,
    ):
        launched = instance.run_launcher.did_run_launch  # pyright: ignore
        first = _queued(business, instance, "crm", "tier")
        # a pool that the daemon sees for the first time gets its limit by this
        list(daemon.run_iteration(context))
        second = _queued(business, instance, "crm", "email_opt_in")
        shop = _queued(business, instance, "shop", "orders")
        list(daemon.run_iteration(context))
        assert [launched(run) for run in (first, second, shop)] == [True, False, True]
        run = instance.get_run_by_id(first)
        assert run is not None
        instance.report_run_failed(run)
        list(daemon.run_iteration(context))
        assert launched(second)


def _queued(business: Business, instance: dg.DagsterInstance, *path: str) -> str:
    job = business.definitions().resolve_implicit_global_asset_job_def()
    selected = job.get_subset(asset_selection={dg.AssetKey(list(path))})
    run = instance.create_run_for_job(
        selected,
        asset_selection=frozenset({dg.AssetKey(list(path))}),
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=ORIGIN,
    )
    return run.run_id


_RUN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import DueSync
from profile_pipelines_tests.orchestration.conftest import Business
workspace = Business(Path(sys.argv[1])).workspace()
due = [DueSync("shop", sys.argv[2], (sys.argv[3],))]
report = run_in_process(workspace, due, now=datetime.now(UTC), downstream=False)
sys.exit(not report.ok)
"""


@pytest.mark.slow
def test_parallel_runs_share_what_the_api_allows(business: Business) -> None:
    """Two processes that read two syncs of a system at once ask from one allowance: the file that
    counts it has the requests of both."""
    catalogue = business.folder / "catalog"
    attributes = catalogue / "attributes.yaml"
    attributes.write_text(
        attributes.read_text() + "points: {type: integer, sources: [shop], fresh_within: 48h}\n"
    )
    with serving() as api:
        api.answers["/customers"] = api.answers["/points"] = lambda request: answer(
            {"data": [{"no": f"C{request.query_params['page']}", "orders": 1, "points": 2}]}
            if int(request.query_params["page"]) < _PAGES
            else {"data": []}
        )(request)
        (catalogue / "sources" / "shop.yaml").write_text(f"""
system: shop
kind: ecommerce
connection:
  type: rest
  base_url: {api.url}
  allow_private: true
  rate_limit: 100 per 1 second
  paging: {{type: page}}
syncs:
  customers:
    {{path: /customers, records: data, key: "no", identifiers: {{customer_id: "no"}},
      attributes: {{orders: orders}}}}
  points:
    {{path: /points, records: data, key: "no", identifiers: {{customer_id: "no"}},
      attributes: {{points: points}}}}
""")
        temporary = business.folder / "temporary"
        temporary.mkdir()
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", _RUN, str(business.folder), sync, attribute],
                env={**os.environ, "TMPDIR": str(temporary)},
            )
            for sync, attribute in (("customers", "orders"), ("points", "points"))
        ]
        assert [run.wait() for run in runs] == [0, 0]
        asked = len(api.requests)
    assert asked == 2 * _PAGES
    [counted] = temporary.glob("profile-pipelines-*/*.rate")
    assert int.from_bytes(counted.read_bytes()[:8], "little") == asked
    shutil.rmtree(temporary)
