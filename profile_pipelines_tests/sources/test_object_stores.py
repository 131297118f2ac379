from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import fs

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.object_store import delta_options, open_store
from profile_pipelines.sources import Source
from profile_pipelines_tests.sources.reads import source, values

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
PEOPLE = pa.table({"id": [0, 1, 2], "at": [NOON - timedelta(hours=1), NOON, None]})

Bucket = tuple[str, dict[str, str]]


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.live)])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """A fresh bucket: of a server that speaks S3, or of Azurite (`make test-live`)."""
    return request.getfixturevalue(f"{request.param}_bucket")


def files(bucket: Bucket, path: str, **sync: Any) -> Source:
    url, options = bucket
    return source({"type": "files", "root": url, "options": options}, path=path, **sync)


def put(bucket: Bucket, name: str, content: bytes) -> None:
    store, root = open_store(*bucket)
    with store.open_output_stream(f"{root}/{name}", compression=None) as stream:
        stream.write(content)


def test_every_kind_of_file_is_read(bucket: Bucket) -> None:
    """Text and typed files come from a bucket as they come from a disk, wildcards included."""
    store, root = open_store(*bucket)
    pq.write_table(PEOPLE, f"{root}/x/a.parquet", filesystem=store)
    put(bucket, "x/a.csv", b"id\n7\n")
    put(bucket, "x/y/b.csv", b"id\n8\n")
    put(bucket, "x/a.jsonl", b'{"id": 9}\n')
    assert values(files(bucket, "x/*.csv"), "id") == ["7"]
    assert values(files(bucket, "**/*.csv"), "id") == ["7", "8"]
    assert values(files(bucket, "x/a.jsonl"), "id") == ["9"]
    parquet = files(bucket, "x/*.parquet", updated_at="at")
    assert values(parquet, "id", since=NOON) == [1, 2]


def test_delta_is_read_with_the_same_options(bucket: Bucket) -> None:
    """One set of options opens the Delta log and the data files; the mark is the version."""
    url, options = bucket
    storage = delta_options(url, options)
    write_deltalake(f"{url}/people", PEOPLE, storage_options=storage)
    opened = files(bucket, "people", format="delta", updated_at="at")
    before = opened.change_mark()
    assert values(opened, "id", since=NOON) == [1, 2]
    DeltaTable(f"{url}/people", storage_options=storage).delete("id = 2")
    assert opened.change_mark() != before
    assert values(files(bucket, "people"), "id") == [0, 1]


def test_the_mark_moves_with_objects(bucket: Bucket) -> None:
    """A new, changed or deleted object moves the mark; reading doesn't."""
    put(bucket, "x/a.csv", b"id\n1\n")
    opened = files(bucket, "x/*.csv")
    marks = [opened.change_mark()]
    values(opened, "id")
    assert opened.change_mark() == marks[0]
    put(bucket, "x/a.csv", b"id\n10\n")
    marks.append(opened.change_mark())
    put(bucket, "x/b.csv", b"id\n1\n")
    marks.append(opened.change_mark())
    store, root = open_store(*bucket)
    store.delete_file(f"{root}/x/a.csv")
    marks.append(opened.change_mark())
    assert len(set(marks)) == 4


def test_secrets_come_from_the_environment_and_stay_out_of_errors(
    s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options may be `{env: NAME}`; a store that refuses is told without key or secret."""
    url, options = s3_bucket
    put(s3_bucket, "a.csv", b"id\n1\n")
    monkeypatch.setenv("LAKE_SECRET", options["aws_secret_access_key"])
    declared = {**options, "aws_secret_access_key": {"env": "LAKE_SECRET"}}
    root = {"type": "files", "root": url, "options": declared}
    assert values(source(root, path="a.csv"), "id") == ["1"]
    for path in ("a.csv", "people"):
        gone = {**root, "root": "s3://no-such-bucket"}
        opened = source(gone, path=path, format="delta" if path == "people" else None)
        with pytest.raises(SourceError, match="no-such-bucket") as caught:
            values(opened, "id")
        assert "s3cret" not in str(caught.value)
        assert "reader" not in str(caught.value)


def test_a_store_that_does_not_answer_is_unreachable() -> None:
    """A refused connection is a passing fault, told with the bucket's name."""
    options = {
        "aws_endpoint_url": "http://127.0.0.1:1",
        "aws_access_key_id": "reader",
        "aws_secret_access_key": "s3cret",
        "aws_region": "eu-west-1",
    }
    with pytest.raises(SourceUnreachable, match="s3://lake"):
        values(files(("s3://lake", options), "a.csv"), "id")


def test_unknown_options_are_named() -> None:
    """A mistyped option is refused with its likeliest spelling, before anything is contacted."""
    with pytest.raises(SourceError, match=r"aws_regoin.*did you mean aws_region"):
        values(files(("s3://lake", {"aws_regoin": "eu-west-1"}), "a.csv"), "id")
    with pytest.raises(SourceError, match="azure_storage_account_name is missing"):
        values(files(("az://lake", {}), "a.csv"), "id")


def test_google_storage_is_read(google_storage_server: str) -> None:
    """CSV and Parquet come from a bucket of Google's, and the mark moves with its objects."""
    bucket = (
        "gs://lake/x",
        {"google_base_url": google_storage_server, "google_skip_signature": "true"},
    )
    put(bucket, "a.csv", b"id\n1\n")
    opened = files(bucket, "*.csv")
    before = opened.change_mark()
    assert values(opened, "id") == ["1"]
    put(bucket, "b.csv", b"id\n2\n")
    assert opened.change_mark() != before
    store, root = open_store(*bucket)
    pq.write_table(PEOPLE, f"{root}/a.parquet", filesystem=store)
    assert values(files(bucket, "a.parquet", updated_at="at"), "id", since=NOON) == [1, 2]


def test_azure_urls_name_container_and_account() -> None:
    """Both spellings of Azure's addresses lead to the same container and path."""
    key = {"azure_storage_account_key": "a2V5"}
    named = {**key, "azure_storage_account_name": "acme"}
    expected = fs.AzureFileSystem("acme", account_key="a2V5")
    for url, options in (
        ("az://lake/x", named),
        ("abfss://lake@acme.dfs.core.windows.net/x/", key),
    ):
        store, path = open_store(url, options)
        assert path == "lake/x"
        assert store.equals(expected)
