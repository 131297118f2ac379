"""Names that the lake's tables have for columns of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.lake import CHANGE_COLUMNS, Lake
from profile_pipelines.landing.difference import incoming_columns
from profile_pipelines_tests.catalog.folders import mistakes_in, replaced, write_catalogue


def _own_columns(folder: Path) -> list[str]:
    catalogue, lake = load_catalogue(write_catalogue(folder)), Lake(folder / "lake")
    source = lake.source(catalogue, "crm", "contacts").columns
    tables = [
        source,
        incoming_columns(source, []),
        lake.identities(catalogue).columns,
        lake.profiles(catalogue).columns,
        lake.audience("all").columns,
        CHANGE_COLUMNS,
    ]
    declared = {"tier", "points"}
    names = {name for columns in tables for name in columns} - declared
    return sorted(name for name in names if not name.endswith(("__source", "__sources")))


def test_no_attribute_may_have_the_name_of_a_column_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is refused, with the line, before any value could be taken for another."""
    monkeypatch.setenv("CRM_URL", "sqlite://")
    names = _own_columns(tmp_path / "whole")
    assert {"deleted", "removed", "profile_id", "id_email"} <= set(names)
    passed: list[str] = []
    for name in names:
        files = {
            **replaced("attributes.yaml", "tier:", f"{name}:"),
            **replaced("sources/crm.yaml", "tier: tier", f"{name}: tier"),
        }
        told = mistakes_in(write_catalogue(tmp_path / name, **files))
        if not any("attributes.yaml:1" in line and "choose another" in line for line in told):
            passed.append(name)
    assert passed == []
