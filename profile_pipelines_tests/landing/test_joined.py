"""Values of several fields are the same from every kind of source, in every role."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines import pipeline
from profile_pipelines.catalog.systems import SourceField, Sync
from profile_pipelines.lake_place import lake_place
from profile_pipelines.live_check import check_live
from profile_pipelines.sources.reading import problem_of
from profile_pipelines.validation.joined import with_joined
from profile_pipelines.workspace import Places, Workspace
from profile_pipelines_tests.catalog.folders import crm, mistakes_in, write_catalogue
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

NAME = {"join": ["status", "tier"]}


def joining(**changes: Any) -> dict[str, Any]:
    """A catalogue of one system whose names are joined of two columns."""
    declared = catalogue(("crm",), ("status", "points"))
    declared["attributes"] = {
        "name": {"type": "string", "sources": ["crm"], "fresh_within": "24h"},
        "points": declared["attributes"]["points"],
    }
    sync = declared["systems"]["crm"]["syncs"]["people"]
    sync["attributes"] = {"name": NAME, "points": "points"}
    sync.update(changes)
    return declared


def test_missing_parts_are_left_out(tmp_path: Path) -> None:
    """With what would stand between; without any part there is no value."""
    company = Company(tmp_path, joining())
    parts = [("Ada", "Lovelace"), ("Ada", None), (" ", "Lovelace "), (None, None), ("NULL", "B")]
    for number, (first, last) in enumerate(parts, start=1):
        company.add("crm", str(number), no=str(number), status=first, tier=last, changed=stamp(-1))
    company.run()
    found = [company.profile(str(number + 1)).get("name") for number in range(len(parts))]
    assert found == ["Ada Lovelace", "Ada", "Lovelace", None, "B"]


def test_steps_follow_the_join(tmp_path: Path) -> None:
    """`convert` takes the joined text, and a cadence of its own reads both parts."""
    mapped = {**NAME, "with": "/", "convert": ["lower", {"default": "nobody"}],
              "schedule": "*/5 * * * *"}  # fmt: skip
    company = Company(tmp_path, joining(attributes={"name": mapped, "points": "points"}))
    company.add("crm", "1", no="1", status="Ada", tier="L", changed=stamp(-1))
    company.add("crm", "2", no="2", changed=stamp(-1))
    company.sync("crm", "name")
    company.settle()
    assert [company.profile(number)["name"] for number in "12"] == ["ada/l", "nobody"]


def test_a_key_and_an_identifier_of_two_columns(tmp_path: Path) -> None:
    """Numbers have their one spelling; a record with another second part is another record."""
    changes = {
        "key": {"join": ["id", "seen"], "with": "-"},
        "identifiers": {"customer_no": {"join": ["status", "tier"], "with": ""}},
        "attributes": {"points": "points"},
    }
    declared = joining(**changes)
    del declared["attributes"]["name"]
    company = Company(tmp_path, declared)
    company.add("crm", "7.0", seen="1", status="a", tier="1", points="1", changed=stamp(-1))
    company.add("crm", "7", seen="2", status="a", tier="2", points="2", changed=stamp(-1))
    company.add("crm", "1.5E+12", seen="2", status="a", tier="4.91234E+11", changed=stamp(-1))
    result = company.run()[0]
    lost = "a number that lost digits: scientific notation shows fewer than it stands for"
    assert result.unread == {
        "customer_no": {f"tier: {lost}": 1}, "record_key": {f"id: {lost}": 1}
    }  # fmt: skip
    company.execute("crm", "update people set id = '7', points = '5' where seen = '1'")
    company.sync("crm", full=True)
    company.settle()
    assert (company.profile("A1"), company.profile("A2")) == ({"points": 5}, {"points": 2})


def test_a_time_of_two_columns(tmp_path: Path) -> None:
    """Changes are found by it, and the newer of two records counts."""
    declared = joining(updated_at={"join": ["since", "seen"], "with": "T"})
    company = Company(tmp_path, declared)
    company.add("crm", "1", no="1", status="old", since="2026-03-01", seen="09:00:00")
    company.add("crm", "1", no="1", status="new", since="2026-03-01", seen="10:00:00")
    company.add("crm", "1", no="1", status="older", since="2026-02-28", seen="23:00:00")
    company.run()
    assert company.profile("1") == {"name": "new"}
    company.put("crm", "1", no="1", status="newest", since="2026-03-02", seen="09:00:00")
    assert company.sync("crm").changed == 1
    company.settle()
    assert company.profile("1") == {"name": "newest"}


def test_a_child_field_of_two_columns(tmp_path: Path) -> None:
    """What is aggregated may be joined."""
    declared = joining(
        fields={"what": {"type": "string", **NAME, "with": ":"}},
        identifiers={"customer_no": "no"},
        attributes={"name": {"aggregate": {"last": "what"}},
                    "points": {"aggregate": "count"}},
    )  # fmt: skip
    company = Company(tmp_path, declared)
    company.add("crm", "1", no="1", status="open", tier="a", changed=stamp(-2))
    company.add("crm", "2", no="1", status="done", tier="b", changed=stamp(-1))
    company.run()
    assert company.profile("1") == {"name": "done:b", "points": 2}


def test_a_lost_part_sets_the_value_aside(tmp_path: Path) -> None:
    """Half of a name isn't taken for the name; others are read."""
    company = Company(tmp_path, joining())
    company.put("crm", "1", no="1", status="Ada", tier="Lovelace", points="1", changed=stamp(-2))
    company.run()
    company.execute("crm", "alter table people rename column tier to level")
    company.execute("crm", "update people set points = '2', changed = ?", stamp(0))
    [result] = company.run()
    [excess] = result.set_aside["name"]
    assert "the source has no field tier" in (excess.detail or "")
    assert company.profile("1") == {"name": "Ada Lovelace", "points": 2}
    [live] = check_live(company.workspace.catalogue, now=company.now).syncs
    named = {each.field: each.exists for each in live.fields if each.name == "name"}
    assert named == {"status": True, "tier": False}


