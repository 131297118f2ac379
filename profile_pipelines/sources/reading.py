"""What every kind of source offers: records as Arrow batches, and cheap signs of change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

from profile_pipelines.sources.files_read import FileMark, FilesRead

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

BATCH_ROWS = 100_000
"""Most rows of one batch."""
FIRST_KNOWN = datetime(1970, 1, 2, tzinfo=UTC)
"""A time of change or deletion before this stands for none: zero dates, and where programs' clocks
begin."""


def problem_of(field: str) -> str:
    """The name of the column that says why a cell of the field can't be read.

    A source may add it after all fields' columns, to any batch of a read: text, null where all
    is well, else a short reason without anything of the value, such as "isn't JSON". The field's
    own column then holds the cell as well as it can be shown.
    """
    return f"{field}\x1fproblem"


@dataclass
class Counts:
    """What a source has done so far for a request."""

    pages: int = 0


@dataclass(frozen=True)
class ReadRequest:
    """What to bring from a source.

    `fields` are source field paths, each once. With `since` (aware) an incremental read brings
    at least the records whose `updated_at` is at or after it, and those without one. With
    `limit` so many records are enough, whichever they are; a source that reads page by page
    then stops, the others may go on until the reader does. With `keys` only the records with
    these keys are brought, those that are there; files can't be asked so. A source whose
    records need not have all fields (JSON) adds to `seen` those that any record has; one
    that reads page by page counts them in `counts`. With `since`, files that aren't among all of
    `known` (the files of earlier reads, where these are told) are read whole; a source of files
    that heeds `since` adds to `files` those that it has. An API's answers add to `shape` the types
    by path of all that a sample of its records has, mapped or not. `numbers` are
    the fields that only attributes of numbers take; true for those that they take as they stand,
    without `convert`. A source that comes upon rows of which it can't tell whose they are brings
    each with a problem in all fields, and adds to `unplaced` where they stand: a record that
    doesn't come may be one of them.
    """

    fields: tuple[str, ...]
    since: datetime | None = None
    limit: int | None = None
    keys: tuple[str, ...] | None = None
    known: tuple[FilesRead, ...] | None = None
    files: list[FileMark] = field(default_factory=list[FileMark], compare=False)
    seen: set[str] = field(default_factory=set[str], compare=False)
    shape: dict[str, set[str]] = field(default_factory=dict[str, set[str]], compare=False)
    counts: Counts = field(default_factory=Counts, compare=False)
    numbers: Mapping[str, bool] = field(default_factory=dict[str, bool], compare=False)
    unplaced: list[str] = field(default_factory=list[str], compare=False)

    def is_known(self, file: FileMark) -> bool:
        """Whether the file was there at the earlier reads, as it is now."""
        if self.known is None:
            return True
        return bool(self.known) and all(each.has(file) for each in self.known)


class Source(Protocol):
    """A sync's table, endpoint or file set, opened for reading.

    Every method raises `SourceError` (`MissingField` for a field that isn't there) for a
    declaration that doesn't fit the system and
    `SourceUnreachable` for a system that doesn't answer. None of the messages holds a record's
    values or a secret.
    """

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """The records, one column per requested field, named and ordered as requested.

        All batches have one schema and at most `BATCH_ROWS` rows. Where the source is typed
        (PostgreSQL, Parquet, Delta) columns keep their types, as `arrow_columns.plain` has them:
        timestamps in UTC, or without a time zone where the source's have none (what those mean is
        left to the reader; only the comparison with `since` is by the sync's zone); otherwise
        they are text: numbers in decimal, booleans as true and false, lists and objects as JSON.
        Columns named by `problem_of` may follow, also in some of the batches alone. More records
        than asked for may come, never fewer; an error at any point means that what came before
        isn't complete.
        """
        ...

    def change_mark(self) -> str | None:
        """A cheap text that differs whenever the source may have changed; None when unknown."""
        ...

    def has_newer(self, since: datetime) -> bool | None:
        """Whether a record may have changed after `since` (aware); None when unknown.

        Records that reached the source later with exactly this time don't show here but in
        `change_mark`.
        """
        ...

    def inspect(self) -> dict[str, str]:
        """The source's fields and their types, as the source itself names them."""
        ...


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Those of the names that come near to the one, the most alike first."""
    by_lower = {known_name.lower(): known_name for known_name in sorted(known)}
    matches = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return [by_lower[match] for match in matches]


def near(name: str, known: Iterable[str]) -> str:
    """A hint for a name that isn't there: the most alike of those that are."""
    names = sorted(known)
    if found := alike(name, names):
        return "did you mean " + " or ".join(found) + "?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"there are: {shown}" if names else "there are none"
