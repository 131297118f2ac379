"""How long the definitions of a large catalogue take to load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

_SYSTEMS, _ATTRIBUTES = 50, 10
_LOAD = """
import json, sys, time
from pathlib import Path
started = time.process_time()
import dagster
imported = time.process_time()
from profile_pipelines.orchestration.build import definitions_at
from profile_pipelines.workspace import Places
definitions = definitions_at(Places(Path(sys.argv[1]), Path(sys.argv[1]) / "lake", "sqlite://"))
repository = definitions.get_repository_def()
loaded = time.process_time()
engines = {"deltalake", "dlt", "duckdb", "pandas", "pandera", "polars", "scipy"}
print(json.dumps({
    "dagster": imported - started,
    "load": loaded - imported,
    "assets": len(repository.asset_graph.get_all_asset_keys()),
    "heavy": sorted(engines & set(sys.modules)),
}))
"""


def test_fifty_systems_load_quickly(tmp_path: Path) -> None:
    """50 systems × 10 attributes take less than 2 CPU seconds, and no engine is imported."""
    _write_catalogue(tmp_path)
    best: dict[str, float] = {"load": 1e9}
    for _ in range(2):  # what others do on the machine at the time makes CPU seconds longer too
        told = subprocess.run(
            [sys.executable, "-c", _LOAD, str(tmp_path)], capture_output=True, text=True, check=True
        )
        best = min(best, json.loads(told.stdout), key=lambda found: found["load"])
        if best["load"] < 2:
            break
    assert best["assets"] == _SYSTEMS * _ATTRIBUTES + 3
    assert best["heavy"] == []
    assert best["load"] < 2, best


def _write_catalogue(folder: Path) -> None:
    (folder / "sources").mkdir()
    (folder / "audiences").mkdir()
    (folder / "catalogue.yaml").write_text("timezone: UTC\n")
    (folder / "identifiers.yaml").write_text("customer_id: {normalise: [trim]}\n")
    attributes: dict[str, object] = {}
    for s in range(_SYSTEMS):
        names = [f"s{s}_a{a}" for a in range(_ATTRIBUTES)]
        attributes |= {
            n: {"type": "string", "sources": [f"s{s}"], "fresh_within": "24h"} for n in names
        }
        sync = {
            "table": "t",
            "identifiers": {"customer_id": "id"},
            "schedule": "0 * * * *",
            "attributes": dict.fromkeys(names, "field"),
        }
        system = {
            "system": f"s{s}",
            "kind": "crm",
            "connection": {"type": "sql", "url": {"env": "CRM_URL"}},
            "syncs": {"main": sync},
        }
        (folder / "sources" / f"s{s}.yaml").write_text(yaml.safe_dump(system))
    (folder / "attributes.yaml").write_text(yaml.safe_dump(attributes))
    audience = {"audience": "some", "where": {"all": [{"s0_a0": {"present": True}}]}}
    (folder / "audiences" / "some.yaml").write_text(yaml.safe_dump(audience))