def test_another_separator_is_read_anew(tmp_path: Path) -> None:
    """The catalogue changed, the source didn't."""
    company = Company(tmp_path, joining())
    company.put("crm", "1", no="1", status="Ada", tier="L", changed=stamp(-2))
    company.run()
    company.declare(joining(attributes={"name": {**NAME, "with": ", "}, "points": "points"}))
    company.run()
    assert company.profile("1") == {"name": "Ada, L"}


RECORDS = [
    {"id": 1, "who": {"first": "Ada", "last": "L"}, "n": 7},
    {"id": 2, "who": {"first": "Bob"}, "n": 2.0},
    {"id": 3, "who": {}, "n": None},
]


def _jsonl(folder: Path) -> str:
    (folder / "people.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    return "people.jsonl"


def _csv(folder: Path) -> str:
    rows = "\n".join(f"{r['id']};'{json.dumps(r['who'])}';{r['n'] or ''}" for r in RECORDS)
    (folder / "people.csv").write_text(f"id;who;n\n{rows}\n".replace("'", ""))
    return "people.csv"


def _parquet(folder: Path) -> str:
    kind = pa.struct({"first": pa.string(), "last": pa.string()})
    table = pa.table(
        {
            "id": pa.array([r["id"] for r in RECORDS]),
            "who": pa.array([r["who"] for r in RECORDS], kind),
            "n": pa.array([r["n"] for r in RECORDS], pa.float64()),
        }
    )
    pl.DataFrame(pl.from_arrow(table)).write_parquet(folder / "people.parquet")
    return "people.parquet"


@pytest.mark.parametrize("write", [_jsonl, _csv, _parquet])
def test_paths_in_files_are_joined(tmp_path: Path, write: Callable[[Path], str]) -> None:
    """Members of objects and plain fields, from JSON, CSV and Parquet alike."""
    path = write(tmp_path)
    mapped = {"join": ["who.first", "who.last", "n"], "with": " "}
    csv = {"csv": {"delimiter": ";", "quote": False}} if path.endswith("csv") else {}
    sync = {"path": path, **csv, "identifiers": {"no": "id"}, "attributes": {"name": mapped}}
    files: dict[str, Any] = {
        "identifiers.yaml": {"no": {}},
        "attributes.yaml": {"name": {"type": "string", "sources": ["shop"], "fresh_within": "24h"}},
        "sources/shop.yaml": {
            "system": "shop",
            "kind": "ecommerce",
            "connection": {"type": "files", "root": str(tmp_path)},
            "syncs": {"people": sync},
        },
    }
    root = tmp_path / "catalog"
    (root / "sources").mkdir(parents=True)
    for name, content in files.items():
        (root / name).write_text(yaml.safe_dump(content))
    places = Places(root, lake_place(str(tmp_path / "lake")), f"sqlite:///{tmp_path}/ledger.db")
    workspace = Workspace(places)
    due = pipeline.DueSync("shop", "people", ("name",))
    pipeline.sync_attributes(workspace, due, now=START, run_id="one")
    pinned = workspace.lake.source(workspace.catalogue, "shop", "people").pin()
    rows = pinned.current(["record_key", "name"], "r")
    found = workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    assert {row["record_key"].removeprefix("no:"): row["name"] for row in found} == {
        "1": "Ada L 7", "2": "Bob 2", "3": None,
    }  # fmt: skip
    [live] = check_live(workspace.catalogue, now=START + HOUR).syncs
    assert [each.field for each in live.fields if each.name == "name"] == mapped["join"]
    assert not any(each.problem for each in live.fields)


CELL = st.none() | st.sampled_from(["a", " b ", "", "NULL", "1.50", "7.0"])
SHOWN = {None: None, "a": "a", " b ": "b", "": None, "NULL": None, "1.50": "1.50", "7.0": "7"}


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1), st.sampled_from([" ", "", ", "]))
def test_joined_as_by_hand(rows: list[tuple[str | None, ...]], between: str) -> None:
    """Any parts, in any number of rows."""
    field = SourceField.model_validate({"join": ["x", "y", "z"], "with": between})
    sync = Sync.model_validate({"identifiers": {"no": "x"}, "attributes": {"name": field}})
    kinds = dict.fromkeys("xyz", pl.String)
    raw = pl.DataFrame(rows, schema=kinds, orient="row")
    found = with_joined(raw, sync, ["name"])[field.field].to_list()
    assert found == [between.join(s for c in row if (s := SHOWN[c])) or None for row in rows]


