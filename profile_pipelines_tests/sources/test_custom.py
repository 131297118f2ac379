from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import ReadRequest
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
MODULE = """
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
import pyarrow as pa

def people(request, region, path="all"):
    yield {"id": 1, "info": {"plan": "plus"}, "since": str(request.since), "region": region}
    yield {"id": "2", "info": None, "path": path}

def typed(request):
    yield pa.table({"id": [1, 2], "skip": [0, 0]})

def mixed(request):
    yield pa.table({"id": [1], "n": [1]})
    yield pa.table({"id": [2], "n": [0.5]})
    yield pa.table({"id": [3], "n": [None]})
    if request.since:
        yield pa.table({"id": ["x"], "n": [1]})

def broken(request):
    yield {"id": 1}
    raise ValueError("bob@example.org")

def odd(request):
    yield "bob@example.org"

def driver(request):
    at, day = datetime(2026, 3, 1, 9, 30, tzinfo=UTC), date(2026, 3, 1)
    yield {"id": uuid.UUID(int=7), "at": at, "day": day, "price": Decimal("1.10"), "share": 0.1,
           "list": [day, Decimal("1.10")]}

def marked(request):
    return []
marked.change_mark = lambda: 7
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with sources, as pip leaves it: a module, and metadata with entry points."""
    (tmp_path / "our_sources.py").write_text(MODULE)
    info = tmp_path / "our_sources-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-sources\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[profile_pipelines.sources]\nour_people = our_sources:people\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("our_sources", None)


def custom(name: str, **options: object) -> dict[str, object]:
    return {"type": "custom", "name": name, "options": options}


@pytest.mark.parametrize("name", ["our_people", "our_sources:people"])
def test_dictionaries_come_as_text_by_path(
    installed: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The function gets the request, its options with secrets resolved, and the sync's path."""
    monkeypatch.setenv("REGION", "eu")
    opened = source(custom(name, region={"env": "REGION"}), path="some", updated_at="since")
    found = table(opened, "id", "info.plan", "since", "region", "path", since=NOON)
    assert found.to_pylist() == [
        {"id": "1", "info.plan": "plus", "since": str(NOON), "region": "eu", "path": None},
        {"id": "2", "info.plan": None, "since": None, "region": None, "path": "some"},
    ]
    assert opened.inspect()["info.plan"] == "string"
    assert opened.change_mark() is None


def test_what_drivers_give_is_written_as_text(installed: Path) -> None:
    """Dates and times as ISO 8601, decimals in their one spelling, all others as printed."""
    fields = ("id", "at", "day", "price", "share", "list")
    assert table(source(custom("our_sources:driver")), *fields).to_pylist() == [
        {
            "id": "00000000-0000-0000-0000-000000000007",
            "at": "2026-03-01T09:30:00+00:00",
            "day": "2026-03-01",
            "price": "1.1",
            "share": "0.1",
            "list": '["2026-03-01", 1.1]',
        }
    ]


def test_arrow_keeps_its_types(installed: Path) -> None:
    """Tables come with the columns asked for; a column that isn't there is named."""
    opened = source(custom("our_sources:typed"))
    assert table(opened, "id").schema.field("id").type == pa.int64()
    assert values(opened, "id") == [1, 2]
    with pytest.raises(SourceError, match=r"'idd'.*did you mean id"):
        values(opened, "idd")


def test_parts_of_arrow_go_together_or_are_told_apart(installed: Path) -> None:
    """Numbers of several types are numbers, and nulls of anything; text beside numbers isn't."""
    read = source(custom("our_sources:mixed")).read(ReadRequest(("id", "n")))
    assert [batch.column(1).to_pylist() for batch in read] == [[1], [0.5], [None]]
    read = source(custom("our_sources:mixed")).read(ReadRequest(("id", "n"), NOON))
    with pytest.raises(SourceError, match="gives id as int64 and then as string; give it one"):
        list(read)


def test_a_mark_of_its_own_is_asked(installed: Path) -> None:
    """A function that can tell cheaply whether something changed is asked so."""
    assert source(custom("our_sources:marked")).change_mark() == "7"


def test_errors_of_the_users_code_are_told_by_their_place(installed: Path) -> None:
    """Kind, file and line are shown; the text, which may quote records, isn't."""
    line = MODULE.splitlines().index('    raise ValueError("bob@example.org")') + 1
    place = rf"fails with ValueError at .*our_sources\.py:{line}"
    with pytest.raises(SourceError, match=place) as caught:
        values(source(custom("our_sources:broken")), "id")
    assert "bob" not in str(caught.value)
    with pytest.raises(SourceError, match="yields str; dictionaries") as caught:
        values(source(custom("our_sources:odd")), "id")
    assert "bob" not in str(caught.value)


def test_names_that_lead_nowhere_are_explained(installed: Path) -> None:
    """No module, no function and no entry point are told apart."""
    for name, problem in (
        ("nowhere:people", "no Python module nowhere"),
        ("our_sources:peeple", "no function 'peeple'"),
        ("our_peeple", "did you mean our_people"),
    ):
        with pytest.raises(SourceError, match=problem):
            source(custom(name))
