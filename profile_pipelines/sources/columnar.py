"""Parquet files, Delta and Iceberg tables: only the wanted columns, few row groups in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.sources.file_tree import FileTree
from profile_pipelines.sources.reading import BATCH_ROWS, near

_ROW_GROUP_BYTES = 4 << 30


def parquet_dataset(where: str, tree: FileTree) -> ds.Dataset:
    """The files as one table: columns that a file lacks are null there, numbers are widened."""
    paths = [tree.full_path(file.path) for file in tree.files()]
    schemas = [_schema(where, tree, path) for path in paths]
    try:
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise SourceError(
            f"{where}: the files of {tree.path} have columns of one name and types "
            "that don't go together"
        ) from None
    return ds.dataset(paths, schema=schema, format="parquet", filesystem=tree.filesystem)


def _schema(where: str, tree: FileTree, path: str) -> pa.Schema:
    metadata = pq.read_metadata(path, filesystem=tree.filesystem)
    for at in range(metadata.num_row_groups):
        if metadata.row_group(at).total_byte_size > _ROW_GROUP_BYTES:
            raise SourceError(
                f"{where}: a row group of a file of {tree.path} unpacks to more than "
                f"{_ROW_GROUP_BYTES >> 30} GiB; write smaller row groups"
            )
    return metadata.schema.to_arrow_schema()


def delta_dataset(where: str, tree: FileTree) -> ds.Dataset:
    """The table's present version, pinned."""
    from deltalake.exceptions import DeltaProtocolError

    table = tree.delta_table()
    files = fs.SubTreeFileSystem(tree.full_path(tree.path), tree.filesystem)
    try:
        return table.to_pyarrow_dataset(filesystem=files)
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
        str(position): _reference(where, dataset.schema, field)[0]
        for position, field in enumerate(fields)
    }
    newer = None
    if since is not None and updated_at is not None:
        newer = _not_before(where, dataset.schema, updated_at, since)
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


def _reference(where: str, schema: pa.Schema, field: str) -> tuple[ds.Expression, pa.DataType]:
    """The column of that very name, or else the member of a struct that the dots lead to."""
    if field in schema.names:
        return ds.field(field), schema.field(field).type
    parts = field.split(".")
    if parts[0] in schema.names:
        kind = schema.field(parts[0]).type
        for part in parts[1:]:
            if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
                break
            kind = kind.field(part).type
        else:
            return ds.field(*parts), kind
    raise MissingField(field, f"{where}: there is no column {field!r}: {near(field, schema.names)}")


def _not_before(
    where: str, schema: pa.Schema, updated_at: str, since: datetime
) -> ds.Expression | None:
    column, kind = _reference(where, schema, updated_at)
    if pa.types.is_date(kind):
        bound = pa.scalar(since.astimezone(UTC).date(), kind)
    elif pa.types.is_timestamp(kind):
        # whole seconds hold in every unit
        instant = since.astimezone(UTC).replace(microsecond=0)
        bound = pa.scalar(instant if kind.tz else instant.replace(tzinfo=None), kind)
    else:
        return None
    return (column >= bound) | column.is_null()