def test_typed_parts_have_one_spelling() -> None:
    """As the same values have alone; a part that can't be read makes the whole unreadable."""
    field = SourceField.model_validate({"join": ["d", "n", "f", "t"], "with": " "})
    sync = Sync.model_validate({"identifiers": {"no": "n"}, "attributes": {"name": field}})
    raw = pl.DataFrame(
        {
            "d": [date(2026, 1, 5), None],
            "n": [Decimal("7.50"), Decimal("8.00")],
            "f": [3.0, float("nan")],
            "t": [time(9, 30), None],
            problem_of("t"): [None, "isn't a time"],
        }
    )
    found = with_joined(raw, sync, ["name"])
    assert found[field.field].to_list()[0] == "2026-01-05 7.5 3 09:30:00"
    assert found[problem_of(field.field)].to_list() == [None, "t: isn't a time"]


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ("{join: [a]}", ".join: "),
        ("{join: [a, b], field: c}", ": takes `field` or `join`, not both"),
        ("{field: a, with: x}", ": `with` goes with `join`, the fields that it stands between"),
        ("{join: [a, 'b[*].c']}", ".join[1]: gives a list; write the path of one value"),
        ("{join: a}", ".join: "),
    ],
)
def test_mistakes(tmp_path: Path, mapped: str, expected: str) -> None:
    """Each says what is wrong at its place."""
    [found] = mistakes_in(write_catalogue(tmp_path, **crm("tier: tier", f"tier: {mapped}")))
    assert f"attributes.tier{expected}" in found


def test_times_without_a_zone_keep_their_zone(tmp_path: Path) -> None:
    """A date and a time of two columns are meant on the sync's clock."""
    declared = joining(
        updated_at={"join": ["since", "seen"], "with": " "}, zone="Europe/Berlin"
    )  # fmt: skip
    company = Company(tmp_path, declared)
    company.add("crm", "1", no="1", status="x", since="2026-03-01", seen="09:00:00")
    company.run()
    pinned = company.workspace.lake.source(company.workspace.catalogue, "crm", "people").pin()
    rows = pinned.current(["updated_at"], "r")
    [row] = company.workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    assert row["updated_at"].astimezone(UTC) == datetime(2026, 3, 1, 8, tzinfo=UTC)
