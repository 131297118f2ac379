"""Parquet files and Delta tables: only the wanted columns, a few row groups in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.sources.file_tree import FileTree
from profile_pipelines.sources.reading import BATCH_ROWS, near


def parquet_dataset(where: str, tree: FileTree) -> ds.Dataset:
    """The files as one table: columns that a file lacks are null there, numbers are widened."""
    paths = [tree.full_path(file.path) for file in tree.files()]
    schemas = [pq.read_schema(path, filesystem=tree.filesystem) for path in paths]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise SourceError(
            f"{where}: the files of {tree.path} have columns of one name and types "
            "that don't go together"
        ) from None
    return ds.dataset(paths, schema=schema, format="parquet", filesystem=tree.filesystem)


def delta_dataset(where: str, tree: FileTree) -> ds.Dataset:
    """The table's present version, pinned."""
    from deltalake.exceptions import DeltaProtocolError

    table = tree.delta_table()
    try:
        return table.to_pyarrow_dataset()
    except DeltaProtocolError:
        raise SourceError(
            f"{where}: the Delta table {tree.path} uses features (deletion vectors or column "
            "mapping) that can't be read here; turn them off or export it as Parquet"
        ) from None


def read(
    where: str,
    dataset: ds.Dataset,
    fields: Sequence[str],
    updated_at: str | None,
    since: datetime | None,
) -> Iterator[pa.RecordBatch]:
    """The fields of the records whose `updated_at` isn't before `since`, or isn't known."""
    columns = {
        str(position): _reference(where, dataset.schema, field)
        for position, field in enumerate(fields)
    }
    newer = None
    if since is not None and updated_at is not None:
        newer = _not_before(_reference(where, dataset.schema, updated_at), dataset, since)
    scanner = dataset.scanner(
        columns=columns,
        filter=newer,
        batch_size=BATCH_ROWS,
        batch_readahead=2,
        fragment_readahead=1,
        use_threads=True,
    )
    for batch in scanner.to_batches():
        if batch.num_rows:
            yield from normalised(batch, fields)


def _reference(where: str, schema: pa.Schema, field: str) -> ds.Expression:
    """The column of that very name, or else the member of a struct that the dots lead to."""
    if field in schema.names:
        return ds.field(field)
    parts = field.split(".")
    if parts[0] in schema.names:
        kind = schema.field(parts[0]).type
        for part in parts[1:]:
            if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
                break
            kind = kind.field(part).type
        else:
            return ds.field(*parts)
    raise SourceError(f"{where}: there is no column {field!r}: {near(field, schema.names)}")


def _not_before(
    column: ds.Expression, dataset: ds.Dataset, since: datetime
) -> ds.Expression | None:
    kind: Any = dataset.scanner(columns={"0": column}).projected_schema.field(0).type
    if pa.types.is_date(kind):
        bound = pa.scalar(since.astimezone(UTC).date(), kind)
    elif pa.types.is_timestamp(kind):
        # whole seconds hold in every unit
        instant = since.astimezone(UTC).replace(microsecond=0)
        bound = pa.scalar(instant if kind.tz else instant.replace(tzinfo=None), kind)
    else:
        return None
    return (column >= bound) | column.is_null()
