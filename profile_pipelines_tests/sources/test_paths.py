"""One table of paths, one kind of source after the other: all find the same."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake

from profile_pipelines.catalog.field_paths import split_path
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.live_check import check_live
from profile_pipelines.sources.reading import Source, problem_of
from profile_pipelines_tests.company import Company, catalogue
from profile_pipelines_tests.sources.api_server import Api, answer, serving
from profile_pipelines_tests.sources.reads import source, table, values

RECORD = {
    "id": "1",
    "tags": ["x", "y"],
    "lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2.5}],
    "custom": [{"id": 6, "value": "tin"}, {"id": 7, "value": "gold"}],
    "info": {"b.c": "dotted", "plan": {"name": "pro"}, "to": [["deep"]]},
    "attrs": {"tier": "silver", "a.b": "quoted"},
    "meta": {"mail": ["Ada@Example.com"], "key": "K1", "at": "2026-01-05T10:00:00Z", "gone": False},
}
EMPTY: dict[str, Any] = dict.fromkeys(RECORD) | {"id": "2"}
PATHS = {
    "tags[0]": "x",
    "tags.1": "y",
    "tags[9]": None,
    "tags[*]": '["x", "y"]',
    "lines[*].sku": '["a", "b"]',
    "lines[*].n": '["1", "2.5"]',
    "lines.0.sku": "a",
    "lines[sku=b].n": "2.5",
    "custom[id=7].value": "gold",
    "custom[id=8].value": None,
    "info.plan.name": "pro",
    "info.b.c": "dotted",
    'info["b.c"]': "dotted",
    'info["plan"].name': "pro",
    "info.to[0][0]": "deep",
    "attrs.tier": "silver",
    'attrs["a.b"]': "quoted",
    "attrs.a.b": "quoted",
    "attrs.none": None,
    '["meta"].key': "K1",
    "meta.gone": "false",
}
TYPES = pa.schema(
    {
        "id": pa.string(),
        "tags": pa.list_(pa.string()),
        "lines": pa.list_(pa.struct({"sku": pa.string(), "n": pa.float64()})),
        "custom": pa.list_(pa.struct({"id": pa.int64(), "value": pa.string()})),
        "info": pa.struct(
            {
                "b.c": pa.string(),
                "plan": pa.struct({"name": pa.string()}),
                "to": pa.list_(pa.list_(pa.string())),
            }
        ),
        "attrs": pa.map_(pa.string(), pa.string()),
        "meta": pa.struct(
            {
                "mail": pa.list_(pa.string()),
                "key": pa.string(),
                "at": pa.timestamp("us", "UTC"),
                "gone": pa.bool_(),
            }
        ),
    }
)
Declared = tuple[dict[str, Any], dict[str, Any]]
"""A connection, and where the sync's records are."""


def as_table() -> pa.Table:
    def typed(record: Mapping[str, Any]) -> dict[str, Any]:
        meta, attrs = record["meta"], record["attrs"]
        if meta is not None:
            meta = {**meta, "at": pa.scalar(meta["at"]).cast(pa.timestamp("us", "UTC")).as_py()}
        return {**record, "meta": meta, "attrs": None if attrs is None else list(attrs.items())}

    return pa.Table.from_pylist([typed(RECORD), typed(EMPTY)], TYPES)


def as_json(record: Mapping[str, Any]) -> list[str | None]:
    return [
        value if value is None or isinstance(value, str) else json.dumps(value)
        for value in record.values()
    ]


def _csv(folder: Path) -> Declared:
    with (folder / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(RECORD), as_json(RECORD), as_json(EMPTY)])
    return {"type": "files", "root": str(folder)}, {"path": "people.csv"}


def _jsonl(folder: Path) -> Declared:
    lines = [json.dumps(record) for record in (RECORD, EMPTY)]
    (folder / "people.jsonl").write_text("\n".join(lines))
    return {"type": "files", "root": str(folder)}, {"path": "people.jsonl"}


def _parquet(folder: Path) -> Declared:
    pq.write_table(as_table(), folder / "people.parquet")
    return {"type": "files", "root": str(folder)}, {"path": "people.parquet"}


def _delta(folder: Path) -> Declared:
    write_deltalake(folder / "people", as_table())
    return {"type": "files", "root": str(folder)}, {"path": "people", "format": "delta"}


def _iceberg(folder: Path) -> Declared:
    from pyiceberg.catalog.sql import SqlCatalog

    with closing(SqlCatalog("c", uri="sqlite://", warehouse=str(folder))) as catalog:
        catalog.create_namespace("crm")
        made = catalog.create_table("crm.people", TYPES, location=f"{folder}/people")
        # as another engine writes them: pyiceberg itself makes missing lists empty ones
        pq.write_table(as_table(), folder / "people/data.parquet")
        made.add_files([f"{folder}/people/data.parquet"])
    return {"type": "files", "root": str(folder)}, {"path": "people", "format": "iceberg"}


