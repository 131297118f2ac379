"""How an endpoint of an HTTP API is asked: changes, windows, GraphQL queries, bulk jobs."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from profile_pipelines.catalog.connections import Location, NoPaging, Paging, Rate
from profile_pipelines.catalog.declaration import Declaration, Duration, Text
from profile_pipelines.catalog.time_formats import check_format

_Scalar = str | int | float | bool


def _param(value: object) -> object:
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if not values:
        raise ValueError("is an empty list; write its values, or leave the parameter out")
    if not all(isinstance(each, str | int | float | date) for each in values):
        raise ValueError("must be text, a number, true or false, or a list of those")
    written = [each.isoformat() if isinstance(each, date) else each for each in values]
    return written if isinstance(value, list) else written[0]


Params = dict[
    str,
    Annotated[
        _Scalar | list[_Scalar],
        BeforeValidator(_param, json_schema_input_type=_Scalar | list[_Scalar]),
    ],
]
"""Query parameters; each entry of a list is sent as one more value: `type=a&type=b`."""
FIELDS = re.compile(r"\{fields(?:\.([\w.]+))?\}")
"""Where the names of the mapped fields go, or of those below a path: `{fields.properties}`."""
CHANGES = "{changes}"
"""Where the cursor's text goes, in a path, a parameter, a body or a GraphQL query."""


def has_offset(form: str) -> bool:
    """Whether a time in this format of a cursor names an instant in every zone."""
    return form in ("epoch", "epoch_ms", "iso") or "%z" in form or form.endswith("Z")


def _cursor_format(form: object) -> object:
    if form not in ("date", "parts"):
        text = form if isinstance(form, str) else ""
        check_format(text, with_time=False)
        if "%.f" in text:
            raise ValueError("has %.f, which isn't written; whole seconds are enough")
    return form


class RestCursor(Declaration):
    """How an incremental read asks for records changed since a time."""

    param: str | None = None
    """The parameter, or path in the body, that holds the time."""
    location: Location = "query"
    text: str | None = None
    """A condition with `{since}` (and `{until}`) that goes where `{changes}` stands."""
    until: str | None = None
    """The parameter, or path in the body, that holds the end of a window."""
    format: Annotated[
        str,
        BeforeValidator(
            _cursor_format,
            json_schema_input_type=Literal["epoch", "epoch_ms", "iso", "date", "parts"] | str,
        ),
    ] = "epoch"
    """How the time is written; one without an offset is told in the sync's `zone`."""
    start: date | None = None
    """The day, in the sync's `zone`, from which a full read asks; without it, it asks without
    any time."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.param is None) == (self.text is None):
            raise ValueError("needs either param or text: where the time goes")
        if self.text is not None and "{since}" not in self.text:
            raise ValueError("the text needs {since}, where the time goes")
        if self.format == "parts" and (self.param is None or self.location == "query"):
            raise ValueError("parts are an object in a posted body; write param and location")
        return self

    @property
    def ends(self) -> bool:
        """Whether a request can be given an end, too."""
        return self.until is not None or (self.text is not None and "{until}" in self.text)


class Window(Declaration):
    """Reads past the number of records at which an API's results stop, by time of change.

    `advance`: the records come sorted by `updated_at`, the oldest first; each page is asked for
    from the last one's time. `split`: a span of time with too many records is halved.
    """

    cap: int = Field(gt=0)
    """The number of records at which the API's results stop."""
    by: Literal["advance", "split"] = "advance"
    total: str | None = None
    """Path of the number of records in the answer; spares reading up to the cap to split."""


class GraphQL(Declaration):
    """A query by GraphQL: posted with its variables; `errors` in an answer are errors."""

    query: str
    variables: dict[str, Any] = {}


class OtherRequest(Declaration):
    """A request beside the sync's own, written as in it."""

    path: str
    method: Literal["GET", "POST"] | None = None
    params: Params = {}
    body: dict[str, Any] | None = None
    graphql: GraphQL | None = None


class BulkPoll(OtherRequest):
    """How to ask what has become of a job. `{job}` stands for its id."""

    state: str
    """Path of the job's state in the answer."""
    done: list[str] = Field(min_length=1)
    """The states in which the result is ready."""
    failed: list[str] = []
    """The states in which there will be none."""
    every: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0))
    timeout: Duration = Field(default=timedelta(hours=1), gt=timedelta(0))


class BulkResult(Declaration):
    """Where the result of a job is: at a path, or at an address that the poll's answer names."""

    path: str | None = None
    """The result's endpoint, with `{job}`."""
    url: str | None = None
    """Path of the result's address in the poll's answer; no address means no records."""
    format: Literal["csv", "jsonl"]
    params: Params = {}
    headers: dict[str, Text] = {}
    paging: Paging = NoPaging(type="none")
    parent: str | None = None
    """The field in which a line names its parent: such lines go into its `children`."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("needs either path or url: where the result is")
        if self.paging.type not in ("none", "link") and not (
            self.paging.type == "cursor" and self.paging.next_header
        ):
            raise ValueError("a result is paged by cursor with next_header, or by link")
        return self


class BulkJob(Declaration):
    """The sync's request starts a job; when it's done its result is downloaded."""

    job: str
    """Path of the job's id in the answer of the request."""
    errors: str | None = None
    """Path of the list of reasons for which the job wasn't started."""
    poll: BulkPoll
    result: BulkResult


class FullRead(OtherRequest):
    """The request by which everything is read, where it isn't the one for changes.

    It stands for itself: of the sync's own request only the headers are used.
    """

    records: str | None = None
    paging: Paging | None = None
    bulk: BulkJob | None = None
    rate_limit: Rate | None = None


class Resume(Declaration):
    """How the next read of a list goes on where the last one ended."""

    next: str
    """Path in the last page of the address that goes on, or of a token."""
    param: str | None = None
    """The query parameter that takes the token; without it, an address is followed."""


class DeletedList(OtherRequest):
    """A request beside the sync's own, whose entries name the records that are gone."""

    headers: dict[str, Text] = {}
    """Headers of this request, beside the connection's."""
    records: str | None = None
    """Path of the list of entries in the answer; without it the answer itself is the list."""
    paging: Paging | None = None
    """How its pages follow each other, where it differs from the connection's."""
    cursor: RestCursor | None = None
    """How deletions since a time are asked for, where the API has such a parameter."""
    resume: Resume | None = None
    """How the list goes on where it ended, where the API says so (delta links, sync tokens)."""
    key: str
    """Path in an entry of the record's key: what stands in the sync's `key`."""
    time: str | None = None
    """Path in an entry of the time of the deletion: a record that changed later stays."""
    deleted: str | None = None
    """Path in an entry of what tells a deletion, where the list has other entries, too."""
    deleted_when: list[str | bool | int] = []
    """The values there that mean a deletion."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.deleted is None) != (not self.deleted_when):
            raise ValueError("deleted and deleted_when go together: where it is told, and how")
        if self.cursor is not None and self.resume is not None:
            raise ValueError("either cursor or resume: by time, or where the last read ended")
        return self
