"""A Python function of the user's own as a source.

The function is named `module:function`, or registered as an entry point of the group
`profile_pipelines.sources`. It's called with what is wanted and yields records:

    def people(request: ReadRequest, **options) -> Iterable[dict | pa.RecordBatch | pa.Table]

Records are dictionaries or Arrow. It may bring more than `request` asks for, also where that has
`keys`; cursors, validation and the difference to what is known are ours. A function with an
attribute `change_mark`, itself a function of the options, tells cheaply by a text whether
something has changed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from itertools import islice
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from profile_pipelines.catalog.connections import CustomConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.arrow_columns import Plain, batches_of
from profile_pipelines.sources.json_columns import batches
from profile_pipelines.sources.json_records import flattened
from profile_pipelines.sources.nested import Place, place_of, read_at, refuse_lists
from profile_pipelines.sources.reading import ReadRequest, near

GROUP = "profile_pipelines.sources"
_INSPECTED = 1000


class CustomSource:
    """The records that a user's function yields."""

    def __init__(self, where: str, connection: CustomConnection, sync: Sync) -> None:
        self.where = where
        self.name = self.place = connection.name
        self.sync = sync
        self.options = {name: resolve(value) for name, value in connection.options.items()}
        if sync.path is not None:
            self.options["path"] = sync.path
        self.function = self._guarded(lambda: _found(where, connection.name))

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        seen = request.seen
        count, known = 0, pa.schema([])
        for part in self._parts(request):
            if isinstance(part, list):
                count += len(part)
                texts = [pa.nulls(0, pa.string()) for _ in request.fields]
                known = self._together(known, request.fields, texts)
                yield from batches([part], request.fields, seen)
            else:
                count += part.num_rows
                seen.update(request.fields)
                places = [place_of(self.where, part.schema, field) for field in request.fields]
                found = [_read_at(place, _member(part, place)) for place in places]
                known = self._together(known, request.fields, [column for column, _ in found])
                refuse_lists(self.where, self.sync, known)
                yield from batches_of(request.fields, found)
        # single records need not have all fields
        expected = request.fields if request.keys is None else ()
        missing = [field for field in expected if field not in seen]
        if count and missing:
            raise MissingField(
                missing[0],
                f"{self.where}: no record of {self.name} has {missing[0]!r}: "
                f"{near(missing[0], seen)}",
            )

    def change_mark(self) -> str | None:
        """What the function's own `change_mark` says, if it has one."""
        mark = getattr(self.function, "change_mark", None)
        found = None if mark is None else self._guarded(lambda: mark(**self.options))
        return None if found is None else str(found)

    def has_newer(self, since: object) -> bool | None:
        """None: only the mark can tell."""
        return None

    def inspect(self) -> dict[str, str]:
        for part in self._parts(ReadRequest(())):
            if isinstance(part, list):
                return flattened(islice(part, _INSPECTED))
            return {field.name: str(field.type) for field in part.schema}
        return {}

    def _parts(self, request: ReadRequest) -> Iterator[list[Any] | pa.RecordBatch]:
        """Dictionaries gathered in lists, and Arrow as batches."""
        records: list[Any] = []
        yielded = iter(self._guarded(lambda: self.function(request, **self.options)))
        end = object()
        while (record := self._guarded(lambda: next(yielded, end))) is not end:
            match record:
                case dict():
                    records.append(record)
                    if len(records) == _INSPECTED:
                        yield records
                        records = []
                case pa.RecordBatch():
                    yield record
                case pa.Table():
                    yield from record.to_batches()
                case _:
                    raise SourceError(
                        f"{self.where}: {self.name} yields {type(record).__name__}; "
                        "dictionaries, Arrow tables or record batches are read"
                    )
        if records:
            yield records

    def _together(
        self, known: pa.Schema, fields: Sequence[str], columns: Sequence[pa.Array]
    ) -> pa.Schema:
        """The types of what has come so far; numbers may be of several."""
        for field, column in zip(fields, columns, strict=True):
            own = pa.schema([(field, column.type)])
            try:
                known = pa.unify_schemas([known, own], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                before = known.field(field).type
                raise SourceError(
                    f"{self.where}: {self.name} gives {field} as {before} and then as "
                    f"{column.type}; give it one type"
                ) from None
        return known

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Runs the user's code; what it raises is told by its kind and place, without its text."""
        try:
            return call()
        except SourceError:
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
            at = own[0] if own else frame
            for each in own:
                if "importlib" not in each.filename and "site-packages" not in each.filename:
                    at = each
            raise SourceError(
                f"{self.where}: {self.name} fails with {type(error).__name__} "
                f"at {at.filename}:{at.lineno}"
            ) from None


def _read_at(place: Place, column: pa.Array) -> Plain:
    # what is null in this part may be of any type in the next
    return (column, None) if pa.types.is_null(column.type) else read_at(place, column)


def _member(batch: pa.RecordBatch, place: Place) -> pa.Array:
    column = batch.column(place.names[0])
    for name in place.names[1:]:
        column = pc.call_function("struct_field", [column], pc.StructFieldOptions([name]))
    return column


def _found(where: str, name: str) -> Callable[..., Iterable[Any]]:
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found: Any = getattr(import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            if error.name is None or not module.startswith(error.name):
                raise
            raise SourceError(f"{where}: there is no Python module {module} here") from None
        if not callable(found):
            raise SourceError(f"{where}: {module} has no function {attribute!r}")
        return cast(Callable[..., Iterable[Any]], found)
    registered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in registered:
        raise SourceError(
            f"{where}: no installed package registers a source {name!r} (entry point group "
            f"{GROUP}); {near(name, registered)}; or name it module:function"
        )
    return registered[name].load()
