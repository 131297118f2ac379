from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import BATCH_ROWS, ReadRequest, Source
from profile_pipelines_tests.sources.reads import source, table, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def files(root: Path | str, path: str, **sync: Any) -> Source:
    return source({"type": "files", "root": str(root)}, path=path, **sync)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_csv_comes_as_text_column_by_column(tmp_path: Path) -> None:
    """Only the fields asked for come, zeros and quotes are kept, empty cells are null."""
    write(tmp_path / "a.csv", 'id,skip,name\r\n007,x,"Ann, ""A"""\r\n1,,\r\n')
    write(tmp_path / "b.csv", '\ufeffname,id\n"two\nlines",2\n"",3\n')
    assert table(files(tmp_path, "*.csv"), "name", "id").to_pydict() == {
        "name": ['Ann, "A"', None, "two\nlines", ""],
        "id": ["007", "1", "2", "3"],
    }


def test_json_lines_come_as_text_by_path(tmp_path: Path) -> None:
    """Nested fields are found, numbers have one spelling, blank lines don't count."""
    write(tmp_path / "a.jsonl", '\ufeff{"id": 1.10, "a": {"b": [true]}}\n\n{"id": null}')
    write(tmp_path / "b.ndjson.gz", gzip.compress(b'{"id": "x", "a.b.0": "y"}\n'))
    assert values(files(tmp_path, "a.jsonl"), "id") == ["1.1", None]
    assert values(files(tmp_path, "*.jsonl"), "a.b.0") == ["true", None]
    assert values(files(tmp_path, "*.ndjson.gz"), "a.b.0") == ["y"]


