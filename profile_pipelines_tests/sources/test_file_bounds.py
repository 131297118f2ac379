"""Files that were made to read elsewhere, or to fill memory and disk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import columnar, text_files
from profile_pipelines_tests.sources.reads import source, values


def ids(root: Path, path: str, **sync: Any) -> list[Any]:
    return values(source({"type": "files", "root": str(root)}, path=path, **sync), "id")


@pytest.mark.parametrize("name", ["{out}/secret.parquet", "../../secret.parquet", "file://{out}"])
def test_a_delta_log_that_names_files_outside_of_the_root_is_refused(
    tmp_path: Path, name: str
) -> None:
    """A table's log may name any file there is; only what lies below the root is opened."""
    pq.write_table(pa.table({"id": [42]}), tmp_path / "secret.parquet")
    root = tmp_path / "root"
    write_deltalake(root / "people", pa.table({"id": [1]}))
    log = root / "people/_delta_log/00000000000000000000.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = name.format(out=tmp_path)
            action["add"]["size"] = (tmp_path / "secret.parquet").stat().st_size
    log.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(SourceError):
        ids(root, "people", format="delta")


@pytest.mark.parametrize("linked", ["people/_delta_log", "data"])
def test_links_within_a_delta_table_that_lead_outside_are_refused(
    tmp_path: Path, linked: str
) -> None:
    """Neither the log nor a data file may be a link to somewhere else."""
    root = tmp_path / "root"
    write_deltalake(root / "people", pa.table({"id": [1]}))
    inside = root / linked
    if linked == "data":
        inside = next((root / "people").glob("*.parquet"))
    inside.rename(tmp_path / "moved")
    inside.symlink_to(tmp_path / "moved")
    with pytest.raises(SourceError, match=r"leads out|outside"):
        ids(root, "people", format="delta")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b"id\n" + b"x" * (9 << 20), "row longer than 4 MB"),
        ("a.csv", b'id\n"' + b"bob\n" * (3 << 20), "quote that isn't closed"),
        ("a.csv", b"bob" * (3 << 20) + b"\n1\n", "header in its first 4 MB"),
        ("a.jsonl", b'{"id": "' + b"bob" * (6 << 20) + b'"}', r"a\.jsonl:1: .* longer than 16 MB"),
        ("a.jsonl", b'{"id": 1}\n{"id": ' + b"[" * (1 << 20), r"a\.jsonl:2"),
        ("a.jsonl", b'{"id": ' + b"9" * (1 << 20) + b"}", r"a\.jsonl:1"),
    ],
)
def test_huge_rows_and_deep_nesting_are_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    """One record can't fill memory, and the error quotes nothing of it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=problem) as caught:
        ids(tmp_path, name)
    assert "bob" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_files_that_unpack_without_end_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed file may unpack to 200 times its size and a free amount, not to more."""
    monkeypatch.setattr(text_files, "_UNPACKED_BYTES", 1 << 20)
    row = b"7\n" if "csv" in name else b'{"id": "' + b"x" * 1000 + b'"}\n'
    (tmp_path / name).write_bytes(gzip.compress(b"id\n" * ("csv" in name) + row * 100))
    assert len(ids(tmp_path, name)) == 100
    (tmp_path / name).write_bytes(
        gzip.compress(b"id\n" * ("csv" in name) + row * ((4 << 20) // len(row)))
    )
    with pytest.raises(SourceError, match=r"bytes and unpacks to more than"):
        ids(tmp_path, name)


def test_parquet_whose_row_groups_unpack_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The footer tells what a row group unpacks to before anything is unpacked."""
    pq.write_table(
        pa.table({"id": ["x" * 1000] * 5000}), tmp_path / "a.parquet", use_dictionary=False
    )
    assert len(ids(tmp_path, "a.parquet")) == 5000
    monkeypatch.setattr(columnar, "_ROW_GROUP_BYTES", 1 << 20)
    with pytest.raises(SourceError, match="row group"):
        ids(tmp_path, "a.parquet")
