"""Parquet files, Delta and Iceberg tables: only the wanted columns, few row groups in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from profile_pipelines.catalog.time_zones import least_wall_time
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.arrow_columns import batches_of
from profile_pipelines.sources.file_tree import FileTree
from profile_pipelines.sources.nested import Place, place_of, read_at
from profile_pipelines.sources.reading import BATCH_ROWS, FIRST_KNOWN

_ROW_GROUP_BYTES = 4 << 30
_UNIT = "us"
"""Nanoseconds, which INT96 has, would make other years of those before 1677 and after 2262."""
_PARQUET = ds.ParquetFileFormat(coerce_int96_timestamp_unit=_UNIT)


def parquet_datasets(where: str, tree: FileTree) -> list[ds.Dataset]:
    """The files as one table: columns that a file lacks are null there, numbers are widened.

    Files whose times are in other units are datasets of their own: none of these units has room
    for all times of the others.
    """
    files = [file.path for file in tree.files()]
    schemas = {file: _schema(where, tree, file) for file in files}
    together = _together(where, schemas)
    alike: dict[pa.Schema, list[str]] = {}
    for file, schema in schemas.items():
        own = pa.schema([_in_own_units(field, schema) for field in together])
        alike.setdefault(own, []).append(tree.full_path(file))
    return [
        ds.dataset(paths, schema=schema, format=_PARQUET, filesystem=tree.filesystem)
        for schema, paths in alike.items()
    ]


def schema_of(datasets: Sequence[ds.Dataset]) -> pa.Schema:
    """The schema of the whole table; times of several units are in microseconds."""
    first, *others = (dataset.schema for dataset in datasets)
    return pa.schema(
        [
            field
            if all(other.field(field.name).type == field.type for other in others)
            else field.with_type(_in_microseconds(field.type))
            for field in first
        ]
    )


def first_broken(tree: FileTree, files: Sequence[str]) -> str | None:
    """The first of the files that can't be read to its end."""
    for file in files:
        try:
            for _ in _opened(tree, file).iter_batches():
                pass
        except (pa.ArrowException, OSError):
            return file
    return None


def _schema(where: str, tree: FileTree, file: str) -> pa.Schema:
    try:
        opened = _opened(tree, file)
        schema = opened.schema_arrow
    except pa.ArrowNotImplementedError:
        raise SourceError(
            f"{where}: {file} has a column of a type that can't be read here; write it anew"
        ) from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise broken(where, file) from None
    for at in range(opened.metadata.num_row_groups):
        if opened.metadata.row_group(at).total_byte_size > _ROW_GROUP_BYTES:
            raise SourceError(
                f"{where}: a row group of {file} unpacks to more than "
                f"{_ROW_GROUP_BYTES >> 30} GiB; write smaller row groups"
            )
    return schema


def broken(where: str, file: str) -> SourceError:
    """That a file is no whole one."""
    return SourceError(
        f"{where}: {file} is cut or broken; write it again, or take it away if it doesn't count"
    )


def _opened(tree: FileTree, file: str) -> pq.ParquetFile:
    return pq.ParquetFile(
        tree.full_path(file), filesystem=tree.filesystem, coerce_int96_timestamp_unit=_UNIT
    )