def test_parquet_lists_are_looked_into(tmp_path: Path) -> None:
    """Brackets pick from lists, also from those of structs; a struct's member keeps its type."""
    rows = [{"lines": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "tags": ["x"], "s": {"n": 7}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    opened = files(tmp_path, "*.parquet")
    assert table(opened, "lines[*].sku", "lines[sku=b].n", "tags[0]", "s.n").to_pylist() == [
        {"lines[*].sku": '["a", "b"]', "lines[sku=b].n": "2", "tags[0]": "x", "s.n": 7}
    ]


def test_parquet_keeps_its_types_over_files_that_differ(tmp_path: Path) -> None:
    """Numbers are widened, a column that one file lacks is null there."""
    pq.write_table(
        pa.table(
            {
                "id": pa.array([1], pa.int32()),
                "at": pa.array([datetime(2024, 5, 1, 12)], pa.timestamp("ms")),
                "tag": pa.array(["x"]).dictionary_encode(),
                "list": [["a", "b"]],
                "info": [{"plan": {"name": "plus"}}],
                "sum": [Decimal("1.50")],
                "day": [date(2024, 5, 1)],
            }
        ),
        tmp_path / "a.parquet",
    )
    pq.write_table(pa.table({"id": pa.array([2], pa.int64())}), tmp_path / "b.parquet")
    opened = files(tmp_path, "*.parquet")
    fields = ("at", "id", "tag", "list", "info", "info.plan.name", "sum", "day")
    found = table(opened, *fields)
    assert found.slice(0, 1).to_pylist() == [
        {
            "at": NOON.replace(tzinfo=None),
            "id": 1,
            "tag": "x",
            "list": ["a", "b"],
            "info": '{"plan": {"name": "plus"}}',
            "info.plan.name": "plus",
            "sum": Decimal("1.50"),
            "day": date(2024, 5, 1),
        }
    ]
    assert found.column("id").to_pylist() == [1, 2]
    assert found.column("at").type == pa.timestamp("us")
    assert found.column("tag").to_pylist() == ["x", None]
    assert opened.inspect()["id"] == "int64"


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_incremental_reads_of_typed_files_skip_what_is_older(
    tmp_path: Path, zone: str | None, kind: str
) -> None:
    """Records at the cursor and those without a time come, older ones don't."""
    times = [datetime(2024, 5, 1, hour, tzinfo=UTC) for hour in (11, 12, 13)]
    naive = pa.array([time.replace(tzinfo=None) for time in times] + [None], pa.timestamp("us"))
    at = naive if zone is None else naive.cast(pa.timestamp("us", "UTC"))
    data = pa.table({"id": [0, 1, 2, 3], "at": at.cast(pa.timestamp("us", zone))})
    if kind == "delta":
        write_deltalake(tmp_path / "people", data.set_column(1, "at", at))
        opened = files(tmp_path, "people", updated_at="at")
    else:
        pq.write_table(data, tmp_path / "people.parquet")
        opened = files(tmp_path, "people.parquet", updated_at="at")
    assert values(opened, "id", since=NOON) == [1, 2, 3]
    assert values(opened, "id") == [0, 1, 2, 3]
    assert opened.has_newer(NOON) is None


def test_text_files_and_times_in_text_are_read_whole(tmp_path: Path) -> None:
    """Where times can't be compared nothing is left out."""
    write(tmp_path / "a.csv", "id,at\n1,2020-01-01\n")
    pq.write_table(pa.table({"id": [1], "at": ["2020-01-01"]}), tmp_path / "a.parquet")
    assert values(files(tmp_path, "a.csv", updated_at="at"), "id", since=NOON) == ["1"]
    assert values(files(tmp_path, "a.parquet", updated_at="at"), "id", since=NOON) == [1]


def test_delta_tables_are_read_at_their_present_version(tmp_path: Path) -> None:
    """Deleted rows don't come, and the mark is the table's version."""
    write_deltalake(tmp_path / "lake/people", pa.table({"id": [1, 2], "part": ["a", "b"]}))
    opened = files(tmp_path, "lake/people")
    before = opened.change_mark()
    assert before == files(tmp_path, "lake/people").change_mark()
    DeltaTable(tmp_path / "lake/people").delete("id = 1")
    assert opened.change_mark() != before
    assert values(opened, "id") == [2]
    assert sorted(opened.inspect()) == ["id", "part"]


def test_large_files_come_in_bounded_batches(tmp_path: Path) -> None:
    """No kind of file yields a batch above the limit."""
    rows = BATCH_ROWS + 30_000
    pq.write_table(pa.table({"id": range(rows)}), tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "id\n" + "\n".join(map(str, range(rows))))
    write(tmp_path / "a.jsonl", "\n".join(f'{{"id":{n}}}' for n in range(rows)))
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        batches = list(files(tmp_path, name).read(ReadRequest(("id",))))
        assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
        assert sum(batch.num_rows for batch in batches) == rows


def test_wildcards_stay_within_folders_unless_doubled(tmp_path: Path) -> None:
    """`*` names files of one folder, `**` of all below; unfinished files don't count."""
    for name in ("a.csv", "x/b.csv", "x/y/c.csv", "x/.d.csv", "x/_e.csv", "x/f.csvx"):
        write(tmp_path / name, f"id\n{name}\n")
    found = {
        pattern: values(files(tmp_path, pattern, format="csv"), "id")
        for pattern in ("*.csv", "x/*.csv", "*/b.csv", "**/*.csv", "x/**/?.csv", "./x/y/c.csv")
    }
    assert found == {
        "*.csv": ["a.csv"],
        "x/*.csv": ["x/b.csv"],
        "*/b.csv": ["x/b.csv"],
        "**/*.csv": ["a.csv", "x/b.csv", "x/y/c.csv"],
        "x/**/?.csv": ["x/b.csv", "x/y/c.csv"],
        "./x/y/c.csv": ["x/y/c.csv"],
    }


@pytest.mark.parametrize("path", ["../out.csv", "x/../../out.csv", "/etc/x.csv", "file:///x.csv"])
def test_paths_out_of_the_root_are_refused(tmp_path: Path, path: str) -> None:
    """A path may only lead downwards."""
    with pytest.raises(SourceError, match="leads out of the root"):
        files(tmp_path, path)


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    """A link below the root opens nothing outside it."""
    write(tmp_path / "secret.csv", "id\n1\n")
    write_deltalake(tmp_path / "secret", pa.table({"id": [1]}))
    root = tmp_path / "root"
    root.mkdir()
    for name in ("secret.csv", "secret"):
        (root / name).symlink_to(tmp_path / name)
    for opened in (files(root, "*.csv"), files(root, "secret", format="delta")):
        with pytest.raises(SourceError, match="link that leads out"):
            values(opened, "id")


def test_a_missing_field_is_named_with_its_likeliest_spelling(tmp_path: Path) -> None:
    """Every kind of file says which field isn't there."""
    pq.write_table(pa.table({"email": ["x"]}), tmp_path / "a.parquet")
    write_deltalake(tmp_path / "people", pa.table({"email": ["x"]}))
    write(tmp_path / "a.csv", "email\nx\n")
    write(tmp_path / "a.jsonl", '{"email": "x"}\n')
    for name in ("a.parquet", "people", "a.csv", "a.jsonl"):
        with pytest.raises(SourceError, match=r"crm\.people.*'e_mail'.*did you mean email"):
            values(files(tmp_path, name), "e_mail")


def test_a_first_line_that_is_a_record_is_not_told(tmp_path: Path) -> None:
    """A file that came without its header has a customer's values where the names should be."""
    write(tmp_path / "a.csv", "customer_no,orders\nC1,1\n")
    write(tmp_path / "b.csv", "C2,jane@person.example\nC3,joe@person.example\n")
    mapped = {"identifiers": {"customer_id": "customer_no"}, "attributes": {"orders": "orders"}}
    with pytest.raises(SourceError, match=r"first line of b\.csv has none") as caught:
        table(files(tmp_path, "*.csv", **mapped), "customer_no", "orders")
    assert "jane" not in str(caught.value)
    with pytest.raises(SourceError, match=r"\(customer_no, orders\): is it a header\?") as caught:
        files(tmp_path, "b.csv", **mapped).inspect()
    assert "jane" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "id,mail\n1,bob@x.org\n2\n", r"a\.csv: row 3 has 1 cells, the header 2"),
        ("a.csv", b"id\nbob\n\x81\n", r"a\.csv:3: .*UTF-8"),
        ("a.csv", "", "header"),
        ("a.jsonl", '{"id": 1}\n{"id": "bob', r"a\.jsonl:2"),
        ("a.jsonl", '["bob"]', r"a\.jsonl:1"),
        ("a.parquet", b"PAR1bob", "cut or broken"),
    ],
)
def test_broken_files_are_refused_without_quoting_them(
    tmp_path: Path, name: str, content: str | bytes, problem: str
) -> None:
    """A cut file never passes for a whole one, and its records stay out of the error."""
    write(tmp_path / name, content)
    with pytest.raises(SourceError, match=problem) as caught:
        values(files(tmp_path, name), "id")
    assert "bob" not in str(caught.value)


