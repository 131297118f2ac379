"""The whole lineage of the demo's catalogue, as Dagster shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from profile_pipelines.orchestration.build import definitions_at
from profile_pipelines.workspace import DEMO_CATALOGUE, Places

_SNAPSHOT = Path(__file__).parent / "lineage.json"


def test_the_demo_has_this_lineage(tmp_path: Path) -> None:
    """Assets with what they stand on, checks, schedules and sensors are those of lineage.json.

    After an intended change write the file anew with UPDATE_LINEAGE=1 and read the difference.
    """
    definitions = definitions_at(Places(DEMO_CATALOGUE, tmp_path / "lake", "sqlite://"))
    found = json.dumps(_lineage(definitions), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_LINEAGE"):
        _SNAPSHOT.write_text(found)
    assert found == _SNAPSHOT.read_text()
    assert not (tmp_path / "lake").exists()


def _lineage(definitions: dg.Definitions) -> dict[str, Any]:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "kinds": sorted(graph.get(key).kinds),
                "owners": list(graph.get(key).owners),
                "depends_on": sorted(parent.to_user_string() for parent in _parents(graph, key)),
                "checks": sorted(
                    f"{check.name}{' (blocking)' if graph.get(check).blocking else ''}"
                    for check in graph.get(key).check_keys
                ),
                "fresh_within": _window(graph.get(key).freshness_policy),
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "schedules": {
            each.name: {
                "cron": each.cron_schedule,
                "timezone": each.execution_timezone,
                "status": each.default_status.value,
                "targets": _targets(definitions, each.job_name),
            }
            for each in sorted(repository.schedule_defs, key=lambda each: each.name)
        },
        "sensors": {
            each.name: {
                "seconds": each.minimum_interval_seconds,
                "status": each.default_status.value,
                "targets": sorted(
                    key.to_user_string() for key in each.asset_selection.resolve(graph)
                )
                if each.asset_selection
                else [
                    target for job in each.targets for target in _targets(definitions, job.job_name)
                ],
            }
            for each in sorted(repository.sensor_defs, key=lambda each: each.name)
        },
    }


def _parents(graph: Any, key: dg.AssetKey) -> list[dg.AssetKey]:
    """Attributes that stand together for a system are told as one."""
    parents = graph.get(key).parent_keys
    return sorted({dg.AssetKey([p.path[0], "*"]) if len(parents) > 9 else p for p in parents})


def _targets(definitions: dg.Definitions, job: str | None) -> list[str]:
    layer = definitions.resolve_job_def(job or "").asset_layer
    return sorted(key.to_user_string() for key in layer.executable_asset_keys)


def _window(policy: Any) -> str | None:
    return None if policy is None else str(policy.fail_window.to_timedelta())