def _sqlite(folder: Path) -> Declared:
    with closing(sqlite3.connect(folder / "source.db")) as database, database:
        database.execute(f"create table people ({', '.join(f'{name} text' for name in RECORD)})")
        marks = ", ".join("?" for _ in RECORD)
        rows = [as_json(RECORD), as_json(EMPTY)]
        database.executemany(f"insert into people values ({marks})", rows)
    return {"type": "sql", "url": f"sqlite:///{folder}/source.db"}, {"table": "people"}


def _postgres(url: str) -> Declared:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    kinds = {"id": "text", "tags": "text[]", "lines": "json"}
    columns = ", ".join(f"{name} {kinds.get(name, 'jsonb')}" for name in RECORD)
    marks = ", ".join(f":{name}" for name in RECORD)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table people ({columns})"))
        for record in (RECORD, EMPTY):
            row = dict(zip(RECORD, as_json(record), strict=True)) | {"tags": record["tags"]}
            connection.execute(sa.text(f"insert into people values ({marks})"), row)
    engine.dispose()
    return {"type": "sql", "url": url}, {"table": "people"}


FOLDERS: dict[str, Callable[[Path], Declared]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "delta": _delta,
    "iceberg": _iceberg,
    "sqlite": _sqlite,
}


@pytest.fixture(params=[*FOLDERS, "postgres", "rest", "custom", "arrow"])
def declared(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Declared:
    """The two records in a source of each kind."""
    if request.param in FOLDERS:
        return FOLDERS[request.param](tmp_path)
    if request.param == "postgres":
        return _postgres(request.getfixturevalue("postgres_url"))
    if request.param == "rest":
        api: Api = request.getfixturevalue("people_api")
        api.answers["/people"] = answer([RECORD, EMPTY])
        connection = {"type": "rest", "base_url": api.url, "allow_private": True}
        return connection, {"path": "people"}
    function = "records" if request.param == "custom" else "columns"
    return {"type": "custom", "name": f"{__name__}:{function}"}, {}


@pytest.fixture
def people_api() -> Any:
    with serving() as api:
        yield api


def records(request: object) -> list[dict[str, Any]]:
    """What a user's own function gives."""
    return [RECORD, EMPTY]


def columns(request: object) -> list[pa.Table]:
    """The same as Arrow."""
    return [as_table()]


def test_every_kind_of_source_finds_the_same_by_a_path(declared: Declared) -> None:
    """Lists, maps, structs and JSON are looked into alike; what isn't there is missing."""
    connection, place = declared
    opened = source(connection, **place)
    paths = [
        path
        for path in PATHS
        # records of JSON have only what some of them have
        if PATHS[path] is not None or opened.inspect().get("tags") != "list"
    ]
    found = table(opened, *paths)
    assert not [name for name in found.column_names if name not in paths]
    said = {path: [_as_text(cell) for cell in found.column(path).to_pylist()] for path in paths}
    numbers = {'["1", "2.5"]': "[1, 2.5]", "[1.0, 2.5]": "[1, 2.5]"}
    assert {path: numbers.get(str(first), first) for path, (first, _) in said.items()} == {
        path: numbers.get(str(PATHS[path]), PATHS[path]) for path in paths
    }
    assert {second for _, second in said.values()} == {None}


def _as_text(cell: Any) -> str | None:
    if isinstance(cell, bool):
        return str(cell).lower()
    return cell


def test_what_the_live_check_finds_the_run_finds_in_every_role(
    declared: Declared, tmp_path: Path
) -> None:
    """A path may lead to an identifier, the key, the time of change, the mark of deletion."""
    connection, place = declared
    written = catalogue(("crm",), ("tags", "tier", "status"))
    written["attributes"]["status"]["valid"] = {}
    written["systems"]["crm"] = {
        "system": "crm",
        "kind": "crm",
        "connection": connection,
        "syncs": {
            "people": {
                **place,
                "key": "meta.key",
                "identifiers": {"customer_no": "id", "email": "meta.mail[0]"},
                "updated_at": "meta.at",
                "deleted": "meta.gone",
                "attributes": {
                    "tags": "lines[*].sku",
                    "tier": "custom[id=7].value",
                    "status": "attrs.tier",
                },
            }
        },
    }
    (tmp_path / "company").mkdir()
    company = Company(tmp_path / "company", written)
    live = check_live(company.workspace.catalogue, now=company.now)
    assert live.missing == []
    assert {each.field: each.filled for each in live.syncs[0].fields} == {
        "id": 1.0,
        **dict.fromkeys(["meta.key", "meta.mail[0]", "meta.at", "meta.gone"], 0.5),
        **dict.fromkeys(["lines[*].sku", "custom[id=7].value", "attrs.tier"], 0.5),
    }
    (result,) = company.run()
    assert (result.rows_read, result.changed, result.set_aside) == (2, 2, {})
    company.run()
    told = company.profile("ada@example.com")
    assert told == {"tags": ["a", "b"], "tier": "gold", "status": "silver"}


def test_children_of_aggregates_are_found_by_paths(tmp_path: Path) -> None:
    """A child's field is a path as any other."""
    connection, place = _parquet(tmp_path)
    written = catalogue(("crm",), ("points",))
    written["systems"]["crm"] = {
        "system": "crm",
        "kind": "crm",
        "connection": connection,
        "syncs": {
            "people": {
                **place,
                "key": "id",
                "updated_at": "meta.at",
                "identifiers": {"customer_no": "id"},
                "fields": {"first": {"type": "integer", "field": "lines[0].n"}},
                "attributes": {"points": {"aggregate": {"sum": "first"}}},
            }
        },
    }
    (tmp_path / "company").mkdir()
    company = Company(tmp_path / "company", written)
    company.run()
    assert company.profile("1") == {"points": 1}


CELLS = {
    '{"tier": "gold", "score": NaN}': ("gold", None),
    "{'tier': 'gold'}": ("{'tier': 'gold'}", "isn't JSON"),
    '{"tier": "gold"': ('{"tier": "gold"', "isn't JSON"),
    "gold": ("gold", "isn't JSON"),
    "5": ("5", "isn't a JSON object or list"),
    '"gold"': ('"gold"', "isn't a JSON object or list"),
    '["gold"]': (None, None),
    "{}": (None, None),
    "null": (None, None),
    " ": (None, None),
    "NULL": (None, None),
    r"\N": (None, None),
    None: (None, None),
}


@pytest.mark.parametrize("kind", ["csv", "parquet", "sqlite"])
def test_a_cell_that_is_not_json_is_a_problem(tmp_path: Path, kind: str) -> None:
    """It isn't missing: nobody knows what it says. Blank cells and JSON's null are missing."""
    cells = list(CELLS)
    if kind == "csv":
        with (tmp_path / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "data"], *([at, c] for at, c in enumerate(cells))])
        opened = source({"type": "files", "root": str(tmp_path)}, path="a.csv")
    elif kind == "parquet":
        pq.write_table(pa.table({"data": cells}), tmp_path / "a.parquet")
        opened = source({"type": "files", "root": str(tmp_path)}, path="a.parquet")
    else:
        with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
            database.execute("create table people (data text)")
            database.executemany("insert into people values (?)", [(cell,) for cell in cells])
        opened = source({"type": "sql", "url": f"sqlite:///{tmp_path}/a.db"}, table="people")
    found = table(opened, "data.tier")
    assert found.column("data.tier").to_pylist() == [cell for cell, _ in CELLS.values()]
    assert found.column(problem_of("data.tier")).to_pylist() == [why for _, why in CELLS.values()]