def test_parquet_cut_in_its_data_is_refused(tmp_path: Path) -> None:
    """Damage inside a row group ends the read with an error."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [f"{n:x}" * 9 for n in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cut or broken"):
        values(files(tmp_path, "a.parquet"), "id")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """No root, no file, no table and no known format are told apart."""
    with pytest.raises(SourceUnreachable, match="no folder"):
        values(files(tmp_path / "gone", "*.csv"), "id")
    with pytest.raises(SourceError, match=r"no file matches x/\*\.csv"):
        values(files(tmp_path, "x/*.csv"), "id")
    with pytest.raises(SourceError, match="no Delta table people"):
        values(files(tmp_path, "people", format="delta"), "id")
    with pytest.raises(SourceError, match="can't tell the format"):
        files(tmp_path, "people")
    with pytest.raises(SourceError, match="nothing installed reads nosuch://host/x"):
        values(files("nosuch://user:pass@host/x", "*.csv"), "id")


def test_the_mark_moves_with_files(tmp_path: Path) -> None:
    """A new, changed or deleted file moves the mark; reading doesn't."""
    opened = files(tmp_path, "*.csv")
    write(tmp_path / "a.csv", "id\n1\n")
    first = opened.change_mark()
    values(opened, "id")
    assert opened.change_mark() == first
    write(tmp_path / "a.csv", "id\n10\n")
    second = opened.change_mark()
    write(tmp_path / "b.csv", "id\n2\n")
    assert len({first, second, opened.change_mark()}) == 3


def test_object_stores_are_read_by_url(tmp_path: Path) -> None:
    """A root may be any URL that Arrow or an fsspec package opens."""
    import fsspec

    write(tmp_path / "x/a.csv", "id\n1\n")
    assert values(files(tmp_path.as_uri(), "x/*.csv"), "id") == ["1"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/profiles/x/a.csv", b"id\n2\n")
    memory.pipe("/profiles/b.parquet", _parquet(pa.table({"id": [3]})))
    assert values(files("memory://profiles", "x/*.csv"), "id") == ["2"]
    assert values(files("memory://profiles", "*.parquet"), "id") == [3]
    memory.rm("/profiles", recursive=True)


def _parquet(data: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink)
    return sink.getvalue().to_pybytes()