def _together(where: str, schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """One schema for all of the files, with times in microseconds."""
    found: dict[str, tuple[pa.Field, str]] = {}
    for file, schema in schemas.items():
        for field in schema:
            own = pa.field(field.name, _in_microseconds(field.type))
            known, before = found.get(field.name, (own, file))
            try:
                (whole,) = pa.unify_schemas(
                    [pa.schema([known]), pa.schema([own])], promote_options="permissive"
                )
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise SourceError(
                    f"{where}: the column {field.name} is {known.type} in {before} and "
                    f"{own.type} in {file}, which don't go together; give the sync a path that "
                    "names one kind of them, or write them alike"
                ) from None
            found[field.name] = (whole, before)
    return pa.schema([field for field, _ in found.values()])


def _in_own_units(field: pa.Field, schema: pa.Schema) -> pa.Field:
    at = schema.get_field_index(field.name)
    own = field.type if at < 0 else schema.field(at).type
    return field.with_type(own) if _in_microseconds(own) == field.type else field


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    """The type with every time in it in microseconds, and without a dictionary."""
    types = pa.types
    if types.is_dictionary(kind):
        return _in_microseconds(kind.value_type)
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_struct(kind):
        members = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct([each.with_type(_in_microseconds(each.type)) for each in members])
    if types.is_map(kind):
        return pa.map_(_in_microseconds(kind.key_type), _in_microseconds(kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind):
        entry = kind.value_field.with_type(_in_microseconds(kind.value_type))
        return pa.list_(entry) if types.is_list(kind) else pa.large_list(entry)
    return kind


def delta_dataset(where: str, tree: FileTree) -> ds.Dataset:
    """The table's present version, pinned."""
    from deltalake.exceptions import DeltaProtocolError

    table = tree.delta_table()
    files = fs.SubTreeFileSystem(tree.full_path(tree.path), tree.filesystem)
    try:
        return table.to_pyarrow_dataset(
            filesystem=files,
            parquet_read_options=ds.ParquetReadOptions(coerce_int96_timestamp_unit=_UNIT),
        )
    except DeltaProtocolError:
        raise SourceError(
            f"{where}: the Delta table {tree.path} uses features (deletion vectors or column "
            "mapping) that can't be read here; turn them off or export it as Parquet"
        ) from None


def read(
    where: str,
    datasets: Sequence[ds.Dataset],
    fields: Sequence[str],
    updated_at: str | None,
    since: datetime | None,
    zone: tzinfo,
    is_known: Callable[[str], bool] = lambda path: True,
) -> Iterator[pa.RecordBatch]:
    """The fields of the records whose `updated_at` isn't before `since`, or isn't known; of files
    that aren't known by their path, the fields of all records.

    Times without a zone are those of `zone`.
    """
    for part, condition in _parts(where, datasets, updated_at, since, zone, is_known):
        places = [place_of(where, part.schema, field) for field in fields]
        brought = list(dict.fromkeys(place.names for place in places))
        scanner = part.scanner(
            columns={str(at): ds.field(*names) for at, names in enumerate(brought)},
            filter=condition,
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
            use_threads=True,
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                columns = dict(zip(brought, batch.columns, strict=True))
                found = [read_at(place, columns[place.names]) for place in places]
                yield from batches_of(fields, found)


def _parts(
    where: str,
    datasets: Sequence[ds.Dataset],
    updated_at: str | None,
    since: datetime | None,
    zone: tzinfo,
    is_known: Callable[[str], bool],
) -> Iterator[tuple[ds.Dataset, ds.Expression | None]]:
    """The files that are known, with the condition on their records, and those that aren't."""
    for dataset in datasets:
        newer = None
        if since is not None and updated_at is not None:
            newer = _not_before(place_of(where, dataset.schema, updated_at), since, zone)
        if newer is None or not isinstance(dataset, ds.FileSystemDataset):
            yield dataset, newer
            continue
        known, others = list[ds.Fragment](), list[ds.Fragment]()
        for fragment in dataset.get_fragments():
            (known if is_known(fragment.path) else others).append(fragment)
        for fragments, condition in ((known, newer), (others, None)):
            if fragments:
                part = ds.FileSystemDataset(
                    fragments, dataset.schema, dataset.format, dataset.filesystem
                )
                yield part, condition


def _not_before(place: Place, since: datetime, zone: tzinfo) -> ds.Expression | None:
    """Whether the time there is at or after `since`, or isn't known; None when that can't tell."""
    column, kind = ds.field(*place.names), place.kind
    # whole seconds hold in every unit
    since = max(since.astimezone(UTC), FIRST_KNOWN).replace(microsecond=0)
    if place.rest or not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        return None
    if pa.types.is_date(kind):
        bounds = [each.date() for each in (least_wall_time(since, zone), FIRST_KNOWN)]
    elif kind.tz is None:
        bounds = [
            each.replace(tzinfo=None, microsecond=0)
            for each in (least_wall_time(since, zone), FIRST_KNOWN)
        ]
    else:
        bounds = [since, FIRST_KNOWN]
    least, first = (pa.scalar(bound, kind) for bound in bounds)
    return (column >= least) | (column < first) | column.is_null()