INFINITE = {"n": float("inf"), "info": {"n": -float("inf"), "m": float("nan")}, "all": [1.5]}


def infinite(request: object) -> list[dict[str, Any]]:
    """What a user's own function gives."""
    return [INFINITE]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "sqlite", "parquet", "rest", "custom"])
def test_infinity_is_a_problem_in_every_kind_of_source(
    tmp_path: Path, people_api: Api, kind: str
) -> None:
    """It is no number, and not missing; NaN says that there is none. A struct or list of which a
    part can't be read is a problem, too."""
    text = json.dumps(INFINITE)
    opened: Source | None = None
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text(text)
    elif kind == "csv":
        with (tmp_path / "a.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["id", "info"], ["1", json.dumps(INFINITE["info"])]])
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([INFINITE]), tmp_path / "a.parquet")
    elif kind == "sqlite":
        with closing(sqlite3.connect(tmp_path / "a.db")) as database, database:
            database.execute("create table people (info text)")
            database.execute("insert into people values (?)", [json.dumps(INFINITE["info"])])
        opened = source({"type": "sql", "url": f"sqlite:///{tmp_path}/a.db"}, table="people")
    elif kind == "rest":
        people_api.answers["/people"] = answer(f"[{text}]")
        connection = {"type": "rest", "base_url": people_api.url, "allow_private": True}
        opened = source(connection, path="people")
    else:
        opened = source({"type": "custom", "name": f"{__name__}:infinite"})
    opened = opened or source({"type": "files", "root": str(tmp_path)}, path=f"a.{kind}")
    [found] = table(opened, "info.n", "info.m").to_pylist()
    if kind == "parquet":  # it is a float there, which validation refuses
        assert found["info.n"] == -float("inf")
    else:
        assert found.pop(problem_of("info.n")) == "infinity is no number"
        assert found == {"info.n": "-Infinity", "info.m": None}
    if kind in ("csv", "sqlite"):  # JSON as a whole is text there
        return
    [found] = table(opened, "info", "all").to_pylist()
    assert found[problem_of("info")] == "infinity is no number"
    assert problem_of("all") not in found
    if kind != "parquet":
        [found] = table(opened, "n", "all").to_pylist()
        assert (found["n"], found[problem_of("n")]) == ("Infinity", "infinity is no number")


