from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import Source
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
PEOPLE = pa.table(
    {
        "id": [0, 1, 2],
        "at": pa.array([NOON - timedelta(hours=1), NOON, None], pa.timestamp("us", "UTC")),
        "info": [{"plan": "plus"}, {"plan": None}, None],
    }
)


@contextmanager
def written(location: str, **properties: str) -> Iterator[Any]:
    """An Iceberg table with two snapshots' worth of people, kept by a catalogue in memory."""
    catalogue = SqlCatalog("c", uri="sqlite://", warehouse=location, **properties)
    catalogue.create_namespace("crm")
    made = catalogue.create_table("crm.people", PEOPLE.schema, location=f"{location}/people")
    made.append(PEOPLE)
    try:
        yield made
    finally:
        catalogue.close()


def files(root: str, options: dict[str, str] | None = None, **sync: Any) -> Source:
    connection = {"type": "files", "root": root, "options": options or {}}
    return source(connection, **{"path": "people", "format": "iceberg", **sync})


def test_the_present_snapshot_is_read_without_a_catalogue_service(tmp_path: Path) -> None:
    """Types stay, members of structs are found, older records are skipped, the mark moves."""
    with written(str(tmp_path)) as people:
        opened = files(str(tmp_path), updated_at="at")
        found = table(opened, "id", "at", "info.plan")
        assert found.to_pydict() == {
            "id": [0, 1, 2],
            "at": [NOON - timedelta(hours=1), NOON, None],
            "info.plan": ["plus", None, None],
        }
        assert values(opened, "id", since=NOON) == [1, 2]
        assert opened.inspect()["id"] == "int64"
        before = opened.change_mark()
        assert files(str(tmp_path)).change_mark() == before
        people.delete("id = 1")
        assert opened.change_mark() != before
        assert values(files(str(tmp_path)), "id") == [0, 2]
        pinned = Path(people.metadata_location.removeprefix("file://"))
        by_name = files(str(tmp_path), path=str(pinned.relative_to(tmp_path)))
        assert values(by_name, "id") == [0, 2]


def test_tables_on_s3_are_read_with_the_connections_options(
    s3_bucket: tuple[str, dict[str, str]],
) -> None:
    """Metadata, manifests and data files are all opened with the one set of options."""
    url, options = s3_bucket
    properties = {
        "s3.endpoint": options["aws_endpoint_url"],
        "s3.access-key-id": options["aws_access_key_id"],
        "s3.secret-access-key": options["aws_secret_access_key"],
        "s3.region": options["aws_region"],
    }
    with written(url, **properties):
        assert values(files(url, options), "id") == [0, 1, 2]


def test_a_table_that_names_files_outside_of_the_root_is_refused(tmp_path: Path) -> None:
    """Metadata may name any file there is; only what lies below the root is opened."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    with written(str(outside)):
        (root / "people").mkdir(parents=True)
        (root / "people/metadata").mkdir()
        for file in (outside / "people/metadata").glob("*.metadata.json"):
            (root / "people/metadata" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SourceError, match="names a file outside of the root"):
        values(files(str(root)), "id")


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    """No table, a broken one and a missing column are told apart."""
    (tmp_path / "people").mkdir()
    with pytest.raises(SourceError, match="no Iceberg table people"):
        values(files(str(tmp_path)), "id")
    (tmp_path / "people/metadata").mkdir()
    (tmp_path / "people/metadata/v1.metadata.json").write_text('{"bob": 1')
    with pytest.raises(SourceError, match="can't be read") as caught:
        values(files(str(tmp_path)), "id")
    assert "bob" not in str(caught.value)
    with written(str(tmp_path / "x")), pytest.raises(SourceError, match=r"'idd'.*did you mean id"):
        values(files(str(tmp_path / "x")), "idd")