def test_bytes_within_a_list_are_a_problem_only_where_they_are_wanted(tmp_path: Path) -> None:
    """Beside a member that isn't text in UTF-8 the others are read."""
    lines = pa.array([[{"a": b"x", "b": b"\xff"}]])
    pq.write_table(pa.table({"lines": lines}), tmp_path / "a.parquet")
    opened = source({"type": "files", "root": str(tmp_path)}, path="a.parquet")
    assert table(opened, "lines[0].a", "lines[0].b").to_pylist() == [
        {
            "lines[0].a": "x",
            "lines[0].b": "�",
            problem_of("lines[0].b"): "isn't text in UTF-8",
        }
    ]


def test_names_with_dots_and_brackets_win(tmp_path: Path) -> None:
    """A column is what bears the very name, whatever the name looks like."""
    odd = {"tags[0]": "column", "tags": ["x"], "a.b": "column", "a": {"b": "member"}, "c[": "odd"}
    pq.write_table(pa.Table.from_pylist([odd]), tmp_path / "a.parquet")
    opened = source({"type": "files", "root": str(tmp_path)}, path="a.parquet")
    assert table(opened, "tags[0]", "a.b", 'a["b"]', "c[").to_pylist() == [
        {"tags[0]": "column", "a.b": "column", 'a["b"]': "member", "c[": "odd"}
    ]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("a", ("a", "")),
        ("a.b", ("a.b", "")),
        ("a.b.c", ("a.b", "c")),
        ("a.c", ("a", "c")),
        ("a[0].b", ("a", "[0].b")),
        ('["a.b"].c', ("a.b", "c")),
        ('["a.b"]', ("a.b", "")),
        ("x[1].y", ("x[1]", "y")),
        ("a.", None),
        ("ab", None),
        ("b.a", None),
    ],
)
def test_a_path_begins_with_the_longest_name(path: str, split: tuple[str, str] | None) -> None:
    """The rest leads on from there; what begins with no name is told apart."""
    assert split_path(path, ["a", "a.b", "x[1]"]) == split


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tags[x]", r"picks no entry of a list; write for example"),
        ("id.x", "isn't JSON"),
        ("info.nope", r"info has no member 'nope': there are: b\.c, plan, to"),
        ("number.x", "the column number holds int64, in which nothing stands by a path"),
        ("tag[0]", r"no column 'tag\[0\]': did you mean tags"),
    ],
)
def test_paths_that_lead_nowhere_are_told(tmp_path: Path, path: str, said: str) -> None:
    """A path that can't be right is no missing value."""
    data = as_table().append_column("number", pa.array([1, 2]))
    pq.write_table(data, tmp_path / "a.parquet")
    opened = source({"type": "files", "root": str(tmp_path)}, path="a.parquet")
    if path == "id.x":
        assert table(opened, path).column(problem_of(path)).to_pylist()[0].startswith("isn't")
        return
    with pytest.raises(MissingField, match=said):
        values(opened, path)


@pytest.mark.parametrize("role", ["identifiers", "key", "updated_at", "deleted"])
def test_a_list_where_one_value_is_needed_is_refused(tmp_path: Path, role: str) -> None:
    """The message says what to write; a list that is made one value is read."""
    _parquet(tmp_path)
    connection = {"type": "files", "root": str(tmp_path)}
    mapped: Any = {"email": "tags"} if role == "identifiers" else "tags"
    with pytest.raises(SourceError, match=r"takes one value, and tags is a list; write tags\[0\]"):
        values(source(connection, path="people.parquet", **{role: mapped}), "tags")
    made = {"field": "tags", "convert": ["first"]}
    mapped = {"email": made} if role == "identifiers" else made
    opened = source(connection, path="people.parquet", **{role: mapped})
    assert values(opened, "tags") == [["x", "y"], None]
